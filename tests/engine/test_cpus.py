"""engine.cpus: CPU lists, and agreement with sysfs."""

import os

import pytest

from engine.cpus import parse_cpu_list, possible_cpus


@pytest.mark.parametrize(
    ("text", "cpus"), [("0\n", {0}), ("0-3", {0, 1, 2, 3}), ("0-1,4,6-7\n", {0, 1, 4, 6, 7})]
)
def test_cpu_lists(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text) == cpus


def test_every_cpu_we_may_run_on_is_possible() -> None:
    assert possible_cpus() > max(os.sched_getaffinity(0))
