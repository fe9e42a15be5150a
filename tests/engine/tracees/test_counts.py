"""No system call is lost or counted twice: against strace of the same program, over forks, threads, execs."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.abi.syscalls import NR, SYSCALLS
from tests.engine.tracees.conftest import Build, Gated, Watch, until

UNSTEADY = {
    "futex",
    "recvfrom",
    "rt_sigreturn",
    "madvise",
    "munmap",
    "mmap",
    "mprotect",
    "wait4",
    "restart_syscall",
}
"""Calls whose number depends on timing, or that the gate makes."""
NO_RETURN = {"exit", "exit_group"}


def straced(command: list[str], report: Path) -> dict[str, int]:
    """System calls of `command` by name, as strace counts them."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace to compare with")
    subprocess.run([strace, "-f", "-o", str(report), *command], check=True)
    counts: dict[str, int] = {}
    for line in report.read_text().splitlines():
        call = line.split(maxsplit=1)[1]
        name, bracket, _ = call.partition("(")
        if bracket and name.isidentifier():
            counts[name] = counts.get(name, 0) + 1
    return counts


@pytest.mark.parametrize(
    ("ways", "openats"),
    [
        (["plain"], 300),
        (["fork"], 600),
        (["vfork"], 600),
        (["thread"], 1200),
        (["exec"], 300),
        (["threadexec"], 300),
        (["fork", "vfork", "thread", "fork", "exec"], 300 * (2 + 2 + 4 + 2 + 1)),
    ],
)
def test_counts_equal_strace(
    ways: list[str], openats: int, build: Build, start: Callable[..., Gated], watch: Watch, tmp_path: Path
) -> None:
    command = [build("counts"), "300", *ways]
    expected = straced(command, tmp_path / "strace")
    watch.arm()
    gated = start(*command)
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.finish() == (0, "")
    names = [row.name for row in SYSCALLS.values() if row.name not in UNSTEADY]
    counted = {name: watch.entries(NR[name]) for name in names if watch.entries(NR[name])}
    assert counted == {name: count for name, count in expected.items() if name not in UNSTEADY}
    assert counted["openat"] >= openats
    for name, count in counted.items():
        returned = watch.returns(NR[name])
        assert returned == (0 if name in NO_RETURN else count), name
    assert until(lambda: watch.tracer.pids() == [])
    assert watch.tracer.stats["errors"] == 0


def test_nothing_is_counted_while_nothing_is_armed(
    build: Build, start: Callable[..., Gated], watch: Watch
) -> None:
    gated = start(build("counts"), "1000", "plain", "fork")
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.finish() == (0, "")
    assert watch.entries(NR["openat"]) == 0
    # Fork, exec and first stops only.
    assert watch.tracer.stats["stops"] < 20
