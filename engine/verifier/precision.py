"""Precision: finding, backwards along a path, which scalars a decision depended on
(`__mark_chain_precision`).

A scalar is compared exactly between states only where it is marked `precise` in the older one. When the
walk uses the
value of a scalar (a branch decided, a pointer moved, a size passed), everything that value was computed
from is marked
in the parent states. Where the way back is lost, all scalars of the path are marked.
"""

from engine.verifier.backtrack import ADDS, OTHER, Lost, Masks, step_back
from engine.verifier.env import Env
from engine.verifier.log import frame_text
from engine.verifier.regs import SCALAR
from engine.verifier.state import MAIN_CALLSITE, Frame, Slot, State

__all__ = [
    "mark_all_imprecise",
    "mark_all_precise",
    "mark_chain_precision",
    "mark_masks_precise",
]

_ARGS = 0b111110
_STEPS = 16
"""What walking back over one state counts (`Env.flowed`)."""


def mark_chain_precision(env: Env, regno: int) -> None:
    """The exact value of register `regno` of the running frame mattered to the instruction being walked."""
    if env.regs[regno].type != SCALAR:
        return
    masks = Masks(len(env.state.frames) - 1)
    masks.want(regno)
    mark_masks_precise(env, env.state, masks, env.insn_idx)


def mark_masks_precise(env: Env, start: State, masks: Masks, last_idx: int) -> bool:
    """The values named by `masks` mattered at `last_idx`, where the path is in `start`; whether any state was
    marked that was not before."""
    try:
        _walk_back(env, start, masks, last_idx)
    except Lost:
        return mark_all_precise(env, start) or masks.marked
    if not masks.empty:
        return mark_all_precise(env, start) or masks.marked
    return masks.marked


def _walk_back(env: Env, start: State, masks: Masks, last_idx: int) -> None:
    state: State | None = start
    first_idx, subseq_idx = start.first_insn_idx, -1
    skip_first = True
    while state is not None and not masks.empty:
        env.flowed(_STEPS)
        if env.verbose:
            env.say(
                f"mark_precise: frame{masks.frame}: last_idx {last_idx} first_idx {first_idx} "
                f"subseq_idx {subseq_idx} "
            )
        if last_idx < 0:
            _mark_arguments(state, masks)
            return
        if _walk_state(env, state, masks, last_idx, subseq_idx, skip_first):
            return
        skip_first = False
        state = state.parent
        if state is None:
            return
        _mark_state(env, state, masks)
        subseq_idx, last_idx, first_idx = first_idx, state.last_insn_idx, state.first_insn_idx


def _walk_state(env: Env, state: State, masks: Masks, idx: int, subseq_idx: int, skip: bool) -> bool:
    """Walk back over the instructions of one state, from `idx` on; true when nothing is wanted any more."""
    history, first_idx, steps, regs = state.history, state.first_insn_idx, env.back_steps, masks.regs
    count = len(history)
    while True:
        entry = history[count - 1] if count and history[count - 1].idx == idx else None
        if not skip:
            kind, dst, src = steps[idx]
            if kind == OTHER or (entry is not None and entry.linked):
                step_back(env, idx, subseq_idx, entry, masks)
                if masks.empty:
                    return True
            elif kind and regs[masks.frame] & dst:
                if kind != ADDS:
                    regs[masks.frame] &= ~dst
                regs[masks.frame] |= src
                if not src and masks.empty:
                    return True
        skip = False
        subseq_idx = idx
        if idx == first_idx and (not count or (count == 1 and entry is not None)):
            return False
        if entry is not None:
            idx = entry.prev_idx
            count -= 1
        else:
            idx -= 1
        if idx < 0:
            raise Lost


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
        raise Lost
    for number in range(1, 6):
        if masks.regs[0] >> number & 1 and frame.regs[number].type == SCALAR:
            masks.marked |= not frame.regs[number].precise
            frame.regs[number] = frame.regs[number].with_precise()
    masks.regs[0] = 0


def _mark_state(env: Env, state: State, masks: Masks) -> None:
    """Mark what is wanted in a parent state; what was marked there before needs no more tracking."""
    for number in range(masks.frame, -1, -1):
        if number >= len(state.frames):
            if masks.regs[number] or masks.slots[number]:
                raise Lost
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
            masks.marked = True
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
            masks.marked = True


def mark_all_precise(env: Env, start: State) -> bool:
    """The big hammer: every scalar of every parent state; whether any was not marked."""
    if env.verbose:
        env.say(f"mark_precise: frame{len(start.frames) - 1}: falling back to forcing all scalars precise")
    marked = False
    state = start.parent
    while state is not None:
        for frame in state.frames:
            for i, reg in enumerate(frame.regs):
                if reg.type == SCALAR and not reg.precise:
                    frame.regs[i] = reg.with_precise()
                    marked = True
                    _note_forced(env, frame, f"r{i}")
            for i, slot in enumerate(frame.stack):
                if slot.kinds[7] == "r" and slot.reg.type == SCALAR and not slot.reg.precise:
                    frame.stack[i] = Slot(slot.kinds, slot.reg.with_precise())
                    marked = True
                    _note_forced(env, frame, f"fp{-8 * (i + 1)}")
        state = state.parent
    return marked


def _note_forced(env: Env, frame: Frame, name: str) -> None:
    if env.verbose:
        env.say(f"force_precise: frame{frame.frameno}: forcing {name} to be precise")


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
