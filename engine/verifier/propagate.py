"""A path that ends in a state already found safe needs that state's marks of precision
(`propagate_precision`)."""

from engine.verifier.backtrack import Masks
from engine.verifier.env import Env
from engine.verifier.precision import mark_masks_precise
from engine.verifier.regs import SCALAR
from engine.verifier.state import State

__all__ = ["propagate_precision"]


def propagate_precision(env: Env, old: State, cur: State) -> bool:
    """What is precise in `old` mattered on the ways out of it: mark what it came from on the way to
    `cur`; whether that was new."""
    masks = Masks(len(cur.frames) - 1)
    for number in range(len(old.frames) - 1, -1, -1):
        frame = old.frames[number]
        for i, reg in enumerate(frame.regs):
            if reg.precise and reg.type == SCALAR and cur.frames[number].regs[i].type == SCALAR:
                masks.regs[number] |= 1 << i
        count = len(cur.frames[number].stack)
        for i, slot in enumerate(frame.stack):
            if slot.reg.precise and slot.kinds[7] == "r" and i < count:
                masks.slots[number] |= 1 << i
        if env.verbose:
            _log(env, masks, number)
    return not masks.empty and mark_masks_precise(env, cur, masks, cur.insn_idx)


def _log(env: Env, masks: Masks, number: int) -> None:
    names = [f"r{i}" for i in range(10) if masks.regs[number] >> i & 1]
    names += [f"fp{-8 * (i + 1)}" for i in range(64) if masks.slots[number] >> i & 1]
    if names:
        env.say(f"frame {number}: propagating {','.join(names)}")
