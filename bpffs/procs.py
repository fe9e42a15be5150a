"""M/procs: the attached processes. Write a process id to attach, -id to detach; reading lists them."""

import errno
from typing import Protocol

from bpffs.pidns import pid_for, pid_from
from engine.errors import KernelError
from engine.kernfs import Caller, File, Handle, TextFile

__all__ = ["Attacher", "procs_file"]

PID_MAX = 1 << 22
"""PID_MAX_LIMIT of Linux."""


class Attacher(Protocol):
    """What `engine.tracees.Tracer` offers: thread-safe, blocks until it is done."""

    def attach(self, pid: int) -> None:
        """Attach a process with all its threads. Raises KernelError ESRCH, EPERM, EAGAIN."""

    def detach(self, pid: int) -> None:
        """Let it go. Raises KernelError ESRCH."""

    def pids(self) -> list[int]:
        """Attached processes by thread-group id."""


def _store(attacher: Attacher, caller: Caller, data: bytes) -> None:
    """One write: one number, as in cgroup.procs, and as whoever opened the file counts processes."""
    text = data.strip()
    detach = text.startswith(b"-")
    digits = text[1:] if detach else text
    if not digits.isdigit() or not 0 < int(digits) <= PID_MAX:
        raise KernelError(errno.EINVAL, f"not a process id: {text[:20]!r}")
    (attacher.detach if detach else attacher.attach)(pid_from(caller.tid, int(digits)))


def _show(attacher: Attacher, caller: Caller) -> str:
    """A line for each process that whoever opened the file can see."""
    seen = (pid_for(caller.tid, pid) for pid in attacher.pids())
    return "".join(f"{pid}\n" for pid in sorted(pid for pid in seen if pid is not None))


class _Procs(File):
    slow = True
    """Attaching waits for the tracer's thread."""

    def __init__(self, attacher: Attacher) -> None:
        super().__init__(0o644)
        self._attacher = attacher

    def open(self, flags: int, caller: Caller) -> Handle:
        """A handle that knows who asks."""
        text = TextFile(
            self.perm,
            lambda: _show(self._attacher, caller),
            lambda data: _store(self._attacher, caller, data),
        )
        return text.open(flags, caller)


def procs_file(attacher: Attacher) -> File:
    """The file."""
    return _Procs(attacher)
