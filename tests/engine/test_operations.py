"""Every operation on every edge of its operands: interpreter, native code and the machine's kernel agree."""

import ctypes
import os
import struct
from collections.abc import Callable, Iterator, Sequence

import pytest

from engine.abi.bpf import ProgType
from engine.abi.ctx import XdpMd
from engine.helpers import HELPERS
from engine.interp import Interpreter
from engine.isa import Form, Insn, encode
from engine.machine import Machine
from engine.progs import Prog, load_prog
from engine.progspec import ProgSpec
from engine.testrun import Given, RunRequest, run_on_data
from tests import kernel_oracle
from tests.engine.operations import SIZE, cases, packets

_FORMS = (Form.ALU, Form.NEG, Form.END, Form.BSWAP, Form.JUMP, Form.LOAD, Form.STORE, Form.ATOMIC)
_XDP_PASS = 2
Run = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def loaded(machine: Machine, insns: Sequence[Insn]) -> Prog:
    return load_prog(machine, ProgSpec(ProgType.XDP, insns, license="GPL", name="operation"))


def native(machine: Machine, prog: Prog) -> Run:
    def run(packet: bytes) -> bytes:
        done = run_on_data(machine, prog, RunRequest(Given.of(packet), wants_ctx=False))
        assert done.retval == _XDP_PASS
        return done.data

    return run


def interpreted(prog: Prog) -> Run:
    interpreter = Interpreter(prog.verified, HELPERS)
    memory = ctypes.create_string_buffer(SIZE)
    context = ctypes.create_string_buffer(XdpMd.NATIVE_SIZE)
    start = ctypes.addressof(memory)
    struct.pack_into("<QQQ", context, XdpMd.NATIVE_DATA, start, start + SIZE, start)

    def run(packet: bytes) -> bytes:
        ctypes.memmove(memory, packet, SIZE)
        assert interpreter.run(ctypes.addressof(context), 0) == _XDP_PASS
        return bytes(memory)

    return run


@pytest.mark.parametrize("form", _FORMS)
def test_native_code_agrees_with_the_interpreter(machine: Machine, form: Form) -> None:
    for name, insns in cases(form):
        prog = loaded(machine, insns)
        reference, run = interpreted(prog), native(machine, prog)
        for packet in packets():
            assert run(packet) == reference(packet), name


@pytest.mark.parametrize("form", _FORMS)
def test_native_code_agrees_with_the_kernel(machine: Machine, form: Form) -> None:
    if reason := kernel_oracle.kernel_unavailable():
        pytest.skip(reason)
    unknown = []
    for name, insns in cases(form):
        run = native(machine, loaded(machine, insns))
        verdict = kernel_oracle.load(encode(insns), ProgType.XDP, log_level=1, keep=True)
        if "unknown opcode" in verdict.log or "invalid atomic opcode" in verdict.log:
            unknown.append(name)
            continue
        assert verdict.accepted, (name, verdict.log)
        try:
            for packet in packets():
                error, result, _, data = kernel_oracle.test_run(verdict.fd, packet)
                assert (error, result) == (0, _XDP_PASS)
                assert run(packet) == data, name
        finally:
            os.close(verdict.fd)
    if unknown:
        pytest.skip(f"this kernel does not know {', '.join(unknown)}")
