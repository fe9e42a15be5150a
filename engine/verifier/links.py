"""Scalars that are equal, or differ by a constant: what a branch says of one it says of all
(`sync_linked_regs`)."""

from engine.verifier.bounds import const_bounds
from engine.verifier.env import Env
from engine.verifier.regs import ADD_CONST, ADD_CONST32, SCALAR, Reg
from engine.verifier.scalar import alu
from engine.verifier.state import Slot, State

__all__ = ["LinkedRegs", "collect_links", "sync_links"]

LinkedRegs = tuple[tuple[int, int, bool], ...]
_MAX = 6
_ADD = 0


def collect_links(env: Env, id: int, links: LinkedRegs) -> LinkedRegs:
    """Add the registers and slots that share `id`; those that do not fit lose it, so that none is
    forgotten."""
    id &= ~ADD_CONST
    found = list(links)
    live = env.live_regs[env.insn_idx]
    frames = env.state.frames
    for number in range(len(frames) - 1, -1, -1):
        frame = frames[number]
        if number != len(frames) - 1:
            live = env.live_regs[frames[number + 1].callsite]
        for i in range(10):
            reg = frame.regs[i]
            linked = reg.type == SCALAR and reg.id & ~ADD_CONST == id and reg.id and live >> i & 1
            if linked and not _push(found, (number, i, True)):
                frame.regs[i] = _unlinked(reg)
        for i, slot in enumerate(frame.stack):
            linked = slot.spilled and slot.reg.type == SCALAR and slot.reg.id & ~ADD_CONST == id
            if linked and not _push(found, (number, i, False)):
                frame.stack[i] = Slot(slot.kinds, _unlinked(slot.reg))
    return tuple(found)


def _push(found: list[tuple[int, int, bool]], entry: tuple[int, int, bool]) -> bool:
    """Add an entry, though it may be there by the other operand, if there is room."""
    if len(found) >= _MAX:
        return False
    found.append(entry)
    return True


def _unlinked(reg: Reg) -> Reg:
    new = reg.with_id(0)
    new.off = 0
    return new


def sync_links(state: State, known: Reg, links: LinkedRegs) -> None:
    """Give what is now known of `known` to every scalar linked to it."""
    base = known.id & ~ADD_CONST
    for number, index, is_reg in links:
        frame = state.frames[number]
        reg = frame.regs[index] if is_reg else frame.stack[index].reg
        if reg is known or reg.type != SCALAR or not reg.id or reg.id & ~ADD_CONST != base:
            continue
        new = _follow(reg, known)
        if new is None:
            continue
        if is_reg:
            frame.regs[index] = new
        else:
            frame.stack[index] = Slot(frame.stack[index].kinds, new)


def _follow(reg: Reg, known: Reg) -> Reg | None:
    """`reg` by what is known of a scalar it is tied to; None where one tie is modulo 2^32 and the other is
    not."""
    mine, its = reg.id & ADD_CONST, known.id & ADD_CONST
    if mine and its and mine != its:
        return None
    delta = (reg.off if mine else 0) - (known.off if its else 0)
    if mine == its and not delta:
        return known
    is32 = bool((mine | its) & ADD_CONST32)
    return reg.with_bounds(alu(_ADD, known.b, const_bounds(delta), is32))
