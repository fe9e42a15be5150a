"""What /proc says about a task that waits for us: who really reads, and whether a signal should end the wait.

FUSE tells who opened a file, not who reads it now: the reader may be a child that inherited the descriptor.
And it cannot say that a signal arrived (pyfuse3 has no FUSE_INTERRUPT), so both are read from /proc.
Everything here reads /proc only, never a path on the mount, so it cannot wait for ourselves.
"""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Reader", "find_reader", "is_interrupted", "signal_waits"]

_READING = {0: 0, 17: 0, 19: 0, 40: 1, 275: 0, 295: 0, 327: 0}
"""read, pread64, readv, sendfile, splice, preadv, preadv2 -> which argument is the descriptor."""


def _bit(number: int) -> int:
    return 1 << (number - 1)


_IGNORED_BY_DEFAULT = (
    _bit(signal.SIGCHLD) | _bit(signal.SIGURG) | _bit(signal.SIGWINCH) | _bit(signal.SIGCONT)
)


@dataclass(frozen=True, slots=True)
class Reader:
    """A task inside a reading system call: its thread id and the open flags of the descriptor."""

    tid: int
    flags: int


def _text(path: str) -> str:
    """The content of a /proc file, empty when the task is gone or not ours to look at."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def signal_waits(tid: int) -> bool | None:
    """Whether a signal waits for the task that is neither blocked nor ignored; None if there is no such task.

    SigPnd and ShdPnd without SigBlk, SigIgn, and what is ignored by default.
    """
    return _signal_waits(_fields(_text(f"/proc/{tid}/status")))


def is_interrupted(tid: int) -> bool | None:
    """Whether the task, which waits for us, is to return as soon as it can; None if there is no such task.

    As `signal_pending()`: because of a signal, or because a debugger, a group stop or a freezer wants it.
    Those show in its state alone: once anything has interrupted it, FUSE waits on uninterrupted
    (request_wait_answer in fs/fuse/dev.c).
    """
    fields = _fields(_text(f"/proc/{tid}/status"))
    return True if fields.get("State", "").startswith("\tD") else _signal_waits(fields)


def _signal_waits(fields: dict[str, str]) -> bool | None:
    try:
        pending, shared, blocked, ignored, caught = (
            int(fields[name], 16) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
        )
    except KeyError:
        return None
    return bool((pending | shared) & ~blocked & ~ignored & ~(_IGNORED_BY_DEFAULT & ~caught))


def _reads(tid: int, name: str, inode: int) -> Reader | None:
    """The task as a reader of the file called `name` with number `inode`, if it is reading that now."""
    words = _text(f"/proc/{tid}/syscall").split()
    if len(words) < 7 or int(words[0]) not in _READING:
        return None
    descriptor = int(words[1 + _READING[int(words[0])]], 16)
    info = _fields(_text(f"/proc/{tid}/fdinfo/{descriptor}"))
    if int(info.get("ino", inode)) != inode:
        return None
    try:
        target = os.readlink(f"/proc/{tid}/fd/{descriptor}")
    except OSError:
        return None
    if os.path.basename(target).removesuffix(" (deleted)") != name:
        return None
    return Reader(tid, int(info.get("flags", "0"), 8))


def _numbers(directory: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(directory) if name.isdecimal()]
    except OSError:
        return []


def _tasks(likely: int) -> Iterator[int]:
    """Thread ids: the likely one, those of its process, then everybody's."""
    yield likely
    status = _fields(_text(f"/proc/{likely}/status"))
    process = int(status.get("Tgid", likely))
    yield from _numbers(f"/proc/{process}/task")
    for other in _numbers("/proc"):
        if other not in (process, os.getpid()):
            yield from _numbers(f"/proc/{other}/task")


def find_reader(likely: int, name: str, inode: int) -> Reader | None:
    """Who is reading the file called `name` with inode number `inode`; `likely` is the thread asked first.

    None when nobody is seen: the task may be in another pid namespace, or not ours to look at.
    """
    for tid in _tasks(likely):
        reader = _reads(tid, name, inode)
        if reader is not None:
            return reader
    return None
