"""Process ids across pid namespaces: what a caller's number means to us, and ours to it.

A number written by a process of another pid namespace (a container that shares the mount) counts there, as in
`cgroup.procs`, where the kernel looks it up with `find_task_by_vpid`. All is told by /proc: which namespace
a process is in, and its id in each namespace from ours down to its own (NSpid). Where /proc does not
tell, because the process is not ours to look at, it is taken to be in our namespace.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import closing

from engine.errors import KernelError

__all__ = ["pid_for", "pid_from"]

_NS_GET_PARENT = 0xB702
"""ioctl of a namespace's descriptor: one of the namespace above (include/uapi/linux/nsfs.h)."""


def _namespace(pid: int | str, above: int = 0) -> tuple[int, int] | None:
    """Device and inode of the pid namespace that is `above` levels over that of the process."""
    try:
        descriptor = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        for _ in range(above):
            with closing(os.fdopen(descriptor)) as below:
                descriptor = fcntl.ioctl(below, _NS_GET_PARENT)
        with closing(os.fdopen(descriptor)) as found:
            status = os.fstat(found.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _numbers(pid: int) -> list[int]:
    """The process's id in each pid namespace, from ours down to its own; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("NSpid:"):
                    return [int(word) for word in line.split()[1:]]
    except OSError:
        pass
    return []


def _depth(caller: int) -> int:
    """How many levels below our pid namespace thread `caller` is. KernelError ESRCH if it is not below."""
    if caller <= 0:
        raise KernelError(errno.ESRCH, "a caller whose pid namespace is not below ours")
    if _namespace(caller) in (None, _namespace("self")):
        return 0
    return max(len(_numbers(caller)) - 1, 0)


def _seen(caller: int, depth: int, pid: int) -> int | None:
    """The id of process `pid` in the caller's namespace, `depth` below ours; None if it is not in there."""
    numbers = _numbers(pid)
    if len(numbers) <= depth or _namespace(pid, len(numbers) - 1 - depth) != _namespace(caller):
        return None
    return numbers[depth]


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def pid_from(caller: int, number: int) -> int:
    """Our id of the process that thread `caller` calls `number`. KernelError ESRCH if it sees none."""
    depth = _depth(caller)
    if depth == 0:
        return number
    for pid in _processes():
        if number in _numbers(pid)[depth : depth + 1] and _seen(caller, depth, pid) is not None:
            return pid
    raise KernelError(errno.ESRCH, f"no process {number} in the caller's pid namespace")


def pid_for(caller: int, pid: int) -> int | None:
    """What thread `caller` calls our process `pid`; None if it cannot see it."""
    try:
        depth = _depth(caller)
    except KernelError:
        return None
    return pid if depth == 0 else _seen(caller, depth, pid)
