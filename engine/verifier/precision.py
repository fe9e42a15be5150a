"""Precision: finding, backwards along a path, which scalars a decision depended on
(`__mark_chain_precision`).

A scalar is compared exactly between states only where it is marked `precise` in the older one. When the
walk uses the
value of a scalar (a branch decided, a pointer moved, a size passed), everything that value was computed
from is marked
in the parent states. Where the way back is lost, all scalars of the path are marked.
"""

from engine.abi.bpf import FuncId
from engine.isa import Alu, Atomic, Class, Form, Insn, Mode, Opcode, PseudoSrc, disasm
from engine.verifier.env import MAX_CALL_FRAMES, Env
from engine.verifier.log import frame_text
from engine.verifier.regs import SCALAR
from engine.verifier.state import MAIN_CALLSITE, Frame, Hist, Slot, State

__all__ = ["Masks", "mark_all_imprecise", "mark_all_precise", "mark_chain_precision", "mark_masks_precise"]

_ARGS = 0b111110


class _Lost(Exception):
    """The way back cannot be followed."""


class Masks:
    """Registers and stack slots whose value is wanted, for each frame, as bit masks."""

    __slots__ = ("frame", "regs", "slots")

    def __init__(self, frame: int) -> None:
        self.frame = frame
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


def mark_chain_precision(env: Env, regno: int) -> None:
    """The exact value of register `regno` of the running frame mattered to the instruction being walked."""
    if env.regs[regno].type != SCALAR:
        return
    masks = Masks(len(env.state.frames) - 1)
    masks.want(regno)
    mark_masks_precise(env, env.state, masks, env.insn_idx)


def mark_masks_precise(env: Env, start: State, masks: Masks, last_idx: int) -> None:
    """The values named by `masks` mattered at `last_idx`, where the path is in `start`."""
    try:
        _walk_back(env, start, masks, last_idx)
    except _Lost:
        mark_all_precise(start)
        return
    if not masks.empty:
        mark_all_precise(start)


def _walk_back(env: Env, start: State, masks: Masks, last_idx: int) -> None:
    state: State | None = start
    first_idx, subseq_idx = start.first_insn_idx, -1
    skip_first = True
    while state is not None and not masks.empty:
        if env.verbose:
            env.say(
                f"mark_precise: frame{masks.frame}: last_idx {last_idx} first_idx {first_idx} "
                f"subseq_idx {subseq_idx} "
            )
        if last_idx < 0:
            _mark_arguments(state, masks)
            return
        count = len(state.history)
        idx = last_idx
        while True:
            if skip_first:
                skip_first = False
            else:
                entry = state.history[count - 1] if count and state.history[count - 1].idx == idx else None
                _step_back(env, idx, subseq_idx, entry, masks)
            if masks.empty:
                return
            subseq_idx = idx
            if idx == state.first_insn_idx and (count == 0 or (count == 1 and state.history[0].idx == idx)):
                break
            if count and state.history[count - 1].idx == idx:
                idx = state.history[count - 1].prev_idx
                count -= 1
            else:
                idx -= 1
            if idx < 0:
                raise _Lost
        state = state.parent
        if state is None:
            return
        _mark_state(env, state, masks)
        subseq_idx, last_idx, first_idx = first_idx, state.last_insn_idx, state.first_insn_idx


def _mark_arguments(state: State, masks: Masks) -> None:
    """At the entry of a global function only its arguments may be wanted."""
    frame = state.frames[0]
    if (
        len(state.frames) > 1
        or not frame.subprog
        or frame.callsite != MAIN_CALLSITE
        or masks.slots[0]
        or masks.regs[0] & ~_ARGS
    ):
        raise _Lost
    for number in range(1, 6):
        if masks.regs[0] >> number & 1 and frame.regs[number].type == SCALAR:
            frame.regs[number] = frame.regs[number].with_precise()
    masks.regs[0] = 0


def _mark_state(env: Env, state: State, masks: Masks) -> None:
    """Mark what is wanted in a parent state; what was marked there before needs no more tracking."""
    for number in range(masks.frame, -1, -1):
        if number >= len(state.frames):
            if masks.regs[number] or masks.slots[number]:
                raise _Lost
            continue
        frame = state.frames[number]
        _mark_frame(frame, masks, number)
        if env.verbose:
            env.log.write(f"mark_precise: frame{number}: parent state {masks.text(number)}: ")
            env.log.write(frame_text(state, frame))


def _mark_frame(frame: Frame, masks: Masks, number: int) -> None:
    wanted = masks.regs[number]
    while wanted:
        bit = wanted & -wanted
        wanted ^= bit
        index = bit.bit_length() - 1
        reg = frame.regs[index]
        if reg.type != SCALAR or reg.precise:
            masks.regs[number] &= ~bit
        else:
            frame.regs[index] = reg.with_precise()
    wanted = masks.slots[number]
    while wanted:
        bit = wanted & -wanted
        wanted ^= bit
        index = bit.bit_length() - 1
        slot = frame.stack[index] if index < len(frame.stack) else None
        if slot is None or slot.kinds[7] != "r" or slot.reg.type != SCALAR or slot.reg.precise:
            masks.slots[number] &= ~bit
        else:
            frame.stack[index] = Slot(slot.kinds, slot.reg.with_precise())


def mark_all_precise(start: State) -> None:
    """The big hammer: every scalar of every parent state."""
    state = start.parent
    while state is not None:
        for frame in state.frames:
            for i, reg in enumerate(frame.regs):
                if reg.type == SCALAR and not reg.precise:
                    frame.regs[i] = reg.with_precise()
            for i, slot in enumerate(frame.stack):
                if slot.kinds[7] == "r" and slot.reg.type == SCALAR and not slot.reg.precise:
                    frame.stack[i] = Slot(slot.kinds, slot.reg.with_precise())
        state = state.parent


def mark_all_imprecise(state: State) -> None:
    """Forget the marks that a state inherited from the one it was copied from."""
    for frame in state.frames:
        for i, reg in enumerate(frame.regs):
            if reg.precise:
                new = reg.copy()
                new.precise = False
                frame.regs[i] = new
        for i, slot in enumerate(frame.stack):
            if slot.reg.precise:
                new = slot.reg.copy()
                new.precise = False
                frame.stack[i] = Slot(slot.kinds, new)


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


def _step_back(env: Env, idx: int, subseq_idx: int, entry: Hist | None, masks: Masks) -> None:
    """Turn what is wanted after instruction `idx` into what is wanted before it (`backtrack_insn`)."""
    insn, row = env.insns[idx], env.rows[idx]
    if row is None:
        return
    if env.verbose:
        text = disasm(insn, env.insns[idx + 1] if row.form is Form.LD_IMM64 else None)
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
    elif masks.wants(insn.dst if row.form is Form.LD_IMM64 else 0):
        if insn.code & 0xE0 in (Mode.ABS, Mode.IND):
            raise _Lost
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
        raise _Lost
    if row.form is Form.ATOMIC and insn.imm != Atomic.STORE_REL:
        loaded = 0 if insn.imm == Atomic.CMPXCHG else insn.src
        if (insn.imm & Atomic.FETCH) and masks.wants(loaded):
            masks.drop(1 << loaded)
            if entry is not None and entry.stack:
                masks.slots[entry.stack[0]] |= 1 << entry.stack[1]
        return
    if entry is None or entry.stack is None:
        return
    frame, slot = entry.stack
    if masks.slots[frame] >> slot & 1:
        masks.slots[frame] &= ~(1 << slot)
        if row.reg:
            masks.want(insn.src)


def _back_jump(env: Env, idx: int, subseq_idx: int, entry: Hist | None, masks: Masks) -> None:
    insn, row = env.insns[idx], env.rows[idx]
    assert row is not None
    if row.form is Form.CALL:
        _back_call(env, idx, subseq_idx, masks)
    elif row.form is Form.EXIT:
        if subseq_idx >= 0 and env.calls_callback[subseq_idx]:
            masks.drop(_ARGS)
        if masks.regs[masks.frame] & _ARGS:
            raise _Lost
        before = env.insns[subseq_idx - 1] if subseq_idx >= 1 else None
        from_call = before is not None and before.code == 0x85 and before.src == PseudoSrc.CALL
        r0_wanted = from_call and masks.wants(0)
        masks.drop(1)
        if masks.frame + 1 >= MAX_CALL_FRAMES:
            raise _Lost
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
        raise _Lost
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
        raise _Lost
    if insn.src == 0 and insn.imm == FuncId.tail_call and subseq_idx - idx != 1:
        raise _Lost
