"""Accepted programs do what the verifier predicted; and a rule that is wrong would be found."""

from unittest import mock

from engine.isa import Alu
from engine.verifier import scalar
from engine.verifier.bounds import Bounds
from tests.differential.soundness import check_programs

_Raw = tuple[int, int, int, int, int, int, int, int, int, int]


def test_generated_programs() -> None:
    found = check_programs(1, 250)
    assert found.accepted > 25
    assert not found.violations


def test_generated_loops() -> None:
    found = check_programs(1, 150, loops=True)
    assert found.accepted > 50
    assert not found.violations


def test_a_wrong_rule_is_found() -> None:
    right = scalar.RULES[int(Alu.AND)]

    def wrong(a: Bounds, b: Bounds, is32: bool) -> _Raw:
        v, m, smin, smax, umin, umax, *low = right(a, b, is32)
        s32min, s32max, u32min, u32max = low
        return v, m, smin, max(smin, smax - 1), umin, max(umin, umax - 1), s32min, s32max, u32min, u32max

    with mock.patch.dict(scalar.RULES, {int(Alu.AND): wrong}):
        assert check_programs(1, 400).violations
