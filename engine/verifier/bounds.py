"""What is known of a scalar: a tnum and signed and unsigned bounds of the 64 and of the low 32 bits.

`sync` makes the five descriptions agree, each learning from the others, in the order of `reg_bounds_sync`
(kernel/bpf/verifier.c): verdicts depend on the precision that order gives. A `Bounds` is immutable and
shared: the same facts come up on many paths and in many programs, so what they teach is remembered.
"""

from functools import lru_cache

from engine.verifier.tnum import M32, M64, tnum_intersect, tnum_range, tnum_step

__all__ = [
    "S32_MAX",
    "S32_MIN",
    "S64_MAX",
    "S64_MIN",
    "U32_MAX",
    "U64_MAX",
    "UNKNOWN",
    "Bounds",
    "const_bounds",
    "s32",
    "s64",
    "sync",
    "unsigned_range",
]

S64_MIN, S64_MAX, U64_MAX = -(1 << 63), (1 << 63) - 1, M64
S32_MIN, S32_MAX, U32_MAX = -(1 << 31), (1 << 31) - 1, M32
_HIGH = M64 ^ M32
_T63, _T31 = 1 << 63, 1 << 31
_TWO64, _TWO32 = 1 << 64, 1 << 32
_REMEMBERED = 4096


def s64(value: int) -> int:
    """The low 64 bits as a signed number."""
    value &= M64
    return value - _TWO64 if value & _T63 else value


def s32(value: int) -> int:
    """The low 32 bits as a signed number."""
    value &= M32
    return value - _TWO32 if value & _T31 else value


class Bounds:
    """Tnum `v`, `m`; signed `smin`..`smax`, unsigned `umin`..`umax`; the same of the low half: `s32min`
    ..."""

    __slots__ = ("m", "s32max", "s32min", "smax", "smin", "u32max", "u32min", "umax", "umin", "v")

    def __init__(
        self,
        v: int,
        m: int,
        smin: int,
        smax: int,
        umin: int,
        umax: int,
        s32min: int,
        s32max: int,
        u32min: int,
        u32max: int,
    ) -> None:
        self.v = v
        self.m = m
        self.smin = smin
        self.smax = smax
        self.umin = umin
        self.umax = umax
        self.s32min = s32min
        self.s32max = s32max
        self.u32min = u32min
        self.u32max = u32max

    def same(self, other: "Bounds") -> bool:
        """Whether both say exactly the same."""
        return self is other or (
            self.v == other.v
            and self.m == other.m
            and self.smin == other.smin
            and self.smax == other.smax
            and self.umin == other.umin
            and self.umax == other.umax
            and self.s32min == other.s32min
            and self.s32max == other.s32max
            and self.u32min == other.u32min
            and self.u32max == other.u32max
        )

    def within(self, other: "Bounds") -> bool:
        """Whether everything possible here is possible there: `range_within` and `tnum_in` with other the
        wider."""
        return self is other or (
            other.umin <= self.umin
            and other.umax >= self.umax
            and other.smin <= self.smin
            and other.smax >= self.smax
            and other.u32min <= self.u32min
            and other.u32max >= self.u32max
            and other.s32min <= self.s32min
            and other.s32max >= self.s32max
            and not (self.m & ~other.m)
            and other.v == (self.v & ~other.m)
        )

    def holds(self, value: int) -> bool:
        """Whether the u64 `value` is possible."""
        low = value & M32
        return (
            (value & ~self.m) == self.v
            and self.umin <= value <= self.umax
            and self.smin <= s64(value) <= self.smax
            and self.u32min <= low <= self.u32max
            and self.s32min <= s32(low) <= self.s32max
        )

    @property
    def consistent(self) -> bool:
        """False when the bounds contradict each other: a path that cannot be taken."""
        return (
            self.umin <= self.umax
            and self.smin <= self.smax
            and self.u32min <= self.u32max
            and self.s32min <= self.s32max
        )

    def __repr__(self) -> str:
        return (
            f"Bounds(v={self.v:#x}, m={self.m:#x}, s={self.smin}..{self.smax}, u={self.umin}..{self.umax}, "
            f"s32={self.s32min}..{self.s32max}, u32={self.u32min}..{self.u32max})"
        )


UNKNOWN = Bounds(0, M64, S64_MIN, S64_MAX, 0, U64_MAX, S32_MIN, S32_MAX, 0, U32_MAX)


def _make_const(value: int) -> Bounds:
    low = value & M32
    signed, low_signed = s64(value), s32(low)
    return Bounds(value, 0, signed, signed, value, value, low_signed, low_signed, low, low)


_SMALL = {s64(n): _make_const(n & M64) for n in range(-256, 1025)}


def const_bounds(value: int) -> Bounds:
    """The bounds of one number, given as u64 or s64."""
    value &= M64
    known = _SMALL.get(value - _TWO64 if value & _T63 else value)
    return known if known is not None else _make_const(value)


def unsigned_range(low: int, high: int) -> Bounds:
    """The bounds of a u64 in low..high."""
    v, m = tnum_range(low, high)
    return sync(v, m, S64_MIN, S64_MAX, low, high, S32_MIN, S32_MAX, 0, U32_MAX)


def _deduce(
    smin: int,
    smax: int,
    umin: int,
    umax: int,
    s32min: int,
    s32max: int,
    u32min: int,
    u32max: int,
) -> tuple[int, int, int, int, int, int, int, int]:
    """One round of what the bounds teach each other (`__reg_deduce_bounds`): 32 bits, 64 bits, then
    mixed."""
    lo, hi = umin & M32, umax & M32
    top = (umax >> 32) - (umin >> 32)
    if top == 0:
        u32min = max(u32min, lo)
        u32max = min(u32max, hi)
        slo, shi = s32(lo), s32(hi)
        if slo <= shi:
            s32min = max(s32min, slo)
            s32max = min(s32max, shi)
    elif top == 1:
        slo, shi = s32(lo), s32(hi)
        if slo < 0 <= shi:
            s32min = max(s32min, slo)
            s32max = min(s32max, shi)
    lo, hi = smin & M32, smax & M32
    top = (smax >> 32) - (smin >> 32)
    if top == 0:
        if lo <= hi:
            u32min = max(u32min, lo)
            u32max = min(u32max, hi)
        slo, shi = s32(lo), s32(hi)
        if slo <= shi:
            s32min = max(s32min, slo)
            s32max = min(s32max, shi)
    elif top == 1:
        slo, shi = s32(lo), s32(hi)
        if slo < 0 <= shi:
            s32min = max(s32min, slo)
            s32max = min(s32max, shi)
    slo, shi = s32(u32min), s32(u32max)
    if slo <= shi:
        s32min = max(s32min, slo)
        s32max = min(s32max, shi)
    lo, hi = s32min & M32, s32max & M32
    if lo <= hi:
        u32min = max(u32min, lo)
        u32max = min(u32max, hi)
    elif u32max < lo:
        s32min = s32(u32min)
        u32max = min(u32max, hi)
    elif hi < u32min:
        s32max = s32(u32max)
        u32min = max(u32min, lo)

    slo, shi = s64(umin), s64(umax)
    if slo <= shi:
        smin = max(smin, slo)
        smax = min(smax, shi)
    lo, hi = smin & M64, smax & M64
    if lo <= hi:
        umin = max(umin, lo)
        umax = min(umax, hi)
    elif umax < lo:
        smin = s64(umin)
        umax = min(umax, hi)
    elif hi < umin:
        smax = s64(umax)
        umin = max(umin, lo)

    umin = max(umin, (umin & _HIGH) | u32min)
    umax = min(umax, (umax & _HIGH) | u32max)
    smin = max(smin, (smin >> 32 << 32) | u32min)
    smax = min(smax, (smax >> 32 << 32) | u32max)
    return smin, smax, umin, umax, s32min, s32max, u32min, u32max


def _only(v: int, m: int, umin: int, umax: int) -> int | None:
    """The single value that tnum and range have in common, if it is one (`__update_reg64_bounds`)."""
    following = tnum_step(v, m, umin)
    if umin & ~m == v:
        return umin if following > umax else None
    if following == v | m or (following <= umax < tnum_step(v, m, following)):
        return following
    return None


@lru_cache(_REMEMBERED)
def sync(
    v: int,
    m: int,
    smin: int,
    smax: int,
    umin: int,
    umax: int,
    s32min: int,
    s32max: int,
    u32min: int,
    u32max: int,
) -> Bounds:
    """Bounds that agree with each other, from ones that are each true."""
    if not m:
        known = const_bounds(v)
        if umin <= v <= umax and smin <= known.smin <= smax and u32min <= known.u32min <= u32max:
            return known
    low, lowm = v & M32, m & M32
    s32min = max(s32min, s32(low | (lowm & _T31)))
    s32max = min(s32max, s32(low | (lowm & S32_MAX)))
    u32min = max(u32min, low)
    u32max = min(u32max, low | lowm)
    smin = max(smin, s64(v | (m & _T63)))
    smax = min(smax, s64(v | (m & S64_MAX)))
    umin = max(umin, v)
    umax = min(umax, v | m)
    only = _only(v, m, umin, umax)
    if only is not None:
        return const_bounds(only)
    b = (smin, smax, umin, umax, s32min, s32max, u32min, u32max)
    for _ in range(3):
        before = b
        b = _deduce(*b)
        smin, smax, s32min, s32max = b[0], b[1], b[4], b[5]
        if s32min >= 0 and smin >= S32_MIN and smax <= S32_MAX:
            v, m = tnum_intersect(v, m, *tnum_range(s32min, s32max))
            b = (s32min, s32max, s32min, s32max, s32min, s32max, b[6], b[7])
        if b == before:
            break
    smin, smax, umin, umax, s32min, s32max, u32min, u32max = b
    v, m = tnum_intersect(v, m, *tnum_range(umin, umax))
    low, lowm = tnum_intersect(v & M32, m & M32, *tnum_range(u32min, u32max))
    v, m = (v & _HIGH) | low, (m & _HIGH) | lowm
    low, lowm = v & M32, m & M32
    umin = max(umin, v)
    umax = min(umax, v | m)
    only = _only(v, m, umin, umax)
    if only is not None:
        return const_bounds(only)
    return Bounds(
        v,
        m,
        max(smin, s64(v | (m & _T63))),
        min(smax, s64(v | (m & S64_MAX))),
        umin,
        umax,
        max(s32min, s32(low | (lowm & _T31))),
        min(s32max, s32(low | (lowm & S32_MAX))),
        max(u32min, low),
        min(u32max, low | lowm),
    )
