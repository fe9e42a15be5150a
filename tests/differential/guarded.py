"""Accepted programs as native code between guard pages: a stray access is a fault.

Context, the element of each map that the program looks up, and the stack of each of its functions lie at the
very end or the very beginning of pages of their own, by turns, with pages beside them that nobody may touch.
What is left of such a page is filled with a pattern, which must be there afterwards. Code is compiled without
optimisation, so that no access is left out. The programs run in child processes: one that dies of a signal
tells at which program.
"""

import ctypes
import faulthandler
import mmap
import os
import pickle
import random
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from engine.abi.bpf import MapType
from engine.env import peek64, poke64
from engine.helpers import HELPERS
from engine.interruption import interruptible
from engine.jit import codegen
from engine.jit.bpf import module_text
from engine.jit.bpf_unit import Unit
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.maps.header import MapHdr
from engine.verifier import Verified, VerifierError, verify
from tests.differential.generate import ARRAY_FD, HASH_FD
from tests.differential.loops import asked_often, random_spec

__all__ = ["GuardedRuns", "run_between_guards"]

_PAGE = mmap.PAGESIZE
_CTX_SIZE = 168
_RUNS = 4
_SLICE = 2000
_LONG = 500
"""How often a program's verification may ask whether to go on."""
_SHAPES = {ARRAY_FD: (48, 4), HASH_FD: (64, 16)}
_PATTERN = b"\xa5"
_U64 = (1 << 64) - 1
_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_STACK = re.compile(r"%stack = alloca \[(\d+) x i8\], align 16")
_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class GuardedRuns:
    """Programs generated, accepted and run, and what went wrong."""

    programs: int = 0
    accepted: int = 0
    runs: int = 0
    violations: list[str] = field(default_factory=list)


class _Guarded:
    """A page between two that fault. `put` says where `size` bytes lie, at its end or its beginning."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 3 * _PAGE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) + _PAGE
        for beside in (self._start - _PAGE, self._start + _PAGE):
            if _libc.mprotect(ctypes.c_void_p(beside), _PAGE, _PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")
        self._used = slice(0)

    def put(self, size: int, *, at_end: bool) -> int:
        """Address of `size` bytes; the rest of the page has the pattern."""
        first = _PAGE - size if at_end else 0
        self._used = slice(first, first + size)
        ctypes.memset(self._start, _PATTERN[0], _PAGE)
        return self._start + first

    def fill(self, words: Iterator[int]) -> None:
        """New content of the bytes."""
        size = self._used.stop - self._used.start
        content = b"".join(next(words).to_bytes(8, "little") for _ in range(-(-size // 8)))
        ctypes.memmove(self._start + self._used.start, content, size)

    @property
    def intact(self) -> bool:
        """Whether the pattern is."""
        rest = _PAGE - (self._used.stop - self._used.start)
        page = ctypes.string_at(self._start, _PAGE)
        return page[: self._used.start] + page[self._used.stop :] == _PATTERN * rest


def _words(seed: int) -> Iterator[int]:
    """Random words, small or near an edge as often as not."""
    rng = random.Random(seed)
    while True:
        kind = rng.randrange(4)
        if kind == 0:
            yield rng.getrandbits(64)
        elif kind == 1:
            yield rng.randrange(80)
        elif kind == 2:
            yield -rng.randrange(1, 80) & _U64
        else:
            yield ((1 << rng.randrange(64)) + rng.randrange(-2, 3)) & _U64


class _Bench:
    """Context, maps and stacks between guards."""

    def __init__(self, machine: Machine) -> None:
        self.env = machine.new_env()
        self.maps: dict[int, Map] = {
            fd: create_map(MapSpec(MapType.ARRAY, 4, size, entries), machine)
            for fd, (size, entries) in _SHAPES.items()
        }
        self._own = {fd: peek64(made.address + MapHdr.DATA) for fd, made in self.maps.items()}
        self._ctx = _Guarded()
        self._elements = {fd: _Guarded() for fd in _SHAPES}
        self._stacks: list[_Guarded] = []
        self._active: list[_Guarded] = []
        self.ctx = 0

    def place(self, verified: Verified, *, at_end: bool) -> int:
        """Address of the program's code, compiled for these places."""
        index = verified.insns[3].imm
        self.ctx = self._ctx.put(_CTX_SIZE, at_end=at_end)
        for fd, (size, _) in _SHAPES.items():
            element = self._elements[fd].put(size, at_end=at_end)
            poke64(self.maps[fd].address + MapHdr.DATA, element - index * size)
        unit, used = Unit(verified, HELPERS, 1), 0

        def stack(found: re.Match[str]) -> str:
            nonlocal used
            if used == len(self._stacks):
                self._stacks.append(_Guarded())
            address = self._stacks[used].put(int(found[1]), at_end=at_end)
            used += 1
            return f"%stack = inttoptr i64 {address} to ptr"

        text = _STACK.sub(stack, module_text(unit))
        if used != len(verified.subprogs):
            raise AssertionError(f"{used} stacks of {len(verified.subprogs)} functions")
        addresses, self._tracker = codegen.link_tracked(
            codegen.object_of(text, level=0), ["prog"], unit.imports()
        )
        self._active = [self._ctx, *self._elements.values(), *self._stacks[:used]]
        return addresses["prog"]

    def fill(self, seed: int) -> None:
        """New content everywhere but in the stacks, which programs find zeroed."""
        words = _words(seed)
        for guarded in (self._ctx, *self._elements.values()):
            guarded.fill(words)

    @property
    def intact(self) -> bool:
        """Whether nothing beside the places was written."""
        return all(guarded.intact for guarded in self._active)

    def close(self, machine: Machine) -> None:
        """Give the maps their own memory back."""
        for fd, own in self._own.items():
            poke64(self.maps[fd].address + MapHdr.DATA, own)
        machine.free_env(self.env)


def _run_slice(seed: int, count: int, loops: bool, progress: mmap.mmap) -> GuardedRuns:
    """In the child: programs one after another; `progress` has the number and the run of what is running."""
    found = GuardedRuns()
    machine = Machine()
    bench = _Bench(machine)
    for number in range(seed, seed + count):
        struct.pack_into("<QQ", progress, 0, number, 0)
        found.programs += 1
        spec = random_spec(number, bench.maps, loops=loops)
        try:
            with interruptible(asked_often(_LONG)):
                verified = verify(spec, log_level=0)
        except VerifierError:
            continue
        found.accepted += 1
        native = _ENTRY(bench.place(verified, at_end=bool(found.accepted % 2)))
        for run in range(_RUNS):
            struct.pack_into("<QQ", progress, 0, number, run)
            bench.fill(number * _RUNS + run)
            native(bench.ctx, bench.env)
            found.runs += 1
            if not bench.intact:
                found.violations.append(f"seed {number}, run {run}: written beside")
                break
    bench.close(machine)
    machine.close()
    return found


@contextmanager
def _shared() -> Iterator[mmap.mmap]:
    memory = mmap.mmap(-1, _PAGE)
    try:
        yield memory
    finally:
        memory.close()


def _in_child(seed: int, count: int, loops: bool, progress: mmap.mmap) -> tuple[GuardedRuns | None, int]:
    """What a child found, None when a signal ended it; and its wait status."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(receive)
            faulthandler.disable()
            with os.fdopen(send, "wb") as stream:
                pickle.dump(_run_slice(seed, count, loops, progress), stream)
            status = 0
        finally:
            os._exit(status)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if not status:
        found = pickle.loads(answer)
        assert isinstance(found, GuardedRuns)
        return found, 0
    return None, status


def run_between_guards(seed: int, count: int, *, loops: bool = False) -> GuardedRuns:
    """Generate, verify, compile and run programs `seed` to `seed + count`, with loops or without."""
    total = GuardedRuns()
    at, end = seed, seed + count
    with _shared() as progress:
        while at < end:
            found, status = _in_child(at, min(_SLICE, end - at), loops, progress)
            if found is None:
                number, run = struct.unpack_from("<QQ", progress)
                if not os.WIFSIGNALED(status):
                    raise RuntimeError(f"the child failed at seed {number}")
                violation = f"seed {number}, run {run}: signal {os.WTERMSIG(status)}"
                found = GuardedRuns(number - at + 1, 1, run, [violation])
            total.programs += found.programs
            total.accepted += found.accepted
            total.runs += found.runs
            total.violations += found.violations
            at += found.programs
    return total
