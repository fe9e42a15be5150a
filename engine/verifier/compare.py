"""Is one state covered by another: would every path from it have been found safe from the other
(`states_equal`)?"""

from enum import IntEnum

from engine.verifier.env import Env
from engine.verifier.regs import ADD_CONST, SCALAR, UNKNOWN_SCALAR, Reg, RegType
from engine.verifier.state import INVALID_SLOT, MISC_SLOT, Frame, Slot, State

__all__ = ["Exact", "Ids", "states_equal"]

_RANGED = (RegType.MAP_KEY, RegType.MAP_VALUE, RegType.MEM)
_PACKETS = (RegType.PACKET, RegType.PACKET_META)


class Exact(IntEnum):
    """How closely: NOT trusts marks of precision, RANGE does not (they may be incomplete), ALL means the
    same state."""

    NOT = 0
    RANGE = 1
    ALL = 2


class Ids:
    """A one-to-one relation between identities of the old and the current state."""

    __slots__ = ("back", "forth", "temporary")

    def __init__(self) -> None:
        self.forth: dict[int, int] = {}
        self.back: dict[int, int] = {}
        self.temporary = -1

    def match(self, old: int, cur: int) -> bool:
        """Whether the two may stand for the same thing (`check_ids`)."""
        if not old or not cur:
            return not old and not cur
        known = self.forth.get(old)
        if known is not None:
            return known == cur
        if cur in self.back:
            return False
        self.forth[old] = cur
        self.back[cur] = old
        return True

    def match_scalar(self, old: int, cur: int) -> bool:
        """The same for scalars (`check_scalar_ids`): an old one without an identity covers any; two that were
        equal in the old state only do not cover two unrelated ones, nor two at a known distance."""
        if not old:
            return True
        if not cur:
            cur = self.temporary
            self.temporary -= 1
        if not self.match(old, cur):
            return False
        return not old & ADD_CONST or self.match(old & ~ADD_CONST, cur & ~ADD_CONST)


def states_equal(env: Env, old: State, cur: State, exact: Exact) -> bool:
    """Whether `cur` need not be walked, `old` having been found safe at the same instruction."""
    if len(old.frames) != len(cur.frames) or len(old.refs) != len(cur.refs):
        return False
    for a, b in zip(old.frames, cur.frames, strict=True):
        if a.callsite != b.callsite or a.in_callback != b.in_callback:
            return False
    ids = Ids()
    if not _refs_equal(old, cur, ids):
        return False
    last = len(old.frames) - 1
    for i in range(last, -1, -1):
        insn_idx = cur.insn_idx if i == last else cur.frames[i + 1].callsite
        if not _frames_equal(env, old.frames[i], cur.frames[i], ids, exact, insn_idx):
            return False
    return True


def _refs_equal(old: State, cur: State, ids: Ids) -> bool:
    for a, b in zip(old.refs, cur.refs, strict=True):
        if a.kind != b.kind or not ids.match(a.id, b.id):
            return False
    if old.active_lock is None or cur.active_lock is None:
        return old.active_lock is cur.active_lock
    return old.active_lock[0] is cur.active_lock[0] and ids.match(old.active_lock[1], cur.active_lock[1])


def _frames_equal(env: Env, old: Frame, cur: Frame, ids: Ids, exact: Exact, insn_idx: int) -> bool:
    if old.callback_depth > cur.callback_depth:
        return False
    live = env.live_regs[insn_idx] if insn_idx >= 0 else 0x3FF
    old_regs, cur_regs = old.regs, cur.regs
    for i in range(10):
        if live >> i & 1:
            a, b = old_regs[i], cur_regs[i]
            if (a is not b or a.id or a.ref) and not _reg_safe(a, b, ids, exact):
                return False
    return _stack_safe(old.stack, cur.stack, ids, exact)


def _same(old: Reg, cur: Reg, ids: Ids) -> bool:
    """`regs_exact`."""
    return (
        old.type == cur.type
        and old.flags == cur.flags
        and old.off == cur.off
        and old.n == cur.n
        and old.map is cur.map
        and old.b.same(cur.b)
        and ids.match(old.id, cur.id)
        and ids.match(old.ref, cur.ref)
    )


def _reg_safe(old: Reg, cur: Reg, ids: Ids, exact: Exact) -> bool:
    if exact == Exact.ALL:
        return _same(old, cur, ids)
    kind = old.type
    if not kind:
        return exact == Exact.NOT or not cur.type
    if kind != cur.type or old.flags != cur.flags:
        return False
    if kind == SCALAR:
        if not old.precise and exact == Exact.NOT:
            return True
        if old.id and ((old.id ^ cur.id) & ADD_CONST or (old.id & ADD_CONST and old.off != cur.off)):
            return False
        return cur.b.within(old.b) and ids.match_scalar(old.id, cur.id)
    if kind in _PACKETS:
        placed = old.n < 0 or cur.n < 0
        covered = old.n == cur.n if placed else old.n <= cur.n
        return covered and old.off == cur.off and ids.match(old.id, cur.id) and cur.b.within(old.b)
    if kind in _RANGED:
        return (
            old.off == cur.off
            and old.n == cur.n
            and old.map is cur.map
            and cur.b.within(old.b)
            and ids.match(old.id, cur.id)
            and ids.match(old.ref, cur.ref)
        )
    return _same(old, cur, ids)


_ANYTHING = frozenset("m?")


def _whole_scalar(slot: Slot) -> Reg | None:
    """The scalar that a load of the whole slot gives: a spilled one, or an unknown one of misc bytes."""
    if slot is MISC_SLOT or slot is INVALID_SLOT:
        return UNKNOWN_SCALAR
    kinds = slot.kinds
    if kinds == "rrrrrrrr":
        return slot.reg if slot.reg.type == SCALAR else None
    return UNKNOWN_SCALAR if not set(kinds) - _ANYTHING else None


def _stack_safe(old: list[Slot], cur: list[Slot], ids: Ids, exact: Exact) -> bool:
    count = len(cur)
    for i, a in enumerate(old):
        b = cur[i] if i < count else INVALID_SLOT
        if a is b and not a.reg.id and not a.reg.ref:
            continue
        if exact != Exact.NOT and (i >= count or a.kinds != b.kinds):
            return False
        if not set(a.kinds) - _ANYTHING:
            continue
        if i >= count:
            return False
        old_reg = _whole_scalar(a)
        cur_reg = _whole_scalar(b) if old_reg is not None else None
        if old_reg is not None and cur_reg is not None:
            if not _reg_safe(old_reg, cur_reg, ids, exact):
                return False
            continue
        if not _kinds_safe(a.kinds, b.kinds):
            return False
        if a.kinds[7] == "r" and not _reg_safe(a.reg, b.reg, ids, exact):
            return False
    return True


def _kinds_safe(old: str, cur: str) -> bool:
    return all(x == y or x in "m?" for x, y in zip(old, cur, strict=True))
