"""Accepted programs, compiled: native code leaves the same result and the same memory as the interpreter.

A program may compute with addresses, and stacks lie at different ones: a run that does more with the
address of its stack than move it, add to it and access memory is not compared, nor one that asks for the
time.
"""

import ctypes
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.abi.bpf import FuncId, MapType, ProgType
from engine.env import peek64
from engine.helpers import HELPERS
from engine.interp import Interpreter
from engine.isa import FP, Alu, Form, Insn
from engine.jit.bpf import compile_bpf
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.maps.header import MapHdr
from engine.progspec import ProgSpec
from engine.verifier import Verified, VerifierError, verify
from tests.differential.generate import ARRAY_FD, HASH_FD, Generator

__all__ = ["NativeRuns", "compare_programs"]

_CTX_SIZE = 168
_RUNS = 4
_GUARD = 64
_SHAPES = {ARRAY_FD: (48, 4), HASH_FD: (64, 16)}
_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_U64 = (1 << 64) - 1
_CHANGING = frozenset((FuncId.ktime_get_ns, FuncId.get_prandom_u32, FuncId.ktime_get_boot_ns))
"""Helpers that give another result each time."""
_MOVES = (Alu.MOV, Alu.ADD, Alu.SUB)

Outcome = tuple[int, bytes, list[bytes]]


@dataclass
class NativeRuns:
    """Programs generated, accepted and run in both ways, runs that cannot be repeated, what differed."""

    programs: int = 0
    accepted: int = 0
    runs: int = 0
    skipped: int = 0
    differences: list[str] = field(default_factory=list)


class _Bench:
    """Memory that every run starts from anew: a context between guard bytes, and two arrays."""

    def __init__(self, machine: Machine) -> None:
        self.env = machine.new_env()
        self.maps: dict[int, Map] = {
            fd: create_map(MapSpec(MapType.ARRAY, 4, size, entries), machine)
            for fd, (size, entries) in _SHAPES.items()
        }
        self._ctx = ctypes.create_string_buffer(_CTX_SIZE + 2 * _GUARD)
        self.ctx = ctypes.addressof(self._ctx) + _GUARD
        self._ranges = []
        for fd, (size, entries) in _SHAPES.items():
            start = peek64(self.maps[fd].address + MapHdr.DATA)
            self._ranges.append((start, -(-size // 8) * 8 * entries))

    def fill(self, seed: int) -> None:
        """Random words, small or near an edge as often as not."""
        rng = random.Random(seed)
        for start, size in [(self.ctx, _CTX_SIZE), *self._ranges]:
            words = (_word(rng).to_bytes(8, "little") for _ in range(size // 8))
            ctypes.memmove(start, b"".join(words), size)

    def outcome(self, result: int) -> Outcome:
        """All that a run left behind."""
        contents = [ctypes.string_at(start, size) for start, size in self._ranges]
        return result & _U64, self._ctx.raw, contents


def _word(rng: random.Random) -> int:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.getrandbits(64)
    if kind == 1:
        return rng.randrange(80)
    if kind == 2:
        return -rng.randrange(1, 80) & _U64
    return ((1 << rng.randrange(64)) + rng.randrange(-2, 3)) & _U64


class _Unrepeatable:
    """Watches a run for uses of the stack's address as a number, and for helpers that never repeat."""

    def __init__(self) -> None:
        self.seen = False
        self._top = 0

    def __call__(self, pc: int, insn: Insn, regs: list[int]) -> None:
        """The interpreter's trace hook."""
        row = insn.opcode
        self._top = regs[FP]
        if row is None or row.form in (Form.CALL, Form.LD_IMM64, Form.GOTO):
            self.seen |= row is not None and row.form is Form.CALL and insn.imm in _CHANGING
            return
        if row.form is Form.EXIT:
            self.seen |= self._in_stack(regs[0])
            return
        if row.form is Form.LOAD:
            self.seen |= row.size < 8 and self._in_stack(regs[insn.src]) and self._spilled(regs, insn)
        elif row.form in (Form.STORE, Form.ATOMIC):
            whole = row.form is Form.STORE and row.size == 8 and self._in_stack(regs[insn.dst])
            self.seen |= row.reg and not whole and self._in_stack(regs[insn.src])
        elif row.form is not Form.ALU or row.bits == 32 or insn.off or row.op not in _MOVES:
            self.seen |= self._in_stack(regs[insn.dst]) or (row.reg and self._in_stack(regs[insn.src]))

    def _in_stack(self, value: int) -> bool:
        return abs(value - self._top) <= 1 << 16

    def left_in(self, contents: list[bytes]) -> bool:
        """Whether a helper copied a stack address into a map."""
        words = (word for content in contents for (word,) in struct.iter_unpack("<Q", content))
        return any(self._in_stack(word) for word in words)

    def _spilled(self, regs: list[int], insn: Insn) -> bool:
        where = regs[insn.src] + insn.off
        slot = where - (where - self._top) % 8
        return self._in_stack(ctypes.c_uint64.from_address(slot).value)


def compare_programs(seed: int, count: int) -> NativeRuns:
    """Generate, verify, compile and run programs `seed` to `seed + count`."""
    found = NativeRuns()
    machine = Machine()
    try:
        bench = _Bench(machine)
        for number in range(seed, seed + count):
            found.programs += 1
            insns = Generator(number).program(15 + number % 40)
            spec = ProgSpec(ProgType.KPROBE, insns, license="GPL", maps=bench.maps)
            try:
                verified = verify(spec, log_level=0)
            except VerifierError:
                continue
            found.accepted += 1
            _compare(found, bench, verified, number)
        machine.free_env(bench.env)
    finally:
        machine.close()
    return found


def _compare(found: NativeRuns, bench: _Bench, verified: Verified, number: int) -> None:
    code = compile_bpf(verified, HELPERS, cached=False)
    native = _ENTRY(code.address)
    for run in range(_RUNS):
        found.runs += 1
        use = _Unrepeatable()
        calls: list[Callable[[int, int], int]] = [Interpreter(verified, HELPERS, trace=use).run, native]
        outcomes = []
        for call in calls:
            bench.fill(number * _RUNS + run)
            outcomes.append(bench.outcome(call(bench.ctx, bench.env)))
        if use.seen or use.left_in(outcomes[0][2]):
            found.skipped += 1
        elif outcomes[0] != outcomes[1]:
            found.differences.append(f"seed {number}, run {run}")
