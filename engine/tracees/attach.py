"""Attaching and letting go of whole processes: the rare part, in Python, on the tracer thread.

Errors are those of ptrace(2): ESRCH no such process (or only a zombie of it), EPERM for ourselves, kernel
threads, processes of others, and those that another tracer has.
"""

import errno
import os
from collections.abc import Iterator

from engine.env import Ctl, peek32, peek64, poke32, poke64
from engine.errors import KernelError
from engine.jit.lang import c_call, errno_, load_acquire64, native, put32, u64
from engine.tracees.proc import read_identity
from engine.tracees.ptrace import OPTIONS, Request, Sys
from engine.tracees.resume import interrupt
from engine.tracees.state import REC_SIZE, Flag, Mode, Rec, St
from engine.tracees.threads import find, insert

__all__ = ["attach_process", "detach_all", "detach_process", "live_records", "process_of"]

_SCANS = 1000
"""Scans of /proc/PID/task until no unknown thread is found; each follows a thread that was born meanwhile."""


@native
def _seize(st: int, tid: int) -> int:
    """Seize `tid`, which runs on, and give it a record; 0 or a negative errno."""
    if c_call("syscall", Sys.PTRACE, Request.SEIZE, tid, 0, OPTIONS) < 0:
        return -errno_()
    rec = find(st, tid)
    if rec == 0:
        rec = insert(st, tid)
    if rec == 0:
        return 0
    put32(rec + Rec.MODE, Mode.CONT)
    return interrupt(st, rec) if load_acquire64(u64(st + St.CTL) + Ctl.ARMED) else 0


def _family(tid: int) -> tuple[int, int]:
    """(thread-group id, parent process) of thread `tid`. KernelError ESRCH."""
    try:
        with open(f"/proc/{tid}/status", encoding="utf-8", errors="replace") as file:
            fields = dict(
                line.rstrip().split(":\t", 1) for line in file if line.startswith(("Tgid:", "PPid:"))
            )
    except OSError as error:
        raise KernelError(errno.ESRCH, f"no process {tid}") from error
    return int(fields["Tgid"]), int(fields["PPid"])


def process_of(tid: int) -> int:
    """Thread-group id of thread `tid`. KernelError ESRCH."""
    return _family(tid)[0]


def live_records(st: int) -> Iterator[int]:
    """Addresses of records in use. Any thread may call it; what it sees may be gone at once."""
    records = peek64(st + St.RECORDS)
    for number in range(peek64(st + St.TOP)):
        if peek32(records + number * REC_SIZE + Rec.TID):
            yield records + number * REC_SIZE


def _tasks(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _keep(st: int, tid: int) -> bool:
    """Whether `tid` is traced; if it was to be let go, it is not any more."""
    rec = find(st, tid)
    if rec and peek32(rec + Rec.FLAGS) & Flag.DETACH:
        poke32(rec + Rec.FLAGS, peek32(rec + Rec.FLAGS) & ~Flag.DETACH)
        poke64(st + St.DETACHING, peek64(st + St.DETACHING) - 1)
    return bool(rec)


def attach_process(st: int, pid: int) -> None:
    """Seize every thread of process `pid`; nothing when it is attached. KernelError ESRCH or EPERM."""
    tgid, parent = _family(pid)
    if os.getpid() in (tgid, parent):
        raise KernelError(errno.EPERM, "neither this process nor its children, for which it waits")
    refused: set[int] = set()
    error = errno.ESRCH
    for _ in range(_SCANS):
        fresh = [tid for tid in _tasks(tgid) if tid not in refused and not _keep(st, tid)]
        if not fresh:
            break
        for tid in fresh:
            result = _seize(st, tid)
            if result < 0:
                refused.add(tid)
                error = -result if result != -errno.ESRCH else error
    if not any(find(st, tid) for tid in _tasks(tgid)):
        raise KernelError(error, f"cannot attach process {pid}")


def _flag(st: int, rec: int) -> None:
    """Have the thread let go at its next stop, and ask for that stop."""
    flags = peek32(rec + Rec.FLAGS)
    if not flags & Flag.DETACH:
        poke32(rec + Rec.FLAGS, flags | Flag.DETACH)
        poke64(st + St.DETACHING, peek64(st + St.DETACHING) + 1)
    interrupt(st, rec)


def tgid_of(st: int, rec: int) -> int:
    """Thread-group id of a record, asked for if it is not known yet. Tracer thread only."""
    if not peek32(rec + Rec.TGID):
        read_identity(st, rec)
    return peek32(rec + Rec.TGID)


def detach_process(st: int, pid: int) -> None:
    """Order that every thread of process `pid` is let go; each is, as soon as it can stop.

    A thread in a file operation on our own mount can stop only when that has been answered, so
    nobody waits for it. KernelError ESRCH when the process is not attached.
    """
    found = [rec for rec in live_records(st) if tgid_of(st, rec) == pid]
    if not found:
        raise KernelError(errno.ESRCH, f"process {pid} is not attached")
    for rec in found:
        _flag(st, rec)


def detach_all(st: int) -> None:
    """Order that every thread is let go, and every one that is born meanwhile."""
    poke64(st + St.STOPPING, 1)
    for rec in live_records(st):
        _flag(st, rec)
