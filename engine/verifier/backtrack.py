"""One instruction backwards: from what is wanted after it to what is wanted before it (`backtrack_insn`)."""

from engine.abi.bpf import FuncId
from engine.isa import FP, Alu, Atomic, Class, Form, Insn, Mode, Opcode, PseudoSrc
from engine.verifier.env import MAX_CALL_FRAMES, Env
from engine.verifier.state import Hist
from engine.verifier.trace import insn_text

__all__ = ["ADDS", "OTHER", "SETS", "Lost", "Masks", "prepare_steps", "step_back"]

_ARGS = 0b111110
_MEANINGLESS = (Form.NEG, Form.END, Form.BSWAP, Form.GOTO)
_ALU, _JUMP, _LD_IMM64, _MOV = Form.ALU, Form.JUMP, Form.LD_IMM64, Alu.MOV
OTHER, NOTHING, SETS, ADDS = -1, 0, 1, 2
"""What an instruction does to what is wanted: something else; nothing; dst is set from src; dst depends on
src too."""


class Lost(Exception):
    """The way back cannot be followed."""


class Masks:
    """Registers and stack slots whose value is wanted, for each frame, as bit masks; `marked` once a state
    was marked."""

    __slots__ = ("frame", "marked", "regs", "slots")

    def __init__(self, frame: int) -> None:
        self.frame = frame
        self.marked = False
        self.regs = [0] * MAX_CALL_FRAMES
        self.slots = [0] * MAX_CALL_FRAMES

    @property
    def empty(self) -> bool:
        """Whether nothing is wanted any more."""
        return not any(self.regs) and not any(self.slots)

    def wants(self, reg: int) -> bool:
        """Whether a register of the running frame is wanted."""
        return bool(self.regs[self.frame] >> reg & 1)

    def want(self, reg: int) -> None:
        """Ask for a register of the running frame."""
        self.regs[self.frame] |= 1 << reg

    def drop(self, mask: int) -> None:
        """No longer ask for some registers of the running frame."""
        self.regs[self.frame] &= ~mask

    def text(self, frame: int) -> str:
        """`regs=r1,r2 stack=-8`, as the log shows it."""
        regs = ",".join(f"r{n}" for n in range(10) if self.regs[frame] >> n & 1)
        slots = ",".join(str(-8 * (n + 1)) for n in range(64) if self.slots[frame] >> n & 1)
        return f"regs={regs} stack={slots}"


def prepare_steps(env: Env) -> None:
    """Sort instructions by what they do to what is wanted; with a log every one takes the long way."""
    env.back_steps = [_back_step(env, i) for i in range(len(env.insns))]


def _back_step(env: Env, idx: int) -> tuple[int, int, int]:
    insn, row = env.insns[idx], env.rows[idx]
    if row is None:
        return NOTHING, 0, 0
    if env.verbose:
        return OTHER, 0, 0
    form = row.form
    if form is not _ALU:
        if form is _LD_IMM64:
            return SETS, 1 << insn.dst, 0
        nothing = (form is _JUMP and not row.reg) or form in _MEANINGLESS
        return NOTHING if nothing else OTHER, 0, 0
    src = 1 << insn.src if row.reg and insn.src != FP else 0
    if row.op is _MOV:
        return SETS, 1 << insn.dst, src
    return (ADDS, 1 << insn.dst, src) if src else (NOTHING, 0, 0)


def _sync_linked(entry: Hist | None, masks: Masks) -> None:
    """When one of several equal scalars is wanted at a branch that refined them, all of them are."""
    if entry is None or not entry.linked:
        return
    for frame, index, is_reg in entry.linked:
        if (masks.regs if is_reg else masks.slots)[frame] >> index & 1:
            break
    else:
        return
    for frame, index, is_reg in entry.linked:
        (masks.regs if is_reg else masks.slots)[frame] |= 1 << index


def step_back(env: Env, idx: int, subseq_idx: int, entry: Hist | None, masks: Masks) -> None:
    """Turn what is wanted after instruction `idx` into what is wanted before it (`backtrack_insn`)."""
    insn, row = env.insns[idx], env.rows[idx]
    if row is None:
        return
    if env.verbose:
        text = insn_text(env, idx)
        env.say(f"mark_precise: frame{masks.frame}: {masks.text(masks.frame)} before {idx}: {text}")
    _sync_linked(entry, masks)
    cls = insn.code & 7
    if cls in (Class.ALU, Class.ALU64):
        _back_alu(insn, row, masks)
    elif cls == Class.LDX:
        if masks.wants(insn.dst):
            masks.drop(1 << insn.dst)
            if entry is not None and entry.stack:
                masks.slots[entry.stack[0]] |= 1 << entry.stack[1]
    elif cls in (Class.ST, Class.STX):
        _back_store(insn, row, entry, masks)
    elif cls in (Class.JMP, Class.JMP32):
        _back_jump(env, idx, subseq_idx, entry, masks)
    elif insn.code & 0xE0 in (Mode.ABS, Mode.IND):
        _back_packet_load(idx, subseq_idx, masks)
    elif masks.wants(insn.dst):
        masks.drop(1 << insn.dst)
    _sync_linked(entry, masks)


def _back_alu(insn: Insn, row: Opcode, masks: Masks) -> None:
    if row.form is not Form.ALU or not masks.wants(insn.dst):
        return
    if row.op == Alu.MOV:
        masks.drop(1 << insn.dst)
    if row.reg and insn.src != 10:
        masks.want(insn.src)


def _back_store(insn: Insn, row: Opcode, entry: Hist | None, masks: Masks) -> None:
    if row.form is Form.ATOMIC and insn.imm == Atomic.LOAD_ACQ:
        if masks.wants(insn.dst):
            masks.drop(1 << insn.dst)
            if entry is not None and entry.stack:
                masks.slots[entry.stack[0]] |= 1 << entry.stack[1]
        return
    if masks.wants(insn.dst):
        raise Lost
    if row.form is Form.ATOMIC and insn.imm != Atomic.STORE_REL:
        loaded = 0 if insn.imm == Atomic.CMPXCHG else insn.src
        if (insn.imm & Atomic.FETCH) and masks.wants(loaded) and entry is not None and entry.stack:
            masks.slots[entry.stack[0]] |= 1 << entry.stack[1]
        return
    if entry is None or entry.stack is None:
        return
    frame, slot = entry.stack
    if masks.slots[frame] >> slot & 1:
        masks.slots[frame] &= ~(1 << slot)
        if row.reg:
            masks.want(insn.src)


def _back_packet_load(idx: int, subseq_idx: int, masks: Masks) -> None:
    """A load from the packet: of its result nothing is known; where it ended a function, that gave 0."""
    if subseq_idx - idx == 1:
        if masks.wants(0):
            raise Lost
        return
    masks.drop(1)
    if masks.regs[masks.frame] & _ARGS or masks.frame + 1 >= MAX_CALL_FRAMES:
        raise Lost
    masks.frame += 1


def _back_jump(env: Env, idx: int, subseq_idx: int, entry: Hist | None, masks: Masks) -> None:
    insn, row = env.insns[idx], env.rows[idx]
    assert row is not None
    if row.form is Form.CALL:
        _back_call(env, idx, subseq_idx, masks)
    elif row.form is Form.EXIT:
        if subseq_idx >= 0 and env.calls_callback[subseq_idx]:
            masks.drop(_ARGS)
        if masks.regs[masks.frame] & _ARGS:
            raise Lost
        before = env.insns[subseq_idx - 1] if subseq_idx >= 1 else None
        from_call = before is not None and before.code == 0x85 and before.src == PseudoSrc.CALL
        r0_wanted = from_call and masks.wants(0)
        masks.drop(1)
        if masks.frame + 1 >= MAX_CALL_FRAMES:
            raise Lost
        masks.frame += 1
        if r0_wanted:
            masks.want(0)
    elif row.form is Form.JUMP and row.reg and (masks.wants(insn.dst) or masks.wants(insn.src)):
        pointers = entry.pointers if entry is not None else 0
        if not pointers & 2:
            masks.want(insn.src)
        if not pointers & 1:
            masks.want(insn.dst)


def _leave_callee(masks: Masks, keep_args: bool) -> None:
    """Going back over a call: from the callee's frame into the caller's."""
    mask = masks.regs[masks.frame]
    if mask & ~_ARGS or masks.slots[masks.frame] or masks.frame == 0:
        raise Lost
    masks.regs[masks.frame] = 0
    masks.frame -= 1
    if keep_args:
        masks.regs[masks.frame] |= mask


def _back_call(env: Env, idx: int, subseq_idx: int, masks: Masks) -> None:
    insn = env.insns[idx]
    if insn.src == PseudoSrc.CALL:
        subprog = env.subprogs[env.subprog_at[idx + insn.imm + 1]]
        if not subprog.is_global:
            _leave_callee(masks, keep_args=True)
            return
    elif env.calls_callback[idx] and idx != subseq_idx - 1:
        _leave_callee(masks, keep_args=False)
        return
    masks.drop(1)
    if masks.regs[masks.frame] & _ARGS:
        raise Lost
    if insn.src == 0 and insn.imm == FuncId.tail_call and subseq_idx - idx != 1:
        if masks.frame + 1 >= MAX_CALL_FRAMES:
            raise Lost
        masks.frame += 1
