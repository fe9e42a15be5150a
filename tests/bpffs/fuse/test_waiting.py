"""Reads that wait: woken, polled, interrupted, killed."""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import wait_until_reading

SOON = 5.0
"""Seconds after which a wait counts as hung."""


@pytest.fixture
def reader(small: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A `cat pipe` that waits."""
    with subprocess.Popen(["cat", str(small / "pipe")], stdout=subprocess.PIPE) as process:
        wait_until_reading(process.pid)
        try:
            yield process
        finally:
            process.kill()


def feed(small: Path, text: str) -> None:
    with (small / "feed").open("w") as file:
        file.write(text)


def test_a_waiting_read_is_woken(small: Path, reader: "subprocess.Popen[bytes]") -> None:
    feed(small, "first\n")
    assert reader.stdout is not None
    assert os.read(reader.stdout.fileno(), 100) == b"first\n"
    wait_until_reading(reader.pid)
    feed(small, "second\n")
    assert os.read(reader.stdout.fileno(), 100) == b"second\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_waiting_read(reader: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    reader.send_signal(number)
    assert reader.wait(SOON) == -number


def test_an_ignored_signal_does_not(small: Path) -> None:
    command = ["sh", "-c", f"trap '' USR1; exec cat {small / 'pipe'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            wait_until_reading(process.pid)
            process.send_signal(signal.SIGUSR1)
            process.send_signal(signal.SIGWINCH)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
            feed(small, "fed\n")
            assert process.stdout is not None
            assert os.read(process.stdout.fileno(), 100) == b"fed\n"
        finally:
            process.kill()


def test_a_caught_signal_gives_eintr(small: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "def caught(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGUSR1, caught)\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "print('ready', flush=True)\n"
        "try: os.read(fd, 10)\n"
        "except KeyboardInterrupt: print('caught')\n"
    )
    with subprocess.Popen(
        ["python3", "-c", script, str(small / "pipe")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            wait_until_reading(process.pid)
            process.send_signal(signal.SIGUSR1)
            assert process.communicate(timeout=SOON)[0] == "caught\n"
        finally:
            process.kill()


def test_a_debugger_gets_hold_of_a_waiting_reader(small: Path, reader: "subprocess.Popen[bytes]") -> None:
    """No signal shows that it is wanted."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace: nothing here attaches to a running process")
    with subprocess.Popen([strace, "-p", str(reader.pid)], stderr=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stderr is not None
            assert "attached" in tracer.stderr.readline()
            # To let it go again, strace has to see it stopped.
            tracer.terminate()
            tracer.wait(SOON)
        finally:
            tracer.kill()
    feed(small, "still here\n")
    assert reader.stdout is not None
    assert os.read(reader.stdout.fileno(), 100) == b"still here\n"


def test_a_reader_that_did_not_open_the_file_is_killable(small: Path) -> None:
    descriptor = os.open(small / "pipe", os.O_RDONLY)
    try:
        with subprocess.Popen(["cat"], stdin=descriptor, stdout=subprocess.DEVNULL) as process:
            wait_until_reading(process.pid)
            process.terminate()
            assert process.wait(SOON) == -signal.SIGTERM
    finally:
        os.close(descriptor)


def test_nonblocking_reads_give_eagain(small: Path) -> None:
    descriptor = os.open(small / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(BlockingIOError):
            os.read(descriptor, 10)
        feed(small, "now\n")
        assert os.read(descriptor, 10) == b"now\n"
    finally:
        os.close(descriptor)


def test_nonblocking_set_after_open(small: Path) -> None:
    descriptor = os.open(small / "pipe", os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):
            os.read(descriptor, 10)
    finally:
        os.close(descriptor)


def test_poll_waits_and_wakes(small: Path) -> None:
    descriptor = os.open(small / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    try:
        assert poller.poll(50) == []
        threading.Timer(0.1, feed, (small, "polled\n")).start()
        assert poller.poll(SOON * 1000) == [(descriptor, select.POLLIN)]
        assert os.read(descriptor, 10) == b"polled\n"
        assert poller.poll(50) == []
    finally:
        os.close(descriptor)


def test_epoll_wakes_again_and_again(small: Path) -> None:
    descriptor = os.open(small / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with select.epoll() as poller:
        try:
            poller.register(descriptor, select.EPOLLIN)
            for text in (b"one\n", b"two\n"):
                assert poller.poll(0.02) == []
                threading.Timer(0.05, feed, (small, text.decode())).start()
                assert poller.poll(SOON) == [(descriptor, select.EPOLLIN)]
                assert os.read(descriptor, 10) == text
        finally:
            os.close(descriptor)


def test_many_waiting_readers_leave_the_mount_usable(small: Path) -> None:
    readers = [subprocess.Popen(["cat", str(small / "pipe")], stdout=subprocess.DEVNULL) for _ in range(120)]
    try:
        for process in readers:
            wait_until_reading(process.pid)
        assert (small / "hello").read_text() == "hello, world\n"
    finally:
        for process in readers:
            process.kill()
        for process in readers:
            assert process.wait(SOON) == -signal.SIGKILL


def test_a_wait_ends_when_the_mount_does(small: Path, reader: "subprocess.Popen[bytes]") -> None:
    subprocess.run(["fusermount3", "-u", "-z", str(small)], check=True)
    reader.terminate()
    assert reader.wait(SOON) == -signal.SIGTERM
