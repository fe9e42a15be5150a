"""Closes that take long: ended by a signal, few at a time, in nobody else's way."""

import errno
import os
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
