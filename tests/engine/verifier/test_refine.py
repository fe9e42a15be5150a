"""Comparisons: what a branch says is true of every pair of numbers that takes it."""

import random

import pytest

from engine.isa import Jmp
from engine.verifier.bounds import const_bounds, s32, s64, unsigned_range
from engine.verifier.refine import branch_taken, refine_false, refine_true
from engine.verifier.tnum import M32, M64
from tests.engine.verifier.samples import sample

_OPS = [op for op in Jmp if op not in (Jmp.JA, Jmp.CALL, Jmp.EXIT, Jmp.JCOND)]


def _holds(op: Jmp, a: int, b: int, is32: bool) -> bool:
    mask = M32 if is32 else M64
    signed = s32 if is32 else s64
    a, b = a & mask, b & mask
    sa, sb = signed(a), signed(b)
    return bool(
        {
            Jmp.JEQ: a == b,
            Jmp.JNE: a != b,
            Jmp.JSET: a & b,
            Jmp.JGT: a > b,
            Jmp.JGE: a >= b,
            Jmp.JLT: a < b,
            Jmp.JLE: a <= b,
            Jmp.JSGT: sa > sb,
            Jmp.JSGE: sa >= sb,
            Jmp.JSLT: sa < sb,
            Jmp.JSLE: sa <= sb,
        }[op]
    )


@pytest.mark.parametrize("op", _OPS, ids=lambda op: op.name)
@pytest.mark.parametrize("is32", [False, True], ids=["64", "32"])
def test_refinement_is_sound(op: Jmp, is32: bool) -> None:
    rng = random.Random(int(op) * 2 + is32)
    for _ in range(400):
        first, a = sample(rng)
        second, b = sample(rng)
        taken = branch_taken(int(op), a, b, is32)
        yes, no = refine_true(int(op), a, b, is32), refine_false(int(op), a, b, is32)
        for x in first:
            for y in second:
                holds = _holds(op, x, y, is32)
                assert taken in (-1, int(holds)), (x, y, a, b)
                refined = yes if holds else no
                assert refined[0].holds(x), (x, y, a, b, refined)
                assert refined[1].holds(y), (x, y, a, b, refined)


def test_less_than_a_constant() -> None:
    below, _ = refine_true(int(Jmp.JLT), unsigned_range(0, M64), const_bounds(10), False)
    above, _ = refine_false(int(Jmp.JLT), unsigned_range(0, M64), const_bounds(10), False)
    assert (below.umin, below.umax, below.v, below.m) == (0, 9, 0, 15)
    assert above.umin == 10


def test_decided_by_the_low_half() -> None:
    assert branch_taken(int(Jmp.JEQ), const_bounds(1 << 32), const_bounds(0), True) == 1
    assert branch_taken(int(Jmp.JEQ), const_bounds(1 << 32), const_bounds(0), False) == 0
