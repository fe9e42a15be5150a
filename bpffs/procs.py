"""M/procs: the attached processes. Write a process id to attach, -id to detach; reading lists them."""

import errno
from typing import Protocol

from engine.errors import KernelError
from engine.kernfs import TextFile

__all__ = ["Attacher", "procs_file"]

PID_MAX = 1 << 22
"""PID_MAX_LIMIT of Linux."""


class Attacher(Protocol):
    """What `engine.tracees.Tracer` offers: thread-safe, blocks until it is done."""

    def attach(self, pid: int) -> None:
        """Attach a process with all its threads. Raises KernelError ESRCH, EPERM."""

    def detach(self, pid: int) -> None:
        """Let it go. Raises KernelError ESRCH."""

    def pids(self) -> list[int]:
        """Attached processes by thread-group id."""


def _store(attacher: Attacher, data: bytes) -> None:
    """One write: one number, as in cgroup.procs."""
    text = data.strip()
    detach = text.startswith(b"-")
    digits = text[1:] if detach else text
    if not digits.isdigit() or not 0 < int(digits) <= PID_MAX:
        raise KernelError(errno.EINVAL, f"not a process id: {text[:20]!r}")
    (attacher.detach if detach else attacher.attach)(int(digits))


def procs_file(attacher: Attacher) -> TextFile:
    """The file. It is slow: attaching waits for the tracer's thread."""
    return TextFile(
        0o644,
        lambda: "".join(f"{pid}\n" for pid in sorted(attacher.pids())),
        lambda data: _store(attacher, data),
        slow=True,
    )
