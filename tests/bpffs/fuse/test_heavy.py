"""Closes and reads that take long: ended by a signal, few at a time, in nobody else's way."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpffs.fuse.calls import HEAVY_WORKERS

SOON = 5.0
"""Seconds after which a wait counts as hung."""

_CLOSE = """
import errno, os, signal, sys
def caught(*_): pass
signal.signal(signal.SIGUSR1, caught)
fd = os.open(sys.argv[1], os.O_WRONLY)
try: os.close(fd)
except OSError as error: sys.exit(error.errno)
"""

Closer = Callable[[], "subprocess.Popen[bytes]"]


def _wait_for(small: Path, closes: int) -> None:
    end = time.monotonic() + SOON
    while int((small / "heavy_closes").read_text()) != closes:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def closer(small: Path) -> Iterator[Closer]:
    """Starts processes that close the heavy file."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen([sys.executable, "-c", _CLOSE, str(small / "heavy")]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(SOON)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(small: Path, closer: Closer, number: signal.Signals) -> None:
    process = closer()
    _wait_for(small, 1)
    process.send_signal(number)
    assert process.wait(SOON) in (-number, errno.EINTR, 1)
    _wait_for(small, 0)


def test_a_caught_signal_gives_eintr(small: Path, closer: Closer) -> None:
    process = closer()
    _wait_for(small, 1)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(SOON) == errno.EINTR


def test_a_debugger_does_not_end_it(small: Path, closer: Closer) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace: nothing here attaches to a running process")
    process = closer()
    _wait_for(small, 1)
    with subprocess.Popen([strace, "-p", str(process.pid)], stderr=subprocess.PIPE) as tracer:
        try:
            assert tracer.stderr is not None
            assert b"attached" in tracer.stderr.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
            process.kill()
            assert process.wait(SOON) == -signal.SIGKILL
            tracer.wait(SOON)
        finally:
            tracer.kill()


def test_more_wait_for_their_turn_and_can_be_ended_too(small: Path, closer: Closer) -> None:
    processes = [closer() for _ in range(HEAVY_WORKERS)]
    _wait_for(small, HEAVY_WORKERS)
    late = closer()
    with pytest.raises(subprocess.TimeoutExpired):
        late.wait(0.5)
    assert int((small / "heavy_closes").read_text()) == HEAVY_WORKERS
    late.send_signal(signal.SIGUSR1)
    assert late.wait(SOON) == errno.EINTR
    assert [process.poll() for process in processes] == [None] * HEAVY_WORKERS
    assert (small / "slow").read_text() == "False\n"


def test_the_end_of_the_mount_ends_it(
    small: Path, small_process: "subprocess.Popen[bytes]", closer: Closer
) -> None:
    process = closer()
    _wait_for(small, 1)
    small_process.terminate()
    assert process.wait(SOON) == errno.ENODEV
    assert small_process.wait(SOON) == 0
    assert not os.path.ismount(small)


@pytest.mark.parametrize("script", ["exec cat endless", "exec 3< endless; cat <&3 & wait -n"])
def test_a_signal_ends_a_long_read(small: Path, script: str) -> None:
    """Also of somebody who was given the descriptor, while who opened it waits for a child."""
    with subprocess.Popen(["bash", "-c", script], cwd=small, process_group=0) as process:
        end = time.monotonic() + SOON
        while not _is_reading(process.pid):
            assert time.monotonic() < end
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(SOON) == -signal.SIGTERM
        while _is_reading(process.pid):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert (small / "slow").read_text() == "False\n"


def _is_reading(group: int) -> bool:
    """Whether a `cat` of the process group is inside read(2)."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (path / "stat").read_text().partition("(")[2].partition(") ")
            if name == "cat" and int(rest.split()[2]) == group:
                return (path / "syscall").read_text().startswith("0 ")
        except OSError:
            continue
    return False
