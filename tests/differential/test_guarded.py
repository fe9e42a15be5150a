"""Native code between guard pages: nothing strays; and where a rule is missing, it is found."""

from unittest import mock

from tests.differential.guarded import run_between_guards


def test_generated_programs() -> None:
    found = run_between_guards(seed=1, count=300)
    assert found.accepted > 20
    assert found.runs == 4 * found.accepted
    assert found.violations == []


def test_generated_loops() -> None:
    found = run_between_guards(seed=1, count=100, loops=True)
    assert found.accepted > 30
    assert found.violations == []


def test_an_unchecked_access_faults() -> None:
    with mock.patch("engine.verifier.memory.check_region", lambda *_: None):
        found = run_between_guards(seed=1, count=200)
    assert any("signal 11" in violation for violation in found.violations)
    assert found.programs == 200
