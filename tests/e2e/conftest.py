"""Fixtures: a mount made with the command line, as a user makes it, and gone in every outcome."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bpffs import mounts

ROOT = Path(__file__).resolve().parents[2]
BPFFS = ROOT / ".venv" / "bin" / "bpffs"
EXAMPLES = ROOT / "contrib" / "examples"

DEADLINE = 20.0
"""Seconds after which a command counts as hung."""


@dataclass(frozen=True)
class Outcome:
    """How a shell command ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """Runs commands with bash in an environment of its own: `$M` is the mount, `bpffs` the command."""

    mount: Path
    environment: dict[str, str]

    def __call__(self, command: str, **more: str) -> Outcome:
        """Run to the end, or fail after DEADLINE seconds."""
        done = subprocess.run(
            ["bash", "-c", command],
            env=self.environment | more,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=DEADLINE,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def ok(self, command: str) -> str:
        """Run; it must succeed. What it wrote to standard output."""
        outcome = self(command)
        assert outcome.status == 0, outcome
        return outcome.out

    def start(self, command: str) -> "subprocess.Popen[str]":
        """Run in the background."""
        return subprocess.Popen(
            ["bash", "-c", command],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    @property
    def daemon(self) -> int:
        """Process id of the daemon."""
        for line in self.ok("bpffs status").splitlines():
            if line.startswith(f"{self.mount}: daemon "):
                return int(line.split("daemon ")[1].split(",")[0])
        raise AssertionError("no daemon")


def need_fuse() -> None:
    """Skip, loudly, where nothing can be mounted."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/fuse, which this user cannot open")


def is_running(pid: int) -> bool:
    """Whether the process lives; a zombie that nobody has waited for yet does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether the condition holds within DEADLINE seconds."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def wait_until_reading(pid: int) -> None:
    """Until the process is inside read(2), and a moment more for the request to reach the daemon."""
    assert wait_until(lambda: Path(f"/proc/{pid}/syscall").read_text().startswith("0 "))
    time.sleep(0.05)


def wait_for_end(pid: int) -> bool:
    """Whether the process is gone within DEADLINE seconds."""
    return wait_until(lambda: not is_running(pid))


def daemons(runtime: Path) -> list[int]:
    """Process ids of daemons whose log is in `runtime`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"bpffs.daemon" in words and any(word.startswith(bytes(runtime)) for word in words):
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the mount and its records go."""
    return tmp_path


@pytest.fixture
def shell(place: Path) -> Iterator[Shell]:
    """A shell with an empty directory to mount on, and records of its own. Nothing is mounted yet."""
    need_fuse()
    runtime = place / "run"
    mount = place / "m"
    mount.mkdir()
    environment = os.environ | {
        "M": str(mount),
        "B": f"{mount}/sys/fs/bpf",
        "T": f"{mount}/sys/kernel/tracing",
        "EXAMPLES": str(EXAMPLES),
        "BPFFS_RUNTIME_DIR": str(runtime),
        "PATH": f"{BPFFS.parent}:{os.environ['PATH']}",
        "LC_ALL": "C",
    }
    try:
        yield Shell(mount, environment)
    finally:
        left = daemons(runtime)
        for pid in left:
            os.kill(pid, signal.SIGTERM)
        stuck = [pid for pid in left if not wait_for_end(pid)]
        for pid in stuck:
            os.kill(pid, signal.SIGKILL)
        for row in mounts.mounts():
            if row.directory.startswith(str(place)):
                mounts.unmount(row.directory, lazy=True)
        assert not stuck, f"daemons that did not end: {stuck}"


@pytest.fixture
def mounted(shell: Shell) -> Shell:
    """`bpffs mount $M` was done."""
    shell.ok("bpffs mount $M")
    return shell
