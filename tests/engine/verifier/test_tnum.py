"""Tracked numbers: every operation holds the result of every pair of numbers that its operands hold."""

import itertools
import operator
from collections.abc import Callable, Iterator

import pytest

from engine.verifier.tnum import (
    M64,
    tnum_add,
    tnum_and,
    tnum_arshift,
    tnum_cast,
    tnum_in,
    tnum_intersect,
    tnum_is_aligned,
    tnum_lshift,
    tnum_mul,
    tnum_or,
    tnum_overlap,
    tnum_range,
    tnum_rshift,
    tnum_str,
    tnum_sub,
    tnum_union,
    tnum_xor,
)

_BITS = 3
_TNUMS = [(v, m) for v in range(1 << _BITS) for m in range(1 << _BITS) if not v & m]


def _holds(v: int, m: int) -> Iterator[int]:
    """The small numbers that a tnum of three bits holds."""
    return (n for n in range(1 << _BITS) if n & ~m == v)


@pytest.mark.parametrize(
    ("transfer", "concrete"),
    [
        (tnum_add, operator.add),
        (tnum_sub, operator.sub),
        (tnum_mul, operator.mul),
        (tnum_and, operator.and_),
        (tnum_or, operator.or_),
        (tnum_xor, operator.xor),
    ],
)
def test_binary(
    transfer: Callable[[int, int, int, int], tuple[int, int]], concrete: Callable[[int, int], int]
) -> None:
    for a, b in itertools.product(_TNUMS, _TNUMS):
        v, m = transfer(*a, *b)
        assert not v & m
        for x, y in itertools.product(_holds(*a), _holds(*b)):
            assert (concrete(x, y) & M64) & ~m == v


def test_set_operations() -> None:
    for a, b in itertools.product(_TNUMS, _TNUMS):
        mine, its = set(_holds(*a)), set(_holds(*b))
        assert tnum_overlap(*a, *b) == bool(mine & its)
        assert tnum_in(*a, *b) == (its <= mine)
        assert mine | its <= set(_holds(*tnum_union(*a, *b)))
        if mine & its:
            assert set(_holds(*tnum_intersect(*a, *b))) == mine & its


def test_shifts_and_casts() -> None:
    assert tnum_lshift(1, 2, 63) == (1 << 63, 0)
    assert tnum_rshift(0x80, 0x7F, 4) == (0x8, 0x7)
    assert tnum_arshift(1 << 63, 0, 63, 64) == (M64, 0)
    assert tnum_arshift(0, 1 << 31, 31, 32) == (0, 0xFFFFFFFF)
    assert tnum_cast(0x1FF, 0xE00, 1) == (0xFF, 0)


def test_range_is_the_smallest_common_prefix() -> None:
    assert tnum_range(4, 7) == (4, 3)
    assert tnum_range(7, 8) == (0, 15)
    assert tnum_range(0, M64) == (0, M64)
    assert tnum_range(5, 5) == (5, 0)


def test_alignment_and_text() -> None:
    assert tnum_is_aligned(8, 0xF0, 8)
    assert not tnum_is_aligned(8, 4, 8)
    assert tnum_str(0, 0xFF) == "(0x0; 0xff)"
