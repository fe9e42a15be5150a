"""Tail calls: how often, from where, what is left of the caller; interpreter, native code, kernel alike."""

import ctypes
import os
import struct
from collections.abc import Sequence

import pytest

from engine.abi.bpf import Cmd, MapType
from engine.abi.ctx import SkBuff
from engine.helpers import HELPERS
from engine.interp import Interpreter
from engine.isa import assemble
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.maps.objects import ProgArrayMap
from engine.progs import Prog, load_prog
from engine.testrun import Given, RunRequest, run_on_data
from tests import kernel_oracle
from tests.engine.functions import load_in_kernel, with_functions

_SLOTS = 4
_PACKET = bytes(64)
Outcome = tuple[int, tuple[int, ...]]
"""r0 as a u32, and how often each counter was passed."""


def count(number: int) -> str:
    """Add one to counter `number`; r6 holds the context, r9 is used."""
    return f"""
        *(u32 *)(r10 -4) = {number}
        r2 = r10
        r2 += -4
        r1 = map_fd[1]
        call bpf_map_lookup_elem
        if r0 == 0x0 goto pc+3
        r9 = *(u64 *)(r0 +0)
        r9 += 1
        *(u64 *)(r0 +0) = r9
    """


def tail(slot: str) -> str:
    return f"r1 = r6\nr2 = map_fd[0]\nr3 = {slot}\ncall bpf_tail_call\n"


def main(*parts: str) -> str:
    return "\n".join(["r6 = r1", *parts])


_PROGRAMS: dict[str, list[str]] = {
    "to itself": [main(count(0), tail("0"), count(1), "r0 = 7\nexit")],
    "to an empty slot": [main(count(0), tail("2"), count(1), "r0 = 8\nexit")],
    "beyond the end": [main(count(0), tail("4"), count(1), "r0 = 9\nexit")],
    "of a slot whose upper half does not count": [
        main(count(0), tail("0x500000001 ll"), count(1), "r0 = 1\nexit"),
        main(count(2), "r0 = 10\nexit"),
    ],
    "to and fro": [
        main(count(0), tail("1"), "r0 = 11\nexit"),
        main(count(1), tail("0"), "r0 = 12\nexit"),
    ],
    "from a function": [
        main(
            "r1 = r6\ncall f\nr8 = r0",
            count(0),
            "r0 = r8\nr0 += 1\nexit",
            "f: r6 = r1",
            tail("1"),
            "r0 = 3\nexit",
        ),
        main(count(1), "r0 = 50\nexit"),
    ],
    "from a function to its own program": [
        main(
            "r1 = r6\ncall f\nr8 = r0",
            count(0),
            "r0 = r8\nr0 += 1\nexit",
            "f: r6 = r1",
            count(1),
            tail("0"),
            "r0 = 3\nexit",
        ),
    ],
    "from two functions": [
        main(
            "r1 = r6\ncall f\nr8 = r0\nr1 = r6\ncall g\nr8 += r0",
            count(0),
            "r0 = r8\nexit",
            "f: r6 = r1",
            count(1),
            tail("0"),
            "r0 = 3\nexit",
            "g: r6 = r1",
            count(2),
            tail("0"),
            "r0 = 5\nexit",
        ),
    ],
    "from a function's function, in a circle of three": [
        main(
            "r1 = r6\ncall f\nr8 = r0",
            count(0),
            "r0 = r8\nr0 *= 3\nexit",
            "f: r6 = r1\nr1 = r6\ncall g\nr0 += 1\nexit",
            "g: r6 = r1",
            tail("1"),
            "r0 = 4\nexit",
        ),
        main(count(1), tail("2"), "r0 = 60\nexit"),
        main(count(2), tail("0"), "r0 = 70\nexit"),
    ],
}


class Engine:
    """The programs loaded into a machine, with the maps they use."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.machine = Machine()
        array = create_map(MapSpec(MapType.PROG_ARRAY, 4, 4, _SLOTS), self.machine)
        assert isinstance(array, ProgArrayMap)
        self.counters: Map = create_map(MapSpec(MapType.ARRAY, 4, 8, _SLOTS), self.machine)
        maps = {0: array, 1: self.counters}
        self.progs: list[Prog] = []
        for slot, text in enumerate(texts):
            self.progs.append(load_prog(self.machine, with_functions(assemble(text), maps)))
            array.update_object(struct.pack("<I", slot), self.progs[-1])

    def outcome(self, result: int) -> Outcome:
        counted = [self.counters.lookup(struct.pack("<I", n)) for n in range(_SLOTS)]
        return result & 0xFFFFFFFF, tuple(int.from_bytes(value, "little") for value in counted)

    def native(self) -> Outcome:
        return self.outcome(
            run_on_data(self.machine, self.progs[0], RunRequest(Given.of(_PACKET), wants_ctx=False)).retval
        )

    def interpreted(self) -> Outcome:
        programs: dict[int, Interpreter] = {}
        for prog in self.progs:
            programs[prog.address] = Interpreter(prog.verified, HELPERS, programs=programs)
        context = ctypes.create_string_buffer(SkBuff.NATIVE_SIZE)
        env = self.machine.new_env()
        try:
            return self.outcome(programs[self.progs[0].address].run(ctypes.addressof(context), env))
        finally:
            self.machine.free_env(env)


def kernels(texts: Sequence[str]) -> Outcome:
    """The same in the kernel, with new maps."""
    with (
        kernel_oracle.open_map(MapType.PROG_ARRAY, 4, 4, _SLOTS) as array,
        kernel_oracle.open_map(MapType.ARRAY, 4, 8, _SLOTS) as counters,
    ):
        fds = []
        try:
            for slot, text in enumerate(texts):
                fds.append(load_in_kernel(assemble(text), (array, counters)))
                assert _element(Cmd.MAP_UPDATE_ELEM, array, slot, struct.pack("<I", fds[-1]))[0] == 0
            error, result, _, _ = kernel_oracle.test_run(fds[0], _PACKET)
            assert error == 0
            counted = [_element(Cmd.MAP_LOOKUP_ELEM, counters, n, bytes(8)) for n in range(_SLOTS)]
            return result, tuple(int.from_bytes(value, "little") for _, value in counted)
        finally:
            for fd in fds:
                os.close(fd)


def _element(command: Cmd, fd: int, key: int, value: bytes) -> tuple[int, bytes]:
    keys, values = ctypes.c_uint32(key), ctypes.create_string_buffer(value, len(value))
    attr = struct.pack("<IIQQQ", fd, 0, ctypes.addressof(keys), ctypes.addressof(values), 0)
    return kernel_oracle.bpf(command, attr), values.raw


@pytest.mark.parametrize("name", _PROGRAMS)
def test_interpreter_and_native_code_agree(name: str) -> None:
    interpreted, native = Engine(_PROGRAMS[name]), Engine(_PROGRAMS[name])
    assert interpreted.interpreted() == native.native()


@pytest.mark.parametrize("name", _PROGRAMS)
def test_native_code_and_the_kernel_agree(name: str) -> None:
    if reason := kernel_oracle.kernel_unavailable():
        pytest.skip(reason)
    assert Engine(_PROGRAMS[name]).native() == kernels(_PROGRAMS[name])


def test_the_34th_tail_call_fails() -> None:
    assert Engine(_PROGRAMS["to itself"]).native() == (7, (34, 1, 0, 0))
