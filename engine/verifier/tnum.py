"""Tracked numbers: what is known of each bit of a 64-bit value (`kernel/bpf/tnum.c`).

A tnum is two words: `mask` has a 1 for each unknown bit, `value` holds the known bits (0 where unknown).
Here a tnum
is passed as two arguments and returned as a pair, `(value, mask)`.
"""

from functools import lru_cache

__all__ = [
    "M32",
    "M64",
    "tnum_add",
    "tnum_and",
    "tnum_arshift",
    "tnum_cast",
    "tnum_in",
    "tnum_intersect",
    "tnum_is_aligned",
    "tnum_lshift",
    "tnum_mul",
    "tnum_or",
    "tnum_overlap",
    "tnum_range",
    "tnum_rshift",
    "tnum_step",
    "tnum_str",
    "tnum_sub",
    "tnum_union",
    "tnum_xor",
]

M64 = (1 << 64) - 1
M32 = (1 << 32) - 1

Tnum = tuple[int, int]


def tnum_range(low: int, high: int) -> Tnum:
    """The smallest tnum that holds every u64 from `low` to `high`."""
    bits = (low ^ high).bit_length()
    if bits > 63:
        return 0, M64
    delta = (1 << bits) - 1
    return low & ~delta, delta


def tnum_step(v: int, m: int, z: int) -> int:
    """The smallest member of a tnum that is greater than `z`; its greatest one where there is none."""
    least = z + 1
    if least <= v:
        return v
    if least > v | m:
        return v | m
    wrong = (least ^ v) & ~m
    if not wrong:
        return least
    top = wrong.bit_length()
    low = (1 << top) - 1
    if not least >> (top - 1) & 1:
        return (least & ~low) | (v & low)
    free = m & ~least & ~low
    bit = free & -free
    return (least & ~(2 * bit - 1)) | bit | (v & (bit - 1))


def tnum_add(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a + b."""
    sv = av + bv
    mu = ((sv + am + bm) ^ sv) | am | bm
    return sv & ~mu & M64, mu & M64


def tnum_sub(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a - b."""
    dv = av - bv
    mu = ((dv + am) ^ (dv - bm)) | am | bm
    return dv & ~mu & M64, mu & M64


def tnum_and(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a & b."""
    v = av & bv
    return v, (av | am) & (bv | bm) & ~v


def tnum_or(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a | b."""
    v = av | bv
    return v, (am | bm) & ~v


def tnum_xor(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a ^ b."""
    mu = am | bm
    return (av ^ bv) & ~mu, mu


def tnum_lshift(v: int, m: int, shift: int) -> Tnum:
    """a << shift (a constant)."""
    return (v << shift) & M64, (m << shift) & M64


def tnum_rshift(v: int, m: int, shift: int) -> Tnum:
    """a >> shift, logical."""
    return v >> shift, m >> shift


def tnum_arshift(v: int, m: int, shift: int, bits: int) -> Tnum:
    """a >> shift, arithmetic, on the low `bits` (32 or 64) bits; an unknown sign gives unknown bits."""
    top, full = 1 << (bits - 1), (1 << bits) - 1
    v &= full
    m &= full
    v = (v - (1 << bits) if v & top else v) >> shift
    m = (m - (1 << bits) if m & top else m) >> shift
    return v & full, m & full


@lru_cache(1024)
def tnum_mul(av: int, am: int, bv: int, bm: int) -> Tnum:
    """a * b, by long multiplication: an unknown bit of a joins the two sums it may lead to."""
    if not (am | bm):
        return (av * bv) & M64, 0
    v = m = 0
    while av or am:
        if av & 1:
            v, m = tnum_add(v, m, bv, bm)
        elif am & 1:
            v, m = tnum_union(v, m, *tnum_add(v, m, bv, bm))
        av >>= 1
        am >>= 1
        bv = (bv << 1) & M64
        bm = (bm << 1) & M64
    return v, m


def tnum_union(av: int, am: int, bv: int, bm: int) -> Tnum:
    """The smallest tnum that holds both."""
    mu = (av ^ bv) | am | bm
    return av & bv & ~mu, mu


def tnum_intersect(av: int, am: int, bv: int, bm: int) -> Tnum:
    """A tnum that holds what both hold; meaningless when they hold nothing in common."""
    mu = am & bm
    return (av | bv) & ~mu, mu


def tnum_overlap(av: int, am: int, bv: int, bm: int) -> bool:
    """Whether some number is in both."""
    return not ((av ^ bv) & ~(am | bm))


def tnum_in(av: int, am: int, bv: int, bm: int) -> bool:
    """Whether every number of b is in a."""
    return not (bm & ~am) and av == (bv & ~am)


def tnum_cast(v: int, m: int, size: int) -> Tnum:
    """The low `size` bytes, zero-extended."""
    mask = (1 << (size * 8)) - 1
    return v & mask, m & mask


def tnum_is_aligned(v: int, m: int, size: int) -> bool:
    """Whether every number of it is a multiple of `size` (a power of two)."""
    return not ((v | m) & (size - 1))


def tnum_str(v: int, m: int) -> str:
    """As the log prints it; a constant as a number, in decimal while it is short."""
    if not m:
        return str(v) if v <= 0xFFFF else f"{v:#x}"
    return f"({v:#x}; {m:#x})"
