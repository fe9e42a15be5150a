"""Callbacks of bpf_loop, nested, ended early, from functions: interpreter, native code and kernel alike."""

import os

import pytest

from engine.helpers import HELPERS
from engine.interp import Interpreter
from engine.isa import assemble
from engine.machine import Machine
from engine.progs import load_prog
from engine.testrun import Given, RunRequest, run_on_data
from tests import kernel_oracle
from tests.engine.functions import load_in_kernel, with_functions

_PACKET = bytes(64)
_RESULT = "r0 = *(u64 *)(r10 -8)\nexit"


def loop(times: str, callback: str, context: str = "r3 = r10\nr3 += -8", flags: int = 0) -> str:
    return f"r1 = {times}\nr2 = func[{callback}]\n{context}\nr4 = {flags}\ncall bpf_loop"


_ZERO = "*(u64 *)(r10 -8) = 0"
_ADD = "r3 = *(u64 *)(r2 +0)\nr3 += r1\nr3 += 3\n*(u64 *)(r2 +0) = r3"
_PROGRAMS = {
    "once around": [_ZERO, loop("10", "f"), _RESULT, f"f: {_ADD}", "r0 = 0\nexit"],
    "never": [_ZERO, loop("0", "f"), "r1 = *(u64 *)(r10 -8)\nr0 += r1\nexit", f"f: {_ADD}", "r0 = 0\nexit"],
    "how often": [_ZERO, loop("7", "f"), "exit", f"f: {_ADD}", "r0 = 0\nexit"],
    "ended early": [
        *(_ZERO, loop("10", "f"), "r1 = *(u64 *)(r10 -8)\nr1 <<= 8\nr0 |= r1\nexit"),
        *(f"f: {_ADD}", "r0 = 0\nif r1 != 0x4 goto pc+1\nr0 = 1\nexit"),
    ],
    "nested": [
        *(_ZERO, loop("6", "f"), _RESULT),
        *("f: r6 = r1\nr7 = r2\nr6 &= 15", loop("r6", "g", "r3 = r7"), "r0 = 0\nexit"),
        *(f"g: {_ADD}", "r0 = 0\nexit"),
    ],
    "three deep, with stacks of their own": [
        *(_ZERO, "r6 = 5", loop("3", "f"), "r0 = *(u64 *)(r10 -8)\nr0 += r6\nexit"),
        *("f: r7 = r2\n*(u64 *)(r10 -8) = 100", loop("2", "g", "r3 = r7"), "r0 = 0\nexit"),
        *("g: r7 = r2\n*(u64 *)(r10 -8) = 200", loop("2", "h", "r3 = r7"), "r0 = 0\nexit"),
        *(f"h: *(u64 *)(r10 -8) = 300\n{_ADD}", "r6 = 0\nr0 = 0\nexit"),
    ],
    "from a function": [
        *(_ZERO, "r1 = r10\nr1 += -8\ncall f", "r1 = *(u64 *)(r10 -8)\nr0 += r1\nexit"),
        *("f: r6 = r1", loop("5", "g", "r3 = r6"), "exit"),
        *(f"g: {_ADD}", "r0 = 0\nexit"),
    ],
    "with flags": [_ZERO, loop("1", "f", flags=1), "exit", f"f: {_ADD}", "r0 = 0\nexit"],
    "too often": [_ZERO, loop("0x800001", "f"), "exit", f"f: {_ADD}", "r0 = 0\nexit"],
    "a number with an upper half": [
        *(_ZERO, loop("0x300000002 ll", "f"), "exit", f"f: {_ADD}", "r0 = 0\nexit"),
    ],
}


@pytest.mark.parametrize("name", _PROGRAMS)
def test_the_engines_and_the_kernel_agree(name: str) -> None:
    insns = assemble("\n".join(_PROGRAMS[name]))
    machine = Machine()
    env = machine.new_env()
    try:
        prog = load_prog(machine, with_functions(insns, {}))
        native = run_on_data(machine, prog, RunRequest(Given.of(_PACKET), wants_ctx=False)).retval
        assert Interpreter(prog.verified, HELPERS).run(0, env) & 0xFFFFFFFF == native
    finally:
        machine.free_env(env)
        machine.close()
    if reason := kernel_oracle.kernel_unavailable():
        pytest.skip(reason)
    fd = load_in_kernel(insns)
    try:
        assert kernel_oracle.test_run(fd, _PACKET)[:2] == (0, native)
    finally:
        os.close(fd)
