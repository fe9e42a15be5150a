"""What a comparison of two scalars tells: whether it can only go one way, and what each way says of both.

The rules are those of `is_scalar_branch_taken` and `regs_refine_cond_op` (kernel/bpf/verifier.c).
"""

from engine.isa import Jmp
from engine.verifier.bounds import (
    S32_MAX,
    S32_MIN,
    S64_MAX,
    S64_MIN,
    U32_MAX,
    U64_MAX,
    Bounds,
    s32,
    s64,
    sync,
)
from engine.verifier.tnum import M32, M64, tnum_intersect, tnum_overlap

__all__ = ["FLIP", "branch_taken", "refine_false", "refine_self", "refine_true"]

_JEQ, _JNE, _JSET = int(Jmp.JEQ), int(Jmp.JNE), int(Jmp.JSET)
_JGT, _JGE, _JLT, _JLE = int(Jmp.JGT), int(Jmp.JGE), int(Jmp.JLT), int(Jmp.JLE)
_JSGT, _JSGE, _JSLT, _JSLE = int(Jmp.JSGT), int(Jmp.JSGE), int(Jmp.JSLT), int(Jmp.JSLE)
_NOT_JSET = -1

_REVERSE = {
    _JEQ: _JNE,
    _JNE: _JEQ,
    _JSET: _NOT_JSET,
    _JGT: _JLE,
    _JGE: _JLT,
    _JLT: _JGE,
    _JLE: _JGT,
    _JSGT: _JSLE,
    _JSGE: _JSLT,
    _JSLT: _JSGE,
    _JSLE: _JSGT,
}
FLIP = {
    _JEQ: _JEQ,
    _JNE: _JNE,
    _JSET: _JSET,
    _JGT: _JLT,
    _JGE: _JLE,
    _JLT: _JGT,
    _JLE: _JGE,
    _JSGT: _JSLT,
    _JSGE: _JSLE,
    _JSLT: _JSGT,
    _JSLE: _JSGE,
}
"""The same comparison with its operands exchanged."""

_HIGH = M64 ^ M32
_LOWS = {_JLT: 2, _JGT: 2, _JSLT: 0, _JSGT: 0}
_ANYTHING = (S64_MIN, S64_MAX, 0, U64_MAX, S32_MIN, S32_MAX, 0, U32_MAX)


def _subreg_is_const(b: Bounds, is32: bool) -> bool:
    return not (b.m & M32 if is32 else b.m)


def branch_taken(op: int, a: Bounds, b: Bounds, is32: bool) -> int:
    """1 when `a op b` always holds, 0 when it never does, -1 when both can be."""
    if op in (_JEQ, _JNE):
        outcome = _equal(a, b, is32)
        return outcome if op == _JEQ or outcome < 0 else 1 - outcome
    if op == _JSET:
        if not _subreg_is_const(b, is32):
            a, b = b, a
        if not _subreg_is_const(b, is32):
            return -1
        mask = b.v & M32 if is32 else b.v
        if a.v & ~a.m & mask:
            return 1
        return -1 if (a.v | a.m) & mask else 0
    if op in (_JLT, _JLE, _JSLT, _JSLE):
        op, a, b = FLIP[op], b, a
    if op in (_JGT, _JGE):
        low1, high1, low2, high2 = (
            (a.u32min, a.u32max, b.u32min, b.u32max) if is32 else (a.umin, a.umax, b.umin, b.umax)
        )
    else:
        low1, high1, low2, high2 = (
            (a.s32min, a.s32max, b.s32min, b.s32max) if is32 else (a.smin, a.smax, b.smin, b.smax)
        )
    if op in (_JGT, _JSGT):
        if low1 > high2:
            return 1
        return 0 if high1 <= low2 else -1
    if low1 >= high2:
        return 1
    return 0 if high1 < low2 else -1


def _equal(a: Bounds, b: Bounds, is32: bool) -> int:
    if is32:
        av, am, bv, bm = a.v & M32, a.m & M32, b.v & M32, b.m & M32
    else:
        av, am, bv, bm = a.v, a.m, b.v, b.m
    if not am and not bm:
        return 1 if av == bv else 0
    if not tnum_overlap(av, am, bv, bm):
        return 0
    if (
        a.u32min > b.u32max
        or a.u32max < b.u32min
        or a.s32min > b.s32max
        or a.s32max < b.s32min
        or (not is32 and (a.umin > b.umax or a.umax < b.umin or a.smin > b.smax or a.smax < b.smin))
    ):
        return 0
    return -1


def refine_true(op: int, a: Bounds, b: Bounds, is32: bool) -> tuple[Bounds, Bounds]:
    """Both operands where `a op b` holds."""
    return _refine(op, a, b, is32)


def refine_false(op: int, a: Bounds, b: Bounds, is32: bool) -> tuple[Bounds, Bounds]:
    """Both operands where `a op b` does not hold."""
    return _refine(_REVERSE[op], a, b, is32)


def _checked(b: Bounds) -> Bounds:
    """Bounds that contradict each other belong to a way that is never taken: only the bits are kept of them
    (`reg_bounds_sanity_check`)."""
    low = b.v & M32
    half_known = not b.m & M32
    if b.consistent and not (half_known and not (b.u32min == b.u32max == low and b.s32min == b.s32max)):
        return b
    return Bounds(b.v, b.m, *_ANYTHING)


def refine_self(op: int, a: Bounds, is32: bool, holds: bool) -> Bounds:
    """A register compared with itself: a strict order never holds, and shows as a range cut at both
    ends."""
    if not holds:
        op = _REVERSE[op]
    low = _LOWS.get(op)
    if low is None:
        return a
    fields = [a.smin, a.smax, a.umin, a.umax, a.s32min, a.s32max, a.u32min, a.u32max]
    low += 4 * is32
    fields[low] += 1
    fields[low + 1] -= 1
    return _checked(sync(a.v, a.m, *fields))


def _refine(op: int, a: Bounds, b: Bounds, is32: bool) -> tuple[Bounds, Bounds]:
    if op == _JEQ:
        return _refine_equal(a, b, is32)
    if op == _JNE:
        if not _subreg_is_const(b, is32):
            if not _subreg_is_const(a, is32):
                return a, b
            return a, _not_equal(b, a, is32)
        return _not_equal(a, b, is32), b
    if op in (_JSET, _NOT_JSET):
        if not _subreg_is_const(b, is32):
            if not _subreg_is_const(a, is32):
                return a, b
            return a, _bits(op, b, a, is32)
        return _bits(op, a, b, is32), b
    if op in (_JGT, _JGE, _JSGT, _JSGE):
        high, low = _below(FLIP[op], b, a, is32)
        return low, high
    return _below(op, a, b, is32)


def _resync(b: Bounds) -> Bounds:
    return _checked(sync(b.v, b.m, b.smin, b.smax, b.umin, b.umax, b.s32min, b.s32max, b.u32min, b.u32max))


def _refine_equal(a: Bounds, b: Bounds, is32: bool) -> tuple[Bounds, Bounds]:
    u32min, u32max = max(a.u32min, b.u32min), min(a.u32max, b.u32max)
    s32min, s32max = max(a.s32min, b.s32min), min(a.s32max, b.s32max)
    if is32:
        low, lowm = tnum_intersect(a.v & M32, a.m & M32, b.v & M32, b.m & M32)
        results = [
            _checked(
                sync(
                    (r.v & _HIGH) | low,
                    (r.m & _HIGH) | lowm,
                    r.smin,
                    r.smax,
                    r.umin,
                    r.umax,
                    s32min,
                    s32max,
                    u32min,
                    u32max,
                )
            )
            for r in (a, b)
        ]
        return results[0], results[1]
    v, m = tnum_intersect(a.v, a.m, b.v, b.m)
    smin, smax = max(a.smin, b.smin), min(a.smax, b.smax)
    umin, umax = max(a.umin, b.umin), min(a.umax, b.umax)
    both = _checked(sync(v, m, smin, smax, umin, umax, a.s32min, a.s32max, a.u32min, a.u32max))
    other = _checked(sync(v, m, smin, smax, umin, umax, b.s32min, b.s32max, b.u32min, b.u32max))
    return both, other


def _not_equal(a: Bounds, b: Bounds, is32: bool) -> Bounds:
    """`a` where it differs from the constant `b`: an edge of its range may go."""
    smin, smax, umin, umax = a.smin, a.smax, a.umin, a.umax
    s32min, s32max, u32min, u32max = a.s32min, a.s32max, a.u32min, a.u32max
    if is32:
        value = b.v & M32
        signed = s32(value)
        u32min += u32min == value
        u32max -= u32max == value
        s32min += s32min == signed
        s32max -= s32max == signed
    else:
        signed = s64(b.v)
        umin += umin == b.v
        umax -= umax == b.v
        smin += smin == signed
        smax -= smax == signed
    return _checked(sync(a.v, a.m, smin, smax, umin, umax, s32min, s32max, u32min, u32max))


def _bits(op: int, a: Bounds, b: Bounds, is32: bool) -> Bounds:
    """`a` where `a & b`, b a constant, is non-zero (one bit: it is set) or zero (each bit of b is
    clear)."""
    mask = b.v & M32 if is32 else b.v
    if op == _JSET:
        if mask.bit_count() != 1:
            return _resync(a)
        v, m = (a.v | mask), a.m & ~mask
    else:
        return sync(a.v & ~mask, a.m & ~mask, *_ANYTHING)
    return _checked(sync(v, m, a.smin, a.smax, a.umin, a.umax, a.s32min, a.s32max, a.u32min, a.u32max))


def _below(op: int, a: Bounds, b: Bounds, is32: bool) -> tuple[Bounds, Bounds]:
    """Both where a < b or a <= b, signed or not, on 32 or 64 bits."""
    strict = op in (_JLT, _JSLT)
    fields_a = [a.smin, a.smax, a.umin, a.umax, a.s32min, a.s32max, a.u32min, a.u32max]
    fields_b = [b.smin, b.smax, b.umin, b.umax, b.s32min, b.s32max, b.u32min, b.u32max]
    low = (0 if op in (_JSLT, _JSLE) else 2) + (4 if is32 else 0)
    high = low + 1
    fields_a[high] = min(fields_a[high], fields_b[high] - strict)
    fields_b[low] = max(fields_a[low] + strict, fields_b[low])
    return _checked(sync(a.v, a.m, *fields_a)), _checked(sync(b.v, b.m, *fields_b))
