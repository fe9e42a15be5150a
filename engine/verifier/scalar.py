"""Arithmetic on scalars: the transfer function of each ALU operation on `Bounds`.

The rules are those of `adjust_scalar_min_max_vals` (kernel/bpf/verifier.c), rule by rule with its
precision.
"""

from collections.abc import Callable

from engine.verifier.bounds import (
    S32_MAX,
    S32_MIN,
    S64_MAX,
    S64_MIN,
    U32_MAX,
    U64_MAX,
    UNKNOWN,
    Bounds,
    const_bounds,
    s32,
    s64,
    sync,
)
from engine.verifier.tnum import (
    M32,
    M64,
    tnum_add,
    tnum_and,
    tnum_arshift,
    tnum_mul,
    tnum_or,
    tnum_sub,
    tnum_xor,
)

__all__ = ["RULES", "alu", "byte_swap", "sign_extend", "truncate", "zext32"]

_U32_RANGE = (0, U32_MAX)
_S32_RANGE = (S32_MIN, S32_MAX)
_U64_RANGE = (0, U64_MAX)
_S64_RANGE = (S64_MIN, S64_MAX)
_FULL64 = (S64_MIN, S64_MAX, 0, U64_MAX)

_Raw = tuple[int, int, int, int, int, int, int, int, int, int]
_Op = Callable[[Bounds, Bounds, bool], _Raw]


def zext32(b: Bounds) -> Bounds:
    """The low half, zero-extended (`zext_32_to_64`)."""
    lo, hi = b.u32min, b.u32max
    if not b.m & M32:
        return const_bounds(b.v & M32)
    smin, smax = (b.s32min, b.s32max) if b.s32min >= 0 else _U32_RANGE
    return sync(b.v & M32, b.m & M32, smin, smax, lo, hi, b.s32min, b.s32max, lo, hi)


def truncate(b: Bounds, size: int) -> Bounds:
    """The low `size` bytes, zero-extended (`coerce_reg_to_size`)."""
    if size >= 8:
        return b
    mask = (1 << (size * 8)) - 1
    v, m = b.v & mask, b.m & mask
    if b.umin & ~mask == b.umax & ~mask:
        low, high = b.umin & mask, b.umax & mask
    else:
        low, high = 0, mask
    if size == 4:
        return sync(v, m, low, high, low, high, b.s32min, b.s32max, b.u32min, b.u32max)
    return sync(v, m, low, high, low, high, S32_MIN, S32_MAX, 0, U32_MAX)


def sign_extend(b: Bounds, size: int, is32: bool) -> Bounds:
    """The low `size` bytes, sign-extended to 64 bits, or to 32 and zero-extended
    (`coerce_reg_to_size_sx`)."""
    bits = size * 8
    half = 1 << (bits - 1)
    if not b.m:
        low = b.v & ((1 << bits) - 1)
        value = low - (1 << bits) if low & half else low
        return const_bounds(value & M32 if is32 else value)
    top_min, top_max = (b.s32min, b.s32max) if is32 else (b.smin, b.smax)
    low, high = -half, half - 1
    if top_min >> bits == top_max >> bits:
        first, last = top_min & ((1 << bits) - 1), top_max & ((1 << bits) - 1)
        first = first - (1 << bits) if first & half else first
        last = last - (1 << bits) if last & half else last
        if (first >= 0) == (last >= 0):
            low, high = min(first, last), max(first, last)
    if is32:
        v, m = _sign_range_tnum(low, high, M32)
        if low < 0 <= high:
            return sync(v, m, *_U32_RANGE, *_U32_RANGE, low, high, *_U32_RANGE)
        ulow, uhigh = low & M32, high & M32
        return sync(v, m, ulow, uhigh, ulow, uhigh, low, high, ulow, uhigh)
    v, m = _sign_range_tnum(low, high, M64)
    if low < 0 <= high:
        return sync(v, m, low, high, *_U64_RANGE, *_S32_RANGE, *_U32_RANGE)
    return sync(v, m, low, high, low & M64, high & M64, *_S32_RANGE, *_U32_RANGE)


def byte_swap(b: Bounds, size: int) -> Bounds:
    """The low `size` bytes, zero-extended, in reverse order: what is known of the bits stays known."""
    mask = (1 << (size * 8)) - 1
    v = int.from_bytes((b.v & mask).to_bytes(size, "little"), "big")
    m = int.from_bytes((b.m & mask).to_bytes(size, "little"), "big")
    return sync(v, m, S64_MIN, S64_MAX, 0, U64_MAX, S32_MIN, S32_MAX, 0, U32_MAX)


def _sign_range_tnum(low: int, high: int, full: int) -> tuple[int, int]:
    """The tnum of a signed range, within `full` bits; nothing known when it crosses zero."""
    if low < 0 <= high:
        return 0, full
    low, high = low & full, high & full
    delta = (1 << (low ^ high).bit_length()) - 1
    return low & ~delta, delta


def _const(value: int) -> _Raw:
    low = value & M32
    signed, low_signed = s64(value), s32(low)
    return (value, 0, signed, signed, value, value, low_signed, low_signed, low, low)


def _signed_pair(low: int, high: int, floor: int, ceiling: int) -> tuple[int, int]:
    """A signed range, or all of them when an end overflows."""
    return (low, high) if low >= floor and high <= ceiling else (floor, ceiling)


def _add(a: Bounds, b: Bounds, _is32: bool) -> _Raw:
    v, m = tnum_add(a.v, a.m, b.v, b.m)
    if not m:
        return _const(v)
    umin, umax = a.umin + b.umin, a.umax + b.umax
    if umax > M64:
        umin, umax = (umin & M64, umax & M64) if umin > M64 else _U64_RANGE
    u32min, u32max = a.u32min + b.u32min, a.u32max + b.u32max
    if u32max > M32:
        u32min, u32max = (u32min & M32, u32max & M32) if u32min > M32 else _U32_RANGE
    smin, smax = _signed_pair(a.smin + b.smin, a.smax + b.smax, S64_MIN, S64_MAX)
    s32min, s32max = _signed_pair(a.s32min + b.s32min, a.s32max + b.s32max, S32_MIN, S32_MAX)
    return (v, m, smin, smax, umin, umax, s32min, s32max, u32min, u32max)


def _sub(a: Bounds, b: Bounds, _is32: bool) -> _Raw:
    v, m = tnum_sub(a.v, a.m, b.v, b.m)
    if not m:
        return _const(v)
    umin, umax = a.umin - b.umax, a.umax - b.umin
    if umin < 0:
        umin, umax = (umin & M64, umax & M64) if umax < 0 else _U64_RANGE
    u32min, u32max = a.u32min - b.u32max, a.u32max - b.u32min
    if u32min < 0:
        u32min, u32max = (u32min & M32, u32max & M32) if u32max < 0 else _U32_RANGE
    smin, smax = _signed_pair(a.smin - b.smax, a.smax - b.smin, S64_MIN, S64_MAX)
    s32min, s32max = _signed_pair(a.s32min - b.s32max, a.s32max - b.s32min, S32_MIN, S32_MAX)
    return (v, m, smin, smax, umin, umax, s32min, s32max, u32min, u32max)


def _signed_product(amin: int, amax: int, bmin: int, bmax: int, floor: int, ceiling: int) -> tuple[int, int]:
    """Range of a signed product: its extremes are at the corners; all of them when a corner overflows."""
    corners = (amin * bmin, amin * bmax, amax * bmin, amax * bmax)
    return _signed_pair(min(corners), max(corners), floor, ceiling)


def _mul(a: Bounds, b: Bounds, _is32: bool) -> _Raw:
    v, m = tnum_mul(a.v, a.m, b.v, b.m)
    if not m:
        return _const(v)
    umin, umax = a.umin * b.umin, a.umax * b.umax
    if umax > M64:
        umin, umax = _U64_RANGE
    u32min, u32max = a.u32min * b.u32min, a.u32max * b.u32max
    if u32max > M32:
        u32min, u32max = _U32_RANGE
    smin, smax = _signed_product(a.smin, a.smax, b.smin, b.smax, S64_MIN, S64_MAX)
    s32min, s32max = _signed_product(a.s32min, a.s32max, b.s32min, b.s32max, S32_MIN, S32_MAX)
    return (v, m, smin, smax, umin, umax, s32min, s32max, u32min, u32max)


def _with_signed(v: int, m: int, umin: int, umax: int, u32min: int, u32max: int) -> _Raw:
    """Bounds of a bitwise result: the signed ones follow where the unsigned ones do not cross the sign."""
    low, high = s64(umin), s64(umax)
    smin, smax = (low, high) if low <= high else _S64_RANGE
    low, high = s32(u32min), s32(u32max)
    s32min, s32max = (low, high) if low <= high else _S32_RANGE
    return (v, m, smin, smax, umin, umax, s32min, s32max, u32min, u32max)


def _and(a: Bounds, b: Bounds, _is32: bool) -> _Raw:
    v, m = tnum_and(a.v, a.m, b.v, b.m)
    if not m:
        return _const(v)
    return _with_signed(v, m, v, min(a.umax, b.umax), v & M32, min(a.u32max, b.u32max))


def _or(a: Bounds, b: Bounds, _is32: bool) -> _Raw:
    v, m = tnum_or(a.v, a.m, b.v, b.m)
    if not m:
        return _const(v)
    return _with_signed(v, m, max(a.umin, b.umin), v | m, max(a.u32min, b.u32min), (v | m) & M32)


def _xor(a: Bounds, b: Bounds, _is32: bool) -> _Raw:
    v, m = tnum_xor(a.v, a.m, b.v, b.m)
    if not m:
        return _const(v)
    return _with_signed(v, m, v, v | m, v & M32, (v | m) & M32)


def _neg(a: Bounds, _b: Bounds, is32: bool) -> _Raw:
    return _sub(const_bounds(0), a, is32)


def _lsh(a: Bounds, b: Bounds, is32: bool) -> _Raw:
    n = b.v & (31 if is32 else 63)
    if a.u32max > 1 << (31 - n) if n <= 31 else True:
        u32min, u32max = _U32_RANGE
    else:
        u32min, u32max = a.u32min << n, a.u32max << n
    if is32:
        v, m = (a.v << n) & M32, (a.m << n) & M32
        return (v, m, *_FULL64, *_S32_RANGE, u32min, u32max)
    smin, smax = (a.s32min << 32, a.s32max << 32) if n == 32 else _S64_RANGE
    if a.umax > 1 << (63 - n):
        umin, umax = _U64_RANGE
    else:
        umin, umax = a.umin << n, a.umax << n
    return ((a.v << n) & M64, (a.m << n) & M64, smin, smax, umin, umax, *_S32_RANGE, u32min, u32max)


def _rsh(a: Bounds, b: Bounds, is32: bool) -> _Raw:
    if is32:
        n = b.v & 31
        v, m = (a.v & M32) >> n, (a.m & M32) >> n
        return (v, m, *_FULL64, *_S32_RANGE, a.u32min >> n, a.u32max >> n)
    n = b.v & 63
    return (a.v >> n, a.m >> n, *_S64_RANGE, a.umin >> n, a.umax >> n, *_S32_RANGE, *_U32_RANGE)


def _arsh(a: Bounds, b: Bounds, is32: bool) -> _Raw:
    if is32:
        n = b.v & 31
        v, m = tnum_arshift(a.v, a.m, n, 32)
        return (v, m, *_FULL64, a.s32min >> n, a.s32max >> n, *_U32_RANGE)
    n = b.v & 63
    v, m = tnum_arshift(a.v, a.m, n, 64)
    return (v, m, a.smin >> n, a.smax >> n, *_U64_RANGE, *_S32_RANGE, *_U32_RANGE)


RULES: dict[int, _Op] = {
    0x00: _add,
    0x10: _sub,
    0x20: _mul,
    0x40: _or,
    0x50: _and,
    0x60: _lsh,
    0x70: _rsh,
    0x80: _neg,
    0xA0: _xor,
    0xC0: _arsh,
}
"""The transfer function of each operation that tells something."""
_SHIFTS = frozenset((0x60, 0x70, 0xC0))


def alu(op: int, a: Bounds, b: Bounds, is32: bool) -> Bounds:
    """What `a op b` may be; `op` is the operation bits of the opcode, `is32` for the ALU class.

    Division and modulo give nothing, as in the kernel; so does a shift by an amount that is unknown or too
    large.
    """
    transfer = RULES.get(op)
    if transfer is None:
        return UNKNOWN
    if op in _SHIFTS:
        known = not b.m & M32 and b.umax < 32 if is32 else not b.m and b.v < 64
        if not known:
            return UNKNOWN
    raw = transfer(a, b, is32)
    if not is32:
        return sync(*raw)
    v, m, _, _, _, _, s32min, s32max, u32min, u32max = raw
    smin, smax = (s32min, s32max) if s32min >= 0 and s32max >= 0 else _U32_RANGE
    return sync(v & M32, m & M32, smin, smax, u32min, u32max, s32min, s32max, u32min, u32max)
