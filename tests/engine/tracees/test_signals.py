"""Signals, group stops and job control reach a tracee as they would without us."""

import os
import pty
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.tracees.conftest import Build, Gated, Watch, state_of, until


@pytest.mark.parametrize("armed", [True, False])
@pytest.mark.parametrize(("way", "output"), [("queued", "200 0"), ("ignored", "0 0"), ("fault", "100")])
def test_signals_arrive_unharmed(
    way: str, output: str, armed: bool, build: Build, start: Callable[..., Gated], watch: Watch
) -> None:
    watch.arm(armed)
    gated = start(build("signals"), way)
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.finish() == (0, output)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN])
@pytest.mark.parametrize("armed", [True, False])
def test_group_stop(
    number: signal.Signals, armed: bool, build: Build, start: Callable[..., Gated], watch: Watch
) -> None:
    watch.arm(armed)
    gated = start(build("signals"), "stopped")
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.line() == "waiting"
    assert until(lambda: state_of(gated.pid) == "S")
    os.kill(gated.pid, number)
    assert until(lambda: state_of(gated.pid) == "t")
    time.sleep(0.05)
    # A stopped thread is not brought to life by arming and disarming.
    watch.arm(not armed)
    time.sleep(0.02)
    watch.arm(armed)
    time.sleep(0.02)
    assert state_of(gated.pid) == "t"
    os.kill(gated.pid, signal.SIGCONT)
    assert gated.finish() == (0, "-1 1")


def test_a_stopped_process_stays_stopped(build: Build, start: Callable[..., Gated], watch: Watch) -> None:
    gated = start(build("signals"), "stopped")
    gated.open()
    assert gated.line() == "waiting"
    assert until(lambda: state_of(gated.pid) == "S")
    os.kill(gated.pid, signal.SIGSTOP)
    assert until(lambda: state_of(gated.pid) == "T")
    watch.arm()
    for _ in range(3):
        watch.tracer.attach(gated.pid)
        time.sleep(0.02)
        assert state_of(gated.pid) in "tT"
        watch.tracer.detach(gated.pid)
        assert until(lambda: state_of(gated.pid) == "T")
    assert watch.tracer.pids() == []
    os.kill(gated.pid, signal.SIGCONT)
    assert gated.finish() == (0, "-1 1")


def test_fatal_signals(build: Build, start: Callable[..., Gated], watch: Watch) -> None:
    watch.arm()
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGABRT):
        gated = start(build("signals"), "stopped")
        watch.tracer.attach(gated.pid)
        gated.open()
        assert gated.line() == "waiting"
        os.kill(gated.pid, number)
        assert gated.finish()[0] == -number
    assert until(lambda: watch.tracer.threads() == [])


SHELL = """
set -m
sleep 30 &
kill -STOP %1
jobs -x sh -c 'until grep -q "State:.[tT]" /proc/$0/status; do sleep 0.01; done' %1
jobs %1
bg %1 > /dev/null
kill %1
wait $!
echo "status $?"
"""


def test_job_control_through_a_traced_shell(start: Callable[..., Gated], watch: Watch) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash: nothing with job control to trace")
    watch.arm()
    gated = start(bash, "-c", SHELL)
    watch.tracer.attach(gated.pid)
    gated.open()
    status, out = gated.finish()
    assert status == 0
    lines = out.splitlines()
    assert "Stopped" in lines[0]
    assert lines[-1] == f"status {128 + signal.SIGTERM}"


JOB = """import os, time
os.write(1, b"star" + b"ted")
time.sleep(30)
"""


class Terminal:
    """A shell on a pseudo-terminal."""

    def __init__(self, shell: str) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execv(shell, [shell, "--norc", "--noediting", "-i"])
        self._said = b""

    def type(self, text: str) -> None:
        """Type `text`."""
        os.write(self._fd, text.encode())

    def expect(self, what: str) -> str:
        """Read until `what` appears; returns what came before it."""
        deadline = time.monotonic() + 20
        while what.encode() not in self._said:
            ready, _, _ = select.select([self._fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{what!r} does not come, but {self._said!r}"
            self._said += os.read(self._fd, 4096)
        before, _, self._said = self._said.partition(what.encode())
        return before.decode()

    def close(self) -> None:
        """Hang up and wait for the shell."""
        os.close(self._fd)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def test_control_z_on_a_terminal(watch: Watch, tmp_path: Path) -> None:
    """^Z stops the foreground job of a traced shell, fg continues it, ^C ends it."""
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("no bash: nothing with job control to trace")
    job = tmp_path / "job.py"
    job.write_text(JOB)
    terminal = Terminal(shell)
    try:
        # The first shell is our own child, which cannot be attached; it starts the one that can.
        terminal.type(f"{shell} --norc --noediting -i\necho pid''=$$=\n")
        terminal.expect("pid=")
        watch.arm()
        watch.tracer.attach(int(terminal.expect("=")))
        terminal.type(f"{sys.executable} {job}\n")
        terminal.expect("started")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.type("fg\n")
        terminal.expect("job.py")
        time.sleep(0.1)
        terminal.type("\x03")
        terminal.expect("KeyboardInterrupt")
        terminal.type("echo status''=$?=\n")
        terminal.expect("status=")
        assert terminal.expect("=") == "130"
    finally:
        terminal.close()
