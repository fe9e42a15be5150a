"""Arithmetic on bounds is sound: whatever the operands may be, the result is among what was predicted."""

import random
from collections.abc import Callable

import pytest

from engine.isa import Alu
from engine.verifier.bounds import UNKNOWN, const_bounds, s32, s64, unsigned_range
from engine.verifier.scalar import alu, byte_swap, sign_extend, truncate
from engine.verifier.tnum import M32, M64
from tests.engine.verifier.samples import sample

_SHIFTS = (Alu.LSH, Alu.RSH, Alu.ARSH)
_CONCRETE: dict[Alu, Callable[[int, int, int, int], int]] = {
    Alu.ADD: lambda a, b, _sa, _bits: a + b,
    Alu.SUB: lambda a, b, _sa, _bits: a - b,
    Alu.MUL: lambda a, b, _sa, _bits: a * b,
    Alu.OR: lambda a, b, _sa, _bits: a | b,
    Alu.AND: lambda a, b, _sa, _bits: a & b,
    Alu.XOR: lambda a, b, _sa, _bits: a ^ b,
    Alu.NEG: lambda a, _b, _sa, _bits: -a,
    Alu.LSH: lambda a, b, _sa, bits: a << (b % bits),
    Alu.RSH: lambda a, b, _sa, bits: a >> (b % bits),
    Alu.ARSH: lambda _a, b, sa, bits: sa >> (b % bits),
}


@pytest.mark.parametrize("op", list(_CONCRETE), ids=lambda op: op.name)
@pytest.mark.parametrize("is32", [False, True], ids=["64", "32"])
def test_alu(op: Alu, is32: bool) -> None:
    rng = random.Random(int(op) * 2 + is32)
    mask, bits = (M32, 32) if is32 else (M64, 64)
    for _ in range(400):
        first, a = sample(rng)
        second, b = sample(rng)
        if op in _SHIFTS:
            second = [rng.randrange(bits)]
            b = const_bounds(second[0])
        predicted = alu(op, a, b, is32)
        for x in first:
            for y in second:
                signed = s32(x) if is32 else s64(x)
                result = _CONCRETE[op](x & mask, y & mask, signed, bits) & mask
                assert predicted.holds(result), (x, y, a, b, predicted)


def test_narrowing() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        values, b = sample(rng)
        size = rng.choice((1, 2, 4))
        mask = (1 << 8 * size) - 1
        is32 = size < 4 and rng.random() < 0.5
        narrow, wide = truncate(b, size), sign_extend(b, size, is32)
        swapped = byte_swap(b, 2 * size)
        for x in values:
            low = x & mask
            assert b.holds(x)
            assert narrow.holds(low)
            extended = low - mask - 1 if low > mask >> 1 else low
            assert wide.holds(extended & (M32 if is32 else M64))
            part = (x & ((1 << 16 * size) - 1)).to_bytes(2 * size, "little")
            assert swapped.holds(int.from_bytes(part, "big"))


def test_division_tells_nothing() -> None:
    assert alu(Alu.DIV, const_bounds(8), const_bounds(2), False) is UNKNOWN
    assert alu(Alu.MOD, const_bounds(8), const_bounds(3), True) is UNKNOWN


def test_shift_by_an_unknown_amount_tells_nothing() -> None:
    assert alu(Alu.LSH, const_bounds(1), unsigned_range(0, 3), False) is UNKNOWN


def test_bounds_are_kept_through_addition() -> None:
    b = alu(Alu.ADD, unsigned_range(0, 255), const_bounds(16), False)
    assert (b.umin, b.umax, b.smin, b.smax) == (16, 271, 16, 271)
