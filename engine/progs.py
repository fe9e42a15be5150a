"""Loaded programs: verified, compiled, with a native header through which everything runs them.

Pins, descriptors, links and program arrays hold references to a `Prog`; its code and header go a grace period
after the last (see `engine.epoch`).
"""

import hashlib
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engine.abi.bpf import MapType, ProgType
from engine.clock import monotonic
from engine.env import Ctl, Env, peek64, poke32, poke64
from engine.helpers import HELPERS
from engine.interruption import check
from engine.isa import LD_IMM64, Insn, PseudoSrc, encode
from engine.jit.lang import atomic_add64, call, native, put64, u64
from engine.maps.owner import ProgHolder
from engine.memory import Heap
from engine.proghdr import PROG_HDR_SIZE, ProgHdr
from engine.progspec import ProgSpec
from engine.verifier import Verified, verify

if TYPE_CHECKING:
    from engine.jit.bpf import Code
    from engine.machine import Machine

__all__ = ["PROG_HDR_SIZE", "Prog", "ProgHdr", "load_prog", "prog_tag", "run_prog"]

_ASKED = (MapType.PROG_ARRAY, MapType.DEVMAP, MapType.CPUMAP)


@native
def _run_timed(env: int, ctx: int, prog: int) -> int:
    """`run_prog` with its time added to the program's."""
    start = monotonic()
    result = call(u64(prog + ProgHdr.FN), ctx, env)
    atomic_add64(prog + ProgHdr.RUN_TIME_NS, monotonic() - start)
    return result


@native
def run_prog(env: int, ctx: int, prog: int) -> int:
    """Run the program with header `prog` on `ctx`; what it returns. A probe handler as it stands.

    The caller holds the run lock of the environment's CPU and is inside a read section of the epoch.
    """
    outer = u64(env + Env.PROG)
    tail_calls = u64(env + Env.TAIL_CALLS)
    put64(env + Env.PROG, prog)
    put64(env + Env.TAIL_CALLS, 0)
    atomic_add64(prog + ProgHdr.RUN_CNT, 1)
    if u64(u64(env + Env.CTL) + Ctl.STATS_ENABLED) != 0:
        result = _run_timed(env, ctx, prog)
    else:
        result = call(u64(prog + ProgHdr.FN), ctx, env)
    put64(env + Env.PROG, outer)
    put64(env + Env.TAIL_CALLS, tail_calls)
    return result


def prog_tag(insns: Sequence[Insn]) -> bytes:
    """The 8-byte tag: SHA-1 of the instructions without map descriptors (`bpf_prog_calc_tag`, 6.1)."""
    plain = list(insns)
    maps = (PseudoSrc.MAP_FD, PseudoSrc.MAP_VALUE, PseudoSrc.MAP_IDX, PseudoSrc.MAP_IDX_VALUE)
    for index, insn in enumerate(plain):
        if insn.code == LD_IMM64 and insn.src in maps:
            plain[index] = Insn(insn.code, insn.dst, insn.src, insn.off, 0)
            plain[index + 1] = Insn(0)
    return hashlib.sha1(encode(plain), usedforsecurity=False).digest()[:8]


def _release(
    heap: Heap, header: int, retire: Callable[[Callable[[], None]], None], keep: list[object]
) -> None:
    """Free header and code (held by `keep`) after a grace period. Holds no reference to the program."""

    def reclaim() -> None:
        keep.clear()
        heap.free(header)

    retire(reclaim)


class Prog:
    """A loaded program. `address` is its native header.

    insns: as given; xlated: as verified (context accesses rewritten). maps: those it uses, kept alive by it.
    load_time_ns: CLOCK_MONOTONIC at load.
    """

    def __init__(
        self, machine: "Machine", spec: ProgSpec, verified: Verified, code: "Code", uid: int
    ) -> None:
        self.spec = spec
        self.type: ProgType = spec.type
        self.name = spec.name
        self.license = spec.license
        self.btf = spec.btf
        self.insns: Sequence[Insn] = spec.insns
        self.xlated: Sequence[Insn] = verified.insns
        self.verified = verified
        self.maps = list(verified.used_maps)
        self.log = verified.log
        self.tag = prog_tag(spec.insns)
        self.uid = uid
        self.load_time_ns = machine.clock.now_ns()
        self.address = machine.heap.alloc(PROG_HDR_SIZE, 64)
        self._code = code
        poke64(self.address + ProgHdr.FN, code.address)
        poke32(self.address + ProgHdr.TYPE, self.type)
        keep: list[object] = [code, self.maps]
        self._finalizer = weakref.finalize(
            self, _release, machine.heap, self.address, machine.epoch.retire, keep
        )
        self._finalizer.atexit = False
        self.id = machine.progs.add(self)
        poke32(self.address + ProgHdr.ID, self.id)

    @property
    def image(self) -> bytes:
        """The ELF object that the code was linked from."""
        return self._code.image

    @property
    def jited(self) -> bytes:
        """The machine code."""
        from engine.jit.image import text_of

        return text_of(self._code.image)

    @property
    def run_cnt(self) -> int:
        """How often it ran."""
        return peek64(self.address + ProgHdr.RUN_CNT)

    @property
    def run_time_ns(self) -> int:
        """Nanoseconds it ran while statistics were enabled."""
        return peek64(self.address + ProgHdr.RUN_TIME_NS)

    @property
    def missed(self) -> int:
        """Runs that did not happen because one was under way."""
        return peek64(self.address + ProgHdr.MISSED)

    def close(self) -> None:
        """Give code and header back after a grace period. Nothing may run the program any more."""
        self._finalizer()

    def __repr__(self) -> str:
        return f"<prog {self.id} {self.type.name} {self.name!r} tag {self.tag.hex()}>"


def load_prog(
    machine: "Machine", spec: ProgSpec, *, log_level: int = 1, uid: int = 0, every_path: bool = False
) -> Prog:
    """Verify, compile and register a program. Raises VerifierError (with the log) and KernelError.

    EINVAL where one of its maps holds programs of another kind (`bpf_check_tail_call`).
    EAGAIN if it is interrupted (`engine.interruption`) before it is compiled.
    """
    from engine.jit.bpf import compile_bpf

    verified = verify(spec, log_level=log_level, every_path=every_path)
    check()
    for used in verified.used_maps:
        if isinstance(used, ProgHolder) and used.type in _ASKED:
            used.check_owner(spec)
    return Prog(machine, spec, verified, compile_bpf(verified, HELPERS), uid)
