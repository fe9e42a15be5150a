"""Abstract states: stack slots, frames, and the whole state of one path.

A stack slot is eight bytes of a frame, immutable and shared like a `Reg`. Slot i covers fp-8(i+1) to
fp-8i-1; its
`kinds` has one character for each byte, from the highest address down, as the log prints them:

    ?  never written      m  holds anything      0  holds zero      r  part of the spilled `reg`      d
    dynptr
"""

from typing import NamedTuple

from engine.isa import FP, REGS
from engine.verifier.bounds import const_bounds
from engine.verifier.regs import NOT_INIT, Reg, RegType

__all__ = [
    "INVALID_SLOT",
    "MAIN_CALLSITE",
    "MISC_SLOT",
    "ZERO_SLOT",
    "Frame",
    "Hist",
    "Ref",
    "Slot",
    "State",
    "fp_reg",
    "spill_slot",
]

MAIN_CALLSITE = -1


class Slot:
    """Eight bytes of stack: the kind of each, and the register that was spilled there."""

    __slots__ = ("kinds", "reg")

    def __init__(self, kinds: str, reg: Reg = NOT_INIT) -> None:
        self.kinds = kinds
        self.reg = reg

    @property
    def spilled(self) -> bool:
        """Whether its lowest byte belongs to a spilled register (`is_spilled_reg`)."""
        return self.kinds[7] == "r"

    def __repr__(self) -> str:
        return f"Slot({self.kinds}, {self.reg!r})"


INVALID_SLOT = Slot("????????")
MISC_SLOT = Slot("mmmmmmmm")
ZERO_SLOT = Slot("00000000")


def spill_slot(reg: Reg, size: int, before: Slot) -> Slot:
    """The slot after `size` bytes of `reg` were stored at its start (`save_register_state`)."""
    if size == 8:
        return Slot("rrrrrrrr", reg)
    kept = "".join(kind if kind in "?0" else "m" for kind in before.kinds[: 8 - size])
    return Slot(kept + "r" * size, reg)


def fp_reg(frameno: int) -> Reg:
    """R10 of a frame."""
    return Reg(RegType.STACK, const_bounds(0), n=frameno)


class Ref(NamedTuple):
    """Something acquired that must be released: its id, where it was acquired, and what it is (`ptr`,
    `lock`)."""

    id: int
    insn_idx: int
    kind: str = "ptr"


class Hist(NamedTuple):
    """One remembered step of a path: `idx` was reached from `prev_idx`.

    stack: (frame, slot) when it read or wrote a spilled register there. linked: registers and slots that
    were equal
    when a branch refined one of them, as (frame, index, is_reg). pointers: bit mask of operands of a
    comparison
    (1 dst, 2 src) that are stack pointers, whose exact value needs no tracking.
    """

    idx: int
    prev_idx: int
    stack: tuple[int, int] | None = None
    linked: tuple[tuple[int, int, bool], ...] = ()
    pointers: int = 0


class Frame:
    """One function activation."""

    __slots__ = (
        "callback_depth",
        "callback_ret",
        "callsite",
        "frameno",
        "in_callback",
        "regs",
        "stack",
        "subprog",
    )

    def __init__(self, callsite: int, frameno: int, subprog: int) -> None:
        self.callsite = callsite
        self.frameno = frameno
        self.subprog = subprog
        self.regs: list[Reg] = [NOT_INIT] * REGS
        self.regs[FP] = fp_reg(frameno)
        self.stack: list[Slot] = []
        self.in_callback = False
        self.callback_depth = 0
        self.callback_ret = (0, 0)

    def copy(self) -> "Frame":
        """A frame with lists of its own."""
        new = Frame.__new__(Frame)
        new.callsite = self.callsite
        new.frameno = self.frameno
        new.subprog = self.subprog
        new.regs = self.regs.copy()
        new.stack = self.stack.copy()
        new.in_callback = self.in_callback
        new.callback_depth = self.callback_depth
        new.callback_ret = self.callback_ret
        return new


class State:
    """Everything known at one point of one path, and how the path came here since its `parent` state."""

    __slots__ = (
        "active_lock",
        "branches",
        "callback_unroll_depth",
        "dfs_depth",
        "evicted",
        "first_insn_idx",
        "frames",
        "history",
        "insn_idx",
        "last_insn_idx",
        "may_goto_depth",
        "parent",
        "refs",
    )

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.parent: State | None = None
        self.branches = 1
        self.insn_idx = 0
        self.first_insn_idx = 0
        self.last_insn_idx = 0
        self.dfs_depth = 0
        self.callback_unroll_depth = 0
        self.may_goto_depth = 0
        self.refs: tuple[Ref, ...] = ()
        self.active_lock: tuple[object, int] | None = None
        self.history: list[Hist] = []
        self.evicted = False

    def copy(self) -> "State":
        """A state that changes apart from this one."""
        new = State.__new__(State)
        new.frames = [frame.copy() for frame in self.frames]
        new.parent = self.parent
        new.branches = self.branches
        new.insn_idx = self.insn_idx
        new.first_insn_idx = self.first_insn_idx
        new.last_insn_idx = self.last_insn_idx
        new.dfs_depth = self.dfs_depth
        new.callback_unroll_depth = self.callback_unroll_depth
        new.may_goto_depth = self.may_goto_depth
        new.refs = self.refs
        new.active_lock = self.active_lock
        new.history = self.history.copy()
        new.evicted = False
        return new

    @property
    def cur(self) -> Frame:
        """The running frame."""
        return self.frames[-1]
