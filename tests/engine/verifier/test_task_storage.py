"""Programs that keep a value for each thread: which are accepted, and what they read back."""

import errno
import os
from collections.abc import Iterator

import pytest

from engine.abi.bpf import MapCreateFlag, MapType, ProgType
from engine.btf import Btf
from engine.btf.build import BtfBuilder
from engine.btf.types import Encoding, Kind
from engine.env import Ctl, Env, peek64, poke64
from engine.isa import Insn, assemble
from engine.loader.kernelinfo import modelled_kernel
from engine.machine import Machine
from engine.maps import MapSpec, create_map
from engine.memory import kernel_ptr
from engine.progs import load_prog
from engine.progspec import MapLike, ProgSpec
from engine.verifier import VerifierError, verify
from tests.differential.fakemap import FakeMap
from tests.differential.host import host_kernel
from tests.differential.objects import load_btf
from tests.differential.verdicts import ask_both
from tests.engine.trusted import interpret, run_native
from tests.kernel_oracle import create_map as create_kernel_map
from tests.kernel_oracle import kernel_unavailable

_TASK = "call bpf_get_current_task_btf\nr6 = r0\n"
_GET = "r1 = map_fd[{fd}]\nr2 = r6\nr4 = 1\ncall bpf_task_storage_get\n"
_DELETE = "r1 = map_fd[{fd}]\nr2 = r6\ncall bpf_task_storage_delete\n"
_ADD = "if r0 == 0x0 goto out\nr7 = *(u32 *)(r0 +0)\nr7 += 1\n*(u32 *)(r0 +0) = r7\nr0 = r7\nout: exit"
_END = "r0 = 0\nexit"
_ACCEPTED = {
    "count": f"{_TASK}r3 = 0\n{_GET}{_ADD}",
    "first value": f"{_TASK}*(u32 *)(r10 -4) = 41\nr3 = r10\nr3 += -4\n{_GET}{_ADD}",
    "no thread": f"r6 = 0\nr3 = 0\n{_GET}{_END}",
    "forget": f"{_TASK}{_DELETE}exit",
}
_REFUSED = {
    "unchecked": (
        f"{_TASK}r3 = 0\n{_GET}*(u32 *)(r0 +0) = 7\n{_END}",
        "R0 invalid mem access 'map_value_or_null'",
    ),
    "value too short": (
        f"{_TASK}r3 = r10\nr3 += -2\n{_GET}{_END}",
        "invalid read from stack R3 off=-2 size=4",
    ),
    "a number": (f"r6 = 1\nr3 = 0\n{_GET}{_END}", "R2 type=scalar expected=ptr_, trusted_ptr_, rcu_ptr_"),
    "moved": (f"{_TASK}r6 += 8\n{_DELETE}exit", "R2 is of type task_struct but task_struct is expected"),
    "moved back": (
        f"{_TASK}r6 += -8\n{_DELETE}exit",
        "R2 is of type task_struct but task_struct is expected",
    ),
    "looked up": (
        "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map_fd[{fd}]\ncall bpf_map_lookup_elem\nexit",
        "cannot pass map_type 29 into func bpf_map_lookup_elem#1",
    ),
    "another struct": (
        f"{_TASK}r6 = *(u64 *)(r6 +{{cred}})\n{_DELETE}exit",
        "R2 is of type cred but task_struct is expected",
    ),
}
_TEXTS = _ACCEPTED | {name: text for name, (text, _) in _REFUSED.items()}


def _insns(text: str, fd: int, btf: Btf) -> list[Insn]:
    task = btf.find("task_struct", Kind.STRUCT)
    assert task is not None
    bits, _ = btf.member(task, "cred")
    return assemble(text.replace("{fd}", str(fd)).replace("{cred}", str(bits // 8)))


def _spec(machine: Machine, text: str, storage: MapLike) -> ProgSpec:
    btf = modelled_kernel(machine).btf
    assert btf is not None
    return ProgSpec(ProgType.KPROBE, _insns(text, 3, btf), license="GPL", maps={3: storage}, kernel_btf=btf)


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


@pytest.mark.parametrize("name", _REFUSED)
def test_refused_in_the_kernels_words(machine: Machine, name: str) -> None:
    text, why = _REFUSED[name]
    with pytest.raises(VerifierError) as refusal:
        verify(_spec(machine, text, FakeMap(MapType.TASK_STORAGE, 4, 4, 0, 1)))
    assert refusal.value.log.splitlines()[-2] == why


@pytest.mark.parametrize(("text", "number"), [(f"r3 = 0\n{_GET}{_END}", 156), (f"{_DELETE}exit", 157)])
def test_another_map_keeps_nothing_for_threads(machine: Machine, text: str, number: int) -> None:
    with pytest.raises(VerifierError, match=rf"cannot pass map_type 1 into func bpf_\w+#{number}"):
        verify(_spec(machine, _TASK + text, FakeMap(MapType.HASH, 4, 4, 1)))


def test_a_value_for_each_thread(machine: Machine) -> None:
    storage = create_map(
        MapSpec(
            MapType.TASK_STORAGE, 4, 4, 0, MapCreateFlag.NO_PREALLOC, btf_key_type_id=1, btf_value_type_id=1
        )
    )
    env = machine.new_env()
    arena = peek64(machine.ctl + Ctl.KERNEL_ARENA)
    slot = arena + peek64(machine.ctl + Ctl.KERNEL_ARENA_SIZE) - (1 << 20)
    progs = {name: load_prog(machine, _spec(machine, text, storage)) for name, text in _ACCEPTED.items()}

    def run(name: str, thread: int) -> tuple[int, int]:
        """What the program returns in native code, and then in the interpreter."""
        poke64(env + Env.TASK, kernel_ptr(slot + (thread << 16)))
        verified = progs[name].verified
        return run_native(verified, 0, env), interpret(verified, 0, env)

    assert run("count", 0) == (1, 2)
    assert run("count", 1) == (1, 2)
    assert run("first value", 1) == (3, 4)
    assert run("no thread", 1) == (0, 0)
    assert run("forget", 1) == (0, -errno.ENOENT & (1 << 64) - 1)
    assert run("first value", 1) == (42, 43)
    assert run("count", 0) == (3, 4)
    machine.free_env(env)
    storage.close()


@pytest.mark.parametrize("name", _TEXTS)
def test_verdict_and_log_are_the_kernels(name: str) -> None:
    if reason := kernel_unavailable():
        pytest.skip(reason)
    btf = host_kernel().btf
    if btf is None:
        pytest.skip("this kernel has no BTF")
    builder = BtfBuilder()
    number = builder.integer("int", 4, Encoding.SIGNED)
    types = load_btf(builder.build())
    fd = create_kernel_map(MapType.TASK_STORAGE, 4, 4, 0, 1, btf=(types, number, number))
    os.close(types)
    if fd < 0:
        pytest.skip("this kernel keeps no values for threads")
    try:
        fake = FakeMap(MapType.TASK_STORAGE, 4, 4, 0, 1)
        both = ask_both(_insns(_TEXTS[name], fd, btf), ProgType.KPROBE, {fd: fake})
    finally:
        os.close(fd)
    assert both.outcome == ("accept" if name in _ACCEPTED else "reject")
    assert both.same_log
