"""The run of the verifier over one program: what all its parts share."""

import errno
from collections.abc import Callable
from typing import Any, NoReturn

from engine.interruption import question
from engine.isa import FP, OPCODES, Insn, Opcode
from engine.progspec import MapLike, ProgFlag, ProgSpec
from engine.verifier.log import LEVEL1, LEVEL2, Log
from engine.verifier.regs import Reg
from engine.verifier.result import InsnAux, Subprog
from engine.verifier.stacklive import StackLiveness
from engine.verifier.state import Frame, Hist, State

__all__ = ["COMPLEXITY_LIMIT", "MAX_CALL_FRAMES", "Env", "Explored", "Pending", "Reject", "push_branch"]

COMPLEXITY_LIMIT = 1_000_000
MAX_CALL_FRAMES = 8
_MAX_PENDING = 8192
_FLOW_LIMIT = 50_000_000
_ASK_EVERY = 64


class Reject(Exception):
    """The program is refused; the reason is in the log already."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)
        self.errno = number
        self.message = message


class Pending:
    """A path put aside at a branch: its state before `insn_idx`, and the length of the log then."""

    __slots__ = ("insn_idx", "log_pos", "prev_insn_idx", "state")

    def __init__(self, state: State, insn_idx: int, prev_insn_idx: int, log_pos: int) -> None:
        self.state = state
        self.insn_idx = insn_idx
        self.prev_insn_idx = prev_insn_idx
        self.log_pos = log_pos


class Explored:
    """A remembered state, how often it ended a path and how often it was compared in vain."""

    __slots__ = ("cleaned", "hits", "misses", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.cleaned = False
        self.hits = 0
        self.misses = 0


class Env:
    """Program, marks on its instructions, the path being walked, those put aside, and the states seen.

    `regs` is always the register list of the running frame of `state`.
    """

    def __init__(self, spec: ProgSpec, log: Log) -> None:
        self.spec = spec
        self.insns: list[Insn] = list(spec.insns)
        self.rows: list[Opcode | None] = [OPCODES.get(insn.code) for insn in self.insns]
        self.aux: list[InsnAux] = [InsnAux() for _ in self.insns]
        self.log = log
        self.logging = bool(log.level & (LEVEL1 | LEVEL2))
        self.verbose = bool(log.level & LEVEL2)
        self.subprogs: list[Subprog] = []
        self.subprog_at: dict[int, int] = {}
        self.used_maps: list[MapLike] = []
        self.strict_alignment = bool(spec.flags & ProgFlag.STRICT_ALIGNMENT)
        self.test_state_freq = bool(spec.flags & ProgFlag.TEST_STATE_FREQ)
        self.sleepable = bool(spec.flags & ProgFlag.SLEEPABLE)

        count = len(self.insns)
        self.prune_point = bytearray(count + 1)
        self.jmp_point = bytearray(count + 1)
        self.force_checkpoint = bytearray(count + 1)
        self.calls_callback = bytearray(count + 1)
        self.live_regs: list[int] = [0x3FF] * count
        self.back_steps: list[tuple[int, int, int]] = []

        self.stack_live = StackLiveness()
        self.flow_steps = 0

        self.state: State = State([Frame(-1, 0, 0)])
        self.regs: list[Reg] = self.state.cur.regs
        self.insn_idx = 0
        self.prev_insn_idx = -1
        self.pending: list[Pending] = []
        self.explored: dict[int, list[Explored]] = {}
        self.explored_count = self.evicted_count = 0
        self.back_edge_count = self.callback_edge_count = 0
        self.loop_of: list[int] = []
        self.has_loops = False
        self.visits: dict[tuple[int, ...], Any] = {}
        self.hist: Hist | None = None
        self.id_gen = 0
        self.dyn_calls: dict[int, Any] = {}
        self.global_calls: set[int] = set()
        self.params: dict[int, Any] = {}
        self.unreliable: set[int] = set()
        self.loops: dict[int, tuple[bool, int | None]] = {}
        self.subprog = 0

        self.insn_processed = 0
        self.prev_insn_processed = 0
        self.jmps_processed = 0
        self.prev_jmps_processed = 0
        self.max_states_per_insn = 0
        self.total_states = 0
        self.peak_states = 0
        self.max_pkt_offset = 0
        self.max_ctx_offset = 0
        self.ctx_rewrites: dict[int, int] = {}
        self.symbols: dict[int, int] = {}

        self.scratched_regs = 0
        self.scratched_slots = 0
        self.prev_line: Any = None
        self.prev_log_pos = 0
        self.prev_insn_width = 0
        self.interrupted: Callable[[], bool] | None = question()
        self.until_asked = _ASK_EVERY

    def go_on(self) -> None:
        """Ask, now and then, whether anybody wants verification to end; EAGAIN as in Linux if so."""
        self.until_asked -= 1
        if self.until_asked <= 0:
            self.until_asked = _ASK_EVERY
            if self.interrupted is not None and self.interrupted():
                self.reject(errno.EAGAIN, "verification was interrupted")

    def update_stack(self) -> None:
        """A path or a function ends: see what of the stack matters before."""
        self.stack_live.update(self.flowed, self.say if self.verbose else None)

    def flowed(self, steps: int) -> None:
        """Steps backwards were made, of which there may be so many; asks as `go_on` does."""
        self.flow_steps += steps
        if self.flow_steps > _FLOW_LIMIT:
            self.reject(errno.E2BIG, f"BPF program is too large. Followed its data for {_FLOW_LIMIT} steps")
        self.go_on()

    def next_id(self) -> int:
        """A new identity."""
        self.id_gen += 1
        return self.id_gen

    def say(self, text: str) -> None:
        """A line for the log, on any level."""
        if self.log.level:
            self.log.write(text + "\n")

    def reject(self, number: int, message: str) -> NoReturn:
        """Refuse the program, with errno `number`."""
        self.say(message)
        raise Reject(number, message)

    def stop(self, number: int, message: str) -> NoReturn:
        """Refuse the program for a reason that is in the log already."""
        raise Reject(number, message)

    def log_success(self, text: str = "") -> None:
        """A function was found safe: on level 1 only this remains of the log (`do_check_common`)."""
        if not self.verbose:
            self.log.cut(0)
        if text and self.log.summary:
            self.log.write(text + "\n")

    def deny(self, message: str) -> NoReturn:
        """Refuse the program with EACCES."""
        self.reject(errno.EACCES, message)

    def invalid(self, message: str) -> NoReturn:
        """Refuse the program with EINVAL."""
        self.reject(errno.EINVAL, message)

    def enter(self, state: State) -> None:
        """Make `state` the one being walked."""
        self.state = state
        self.regs = state.frames[-1].regs
        self.stack_live.current = self.stack_live.chain(state.frames)

    def touch(self, number: int) -> None:
        """Note a register that the log shall show after this instruction."""
        self.scratched_regs |= 1 << number

    def touch_slot(self, spi: int) -> None:
        """The same for a stack slot of the running frame."""
        self.scratched_slots |= 1 << spi

    def touch_all(self) -> None:
        """Note everything, as after a change of path or function."""
        self.scratched_regs = self.scratched_slots = -1

    def read_reg(self, number: int) -> Reg:
        """A register as a source operand; one without a value is refused."""
        if number > FP:
            self.invalid(f"R{number} is invalid")
        reg = self.regs[number]
        self.scratched_regs |= 1 << number
        if not reg.type:
            self.deny(f"R{number} !read_ok")
        return reg

    def write_reg(self, number: int, reg: Reg) -> None:
        """Set a register as the result of an instruction."""
        self.scratched_regs |= 1 << number
        self.regs[number] = reg

    def check_writable(self, number: int) -> None:
        """Refuse R10, and what is no register, as a destination."""
        if number >= FP:
            if number > FP:
                self.invalid(f"R{number} is invalid")
            self.deny("frame pointer is read only")

    def find_subprog(self, insn_idx: int) -> int:
        """Index of the subprogram that instruction `insn_idx` belongs to."""
        low, high = 0, len(self.subprogs) - 1
        while low < high:
            mid = (low + high + 1) // 2
            if self.subprogs[mid].start <= insn_idx:
                low = mid
            else:
                high = mid - 1
        return low

    def states_at(self, insn_idx: int) -> list[Explored]:
        """States remembered in the place of those at `insn_idx` called from where the running frame is;
        others may share it (`explored_state`)."""
        place = ((insn_idx ^ self.state.cur.callsite) & 0xFFFFFFFF) % len(self.insns)
        return self.explored.setdefault(place, [])

    def push_history(
        self,
        stack: tuple[int, int] | None = None,
        linked: tuple[tuple[int, int, bool], ...] = (),
        pointers: int = 0,
    ) -> None:
        """Remember this step of the path (`push_jmp_history`); a second note for the same step is
        merged."""
        old = self.hist
        if old is not None:
            entry = Hist(
                old.idx, old.prev_idx, stack or old.stack, linked or old.linked, pointers | old.pointers
            )
            self.state.history[-1] = entry
        else:
            entry = Hist(self.insn_idx, self.prev_insn_idx, stack, linked, pointers)
            self.state.history.append(entry)
        self.hist = entry


def push_branch(env: Env, insn_idx: int, prev_insn_idx: int, *, too_many: int = errno.ENOMEM) -> State:
    """Put a copy of the state aside, to be walked from `insn_idx` on (`push_stack`); `too_many` is the errno
    when there are too many."""
    other = env.state.copy()
    env.pending.append(Pending(other, insn_idx, prev_insn_idx, env.log.pos))
    if len(env.pending) > _MAX_PENDING:
        env.reject(too_many, f"The sequence of {len(env.pending)} jumps is too complex.")
    if other.parent is not None:
        other.parent.branches += 1
    other.branches = 1
    return other
