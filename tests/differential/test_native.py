"""A short run of the campaign that compares native code with the interpreter."""

from tests.differential.native import compare_programs


def test_generated_programs() -> None:
    found = compare_programs(seed=1, count=400)
    assert found.accepted > 20
    assert found.runs > found.skipped * 2
    assert found.differences == []
