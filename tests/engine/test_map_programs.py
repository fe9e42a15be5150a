"""Sequences of map operations, as programs: the engine and the machine's kernel must answer the same."""

import os
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.abi.bpf import MapType
from engine.isa import Insn, assemble, encode
from engine.machine import Machine
from engine.maps import MapSpec, create_map
from tests import kernel_oracle
from tests.engine.trusted import interpret, run_native, trusted

_ENTRIES = 4
_KINDS = [MapType.HASH, MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.PERCPU_HASH]
_FOLD = "r7 *= 31\nr7 += r0"


@dataclass(frozen=True)
class Operation:
    """One call: lookup (and add to the value), update with flags, or delete."""

    name: str
    key: int
    value: int
    flags: int

    def text(self, label: str) -> str:
        lines = [f"*(u32 *)(r10 -4) = {self.key}", "r2 = r10", "r2 += -4", "r1 = map_fd[0]"]
        if self.name == "update":
            lines += [f"*(u64 *)(r10 -16) = {self.value}", "r3 = r10", "r3 += -16", f"r4 = {self.flags}"]
        lines.append(f"call bpf_map_{self.name}_elem")
        if self.name == "lookup":
            lines += [f"if r0 == 0x0 goto {label}", "r1 = *(u64 *)(r0 +0)", f"r1 += {self.value}"]
            lines += ["*(u64 *)(r0 +0) = r1", "r0 = r1"]
        return "\n".join([*lines, f"{label}: {_FOLD}"])


_OPERATIONS = st.builds(
    Operation,
    st.sampled_from(["lookup", "update", "delete"]),
    st.integers(0, _ENTRIES + 1),
    st.integers(-5, 1000),
    st.integers(0, 3),
)


def program(operations: list[Operation]) -> str:
    """All operations, r0 a digest of their results."""
    body = "\n".join(op.text(f"next{number}") for number, op in enumerate(operations))
    return f"r7 = 1\n{body}\nr0 = r7\nr7 >>= 32\nr0 ^= r7\nw0 = w0\nexit"


def kernels(text: str, kind: MapType) -> int:
    """r0 of the program in the kernel, on a new map."""
    with kernel_oracle.open_map(kind, 4, 8, _ENTRIES) as fd:
        insns = [
            Insn(insn.code, insn.dst, insn.src, insn.off, fd) if insn.code == 0x18 else insn
            for insn in assemble(text)
        ]
        verdict = kernel_oracle.load(encode(insns), keep=True, log_level=0)
        assert verdict.accepted
        try:
            error, result, _, _ = kernel_oracle.test_run(verdict.fd, bytes(14))
        finally:
            os.close(verdict.fd)
    assert error == 0
    return result


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize("kind", _KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=st.lists(_OPERATIONS, min_size=1, max_size=12))
def test_engines_agree(machine: Machine, kind: MapType, operations: list[Operation]) -> None:
    text, env, results = program(operations), machine.new_env(), []
    try:
        for engine in (interpret, run_native):
            used = create_map(MapSpec(kind, 4, 8, _ENTRIES), machine)
            results.append(engine(trusted(text, [used]), 0, env))
    finally:
        machine.free_env(env)
    assert results[0] == results[1], text
    if not kernel_oracle.kernel_unavailable():
        assert results[0] == kernels(text, kind), text
