"""Fixtures: compiled programs, processes held at a gate, and a tracer that counts."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.env import Ctl, Env, peek64, poke64
from engine.machine import Machine
from engine.tracees import Tracer
from engine.tracees.state import St
from tests.engine.tracees.counting import BLOCK, COUNTING, RETURNS

Build = Callable[[str], str]
SOURCES = Path(__file__).parent / "programs"


def compiler() -> str:
    """A C compiler; the test is skipped where there is none."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler: the programs to be traced cannot be built")
    return found


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile programs/NAME.c once; returns the path of the executable."""
    cc = compiler()
    where = tmp_path_factory.mktemp("programs")

    def compile_one(name: str) -> str:
        target = where / name
        if not target.exists():
            source = SOURCES / f"{name}.c"
            subprocess.run([cc, "-O1", "-pthread", "-o", str(target), str(source)], check=True)
        return str(target)

    return compile_one


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether `condition` comes true before long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def state_of(pid: int) -> str:
    """State letter of a process, as /proc shows it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Gated:
    """A program that waits at the gate: `pid` exists, nothing of it has run. See programs/gate.c."""

    def __init__(self, gate: str, command: list[str]) -> None:
        # In a process group of its own, which is no orphan: SIGTSTP does not stop orphans.
        self._process = subprocess.Popen(
            [gate, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.pid = int(self.line())

    def open(self) -> None:
        """Let the program start."""
        assert self._process.stdin is not None
        self._process.stdin.write("x")
        self._process.stdin.flush()

    def line(self) -> str:
        """The next line that the program prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def finish(self, seconds: float = 60) -> tuple[int, str]:
        """Wait for the end: the exit status as of waitstatus_to_exitcode, and the remaining output."""
        out, _ = self._process.communicate(timeout=seconds)
        text, _, status = out.rstrip("\n").rpartition("\n")
        return os.waitstatus_to_exitcode(int(status)), text

    def send(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the program, whose end is waited for."""
        os.kill(self.pid, signal.SIGKILL)
        self.finish()

    def end(self) -> None:
        """Kill what is left."""
        if self._process.poll() is None:
            for pid in (self.pid, self._process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self._process.communicate()


class Watch:
    """A running tracer whose handlers count system calls."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.tracer = Tracer(self.machine, COUNTING)
        self._block = self.machine.heap.alloc(BLOCK)
        self.tracer.start()
        poke64(peek64(self.tracer.state + St.ENV) + Env.PRIVATE, self._block)

    def arm(self, on: bool = True) -> None:
        """Observe every system call, or none."""
        poke64(self.machine.ctl + Ctl.ARMED, int(on))
        self.tracer.rearm()

    def entries(self, nr: int) -> int:
        """How often system call `nr` was entered."""
        return peek64(self._block + nr * 8)

    def returns(self, nr: int) -> int:
        """How often it returned."""
        return peek64(self._block + RETURNS + nr * 8)

    def close(self) -> None:
        """End the tracer."""
        self.tracer.stop()
        self.machine.close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """A counting tracer, not armed."""
    watching = Watch()
    yield watching
    watching.close()


@pytest.fixture
def start(build: Build) -> Iterator[Callable[..., Gated]]:
    """Hold a command at the gate; what is left of it is killed at the end of the test."""
    gate = build("gate")
    started: list[Gated] = []

    def hold(*command: str) -> Gated:
        gated = Gated(gate, list(command))
        started.append(gated)
        return gated

    yield hold
    for gated in started:
        gated.end()
