"""What verification proves: the structure that JIT, interpreter and `Prog` are built from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from engine.errors import KernelError
from engine.progspec import MapLike

if TYPE_CHECKING:
    from engine.isa import Insn

__all__ = ["InsnAux", "PtrClass", "Subprog", "Verified", "VerifierError", "VerifierStats"]


class VerifierError(KernelError):
    """The program was refused; `log` is the whole text of the verifier, `errno` the kernel's.

    log_longest: the most characters that the log had while paths were walked. walked: instructions of all
    paths until then.
    """

    def __init__(self, number: int, message: str, log: str, log_longest: int = 0, walked: int = 0) -> None:
        super().__init__(number, message)
        self.log = log
        self.walked = walked
        self.log_longest = max(log_longest, len(log))


class PtrClass(IntEnum):
    """What the address of a load or store points into (the same on every path)."""

    NONE = 0
    STACK = 1
    CTX = 2
    MAP_KEY = 3
    MAP_VALUE = 4
    MEM = 5
    PACKET = 6
    BTF = 7
    """A modelled kernel object: the address may be wild, a load that faults gives 0."""
    XDP_SOCK = 8


@dataclass(slots=True)
class InsnAux:
    """Facts about one instruction slot.

    seen: some path executes it; when false it is dead and need not be compiled.
    map, map_off: of LD_IMM64 with src MAP_FD/MAP_IDX (the map itself) and MAP_VALUE/MAP_IDX_VALUE (its
    value plus
        `map_off` bytes).
    target: of LD_IMM64 with src FUNC and of CALL with src 1: first instruction of the subprogram.
    call_map: of a helper call with a map argument: the map when it is the same one on every path, else
    None.
    const_key: of map_lookup_elem and tail_call on an array: the index when it is one constant on every
    path, else None.
    call_subprog: of a helper call with a callback argument: index into `Verified.subprogs`, or None.
    ptr: of a load or store: what it addresses.
    """

    seen: bool = False
    map: MapLike | None = None
    map_off: int = 0
    target: int | None = None
    call_map: MapLike | None = None
    const_key: int | None = None
    call_subprog: int | None = None
    ptr: PtrClass = PtrClass.NONE


@dataclass(slots=True)
class Subprog:
    """A function of the program: instructions [start, end), bytes of stack it uses (rounded to 8).

    is_cb: called by a helper (bpf_loop, bpf_for_each_map_elem) rather than by the program.
    is_global: verified apart from its callers. has_tail_call: some instruction of it is a tail call.
    changes_packet: it, or a function that it calls, may move or resize the packet.
    """

    start: int
    end: int
    stack_depth: int = 0
    name: str = ""
    is_cb: bool = False
    is_global: bool = False
    has_tail_call: bool = False
    has_ld_abs: bool = False
    changes_packet: bool = False


@dataclass(slots=True)
class VerifierStats:
    """The numbers of the log's last line."""

    insn_processed: int = 0
    max_states_per_insn: int = 0
    total_states: int = 0
    peak_states: int = 0


@dataclass(slots=True)
class Verified:
    """A program that was accepted.

    `insns` are those given, with context accesses rewritten to the native layout (`engine.abi.ctx`);
    indices are
    unchanged. `aux` is parallel to `insns`. `used_maps` in order of first use. `subprogs[0]` is the main
    program.
    """

    insns: "Sequence[Insn]"
    aux: list[InsnAux]
    subprogs: list[Subprog]
    used_maps: list[MapLike] = field(default_factory=list)
    log: str = ""
    stats: VerifierStats = field(default_factory=VerifierStats)
    max_pkt_offset: int = 0
    max_ctx_offset: int = 0
    log_longest: int = 0
