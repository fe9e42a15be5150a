"""Accepted programs, run: every access is where it may be, and every register what the verifier said it
could be.

A program is verified once without ending paths early, its states noted at branches and joins; then it is
run in the
checking interpreter on random values. At each such point some noted state must hold what the registers
hold.
"""

import ctypes
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

from engine.abi.bpf import MapType
from engine.env import peek64
from engine.errors import KernelError
from engine.helpers import HELPERS
from engine.interp import Interpreter, Memory
from engine.interruption import interruptible
from engine.isa import Insn
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.maps.header import MapHdr
from engine.verifier import Verified, VerifierError, verify
from engine.verifier.env import Env, Reject
from engine.verifier.regs import Reg, RegType
from tests.differential.generate import ARRAY_FD, HASH_FD
from tests.differential.loops import asked_often, random_spec

__all__ = ["Soundness", "check_programs"]

_CTX_SIZE = 168
_RUNS = 6
_MAX_VISITS = 4000
_LONG = 500
"""How often a program's verification may ask whether to go on."""
_M64 = (1 << 64) - 1
_PROBE_READ_KERNEL = 113
_VISITED = "engine.verifier.walk.state_visited"

Visits = dict[int, list[tuple[int, list[Reg]]]]
"""For each instruction the registers of each visit, and the number of the frame."""


@dataclass
class Soundness:
    """Programs verified, accepted and run, and what was found wrong."""

    programs: int = 0
    accepted: int = 0
    runs: int = 0
    violations: list[str] = field(default_factory=list)


@contextmanager
def _recording() -> Iterator[Visits]:
    """Note the registers at every point where states are compared; compare none."""
    visits: Visits = defaultdict(list)

    def note(env: Env, insn_idx: int) -> bool:
        if sum(map(len, visits.values())) > _MAX_VISITS:
            raise Reject(7, "too many paths to note")
        visits[insn_idx].append((len(env.state.frames) - 1, env.regs.copy()))
        return False

    with mock.patch(_VISITED, note):
        yield visits


@dataclass
class _Run:
    """Where things are in one run."""

    visits: Visits
    elements: list[tuple[int, int]]
    ctx: int
    problem: str = ""

    def trace(self, pc: int, insn: Insn, regs: list[int]) -> None:
        """Compare the registers with what was noted here."""
        writes = insn.code == 0x85 and insn.src == 0 and insn.imm == _PROBE_READ_KERNEL
        if writes and not regs[10] - 512 <= regs[1] <= regs[1] + regs[2] <= regs[10]:
            self.problem = self.problem or f"insn {pc}: helper writes {regs[2]} bytes at {regs[1]:#x}"
        known = self.visits.get(pc)
        if known is None or self.problem:
            return
        if not any(self._holds(frame, states, regs) for frame, states in known):
            self.problem = f"insn {pc}: no state holds {[hex(r) for r in regs]}"

    def _holds(self, frame: int, states: list[Reg], regs: list[int]) -> bool:
        return all(self._one(frame, reg, value, regs[10]) for reg, value in zip(states, regs, strict=True))

    def _one(self, frame: int, reg: Reg, value: int, fp: int) -> bool:
        if reg.type == RegType.SCALAR:
            return reg.b.holds(value)
        if reg.type == RegType.STACK:
            return reg.n != frame or reg.b.holds((value - fp - reg.off) & _M64)
        if reg.type == RegType.CTX:
            return reg.b.holds((value - self.ctx - reg.off) & _M64)
        if reg.type == RegType.MAP_VALUE:
            if reg.flags and not value:
                return True
            return any(reg.b.holds((value - start - reg.off) & _M64) for start, _ in self.elements)
        return True


def _maps(machine: Machine) -> dict[int, Map]:
    """The arrays that stand for the two maps of generated programs."""
    shapes = {ARRAY_FD: (48, 4), HASH_FD: (64, 16)}
    return {
        name: create_map(MapSpec(MapType.ARRAY, 4, size, entries), machine)
        for name, (size, entries) in shapes.items()
    }


def _element(target: Map, index: int) -> tuple[int, int]:
    """Address and size of one value of an array."""
    stride = peek64(target.address + MapHdr.ELEM_SIZE) & 0xFFFFFFFF
    return peek64(target.address + MapHdr.DATA) + index * stride, target.value_size


def _edge(rng: random.Random) -> int:
    """Eight bytes that often are near an edge."""
    roll = rng.randrange(5)
    if roll == 0:
        return rng.getrandbits(64)
    if roll == 1:
        return rng.randrange(64)
    if roll == 2:
        return -rng.randrange(1, 70) & _M64
    if roll == 3:
        return ((1 << rng.randrange(64)) + rng.randrange(-2, 3)) & _M64
    return rng.getrandbits(32) | rng.choice((0, 0xFFFFFFFF00000000))


def check_programs(seed: int, count: int, *, loops: bool = False) -> Soundness:
    """Generate, verify and run programs, with loops or without."""
    found = Soundness()
    machine = Machine()
    env = machine.new_env()
    try:
        maps = _maps(machine)
        for n in range(seed, seed + count):
            found.programs += 1
            spec = random_spec(n, maps, loops=loops)
            try:
                with interruptible(asked_often(_LONG)):
                    verified = verify(spec, log_level=0)
                with _recording() as visits:
                    verify(spec, log_level=0)
            except VerifierError:
                continue
            found.accepted += 1
            for run in range(_RUNS):
                found.runs += 1
                problem = _run(verified, visits, maps, env, random.Random(n * _RUNS + run))
                if problem:
                    found.violations.append(f"seed {n}: {problem}")
                    break
    finally:
        machine.free_env(env)
        machine.close()
    return found


def _run(verified: Verified, visits: Visits, maps: dict[int, Map], env: int, rng: random.Random) -> str:
    """One run on random values; what went wrong."""
    ctx = ctypes.create_string_buffer(_CTX_SIZE)
    for off in range(0, _CTX_SIZE, 8):
        ctypes.c_uint64.from_buffer(ctx, off).value = _edge(rng)
    memory = Memory()
    memory.allow(ctypes.addressof(ctx), _CTX_SIZE, writable=False)
    index = verified.insns[3].imm
    elements = []
    for target in maps.values():
        start, size = _element(target, index)
        memory.allow(start, size)
        elements.append((start, size))
        content = b"".join(_edge(rng).to_bytes(8, "little") for _ in range(size // 8))
        ctypes.memmove(start, content, size)
    state = _Run(visits, elements, ctypes.addressof(ctx))
    try:
        Interpreter(verified, HELPERS, memory=memory, trace=state.trace).run(ctypes.addressof(ctx), env)
    except KernelError as error:
        return str(error)
    return state.problem
