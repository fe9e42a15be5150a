"""Attaching and letting go of whole processes: the rare part, in Python, on the tracer thread.

Errors are those of ptrace(2): ESRCH no such process (or only a zombie of it), EPERM for ourselves, kernel
threads, processes of others, and those that another tracer has. And EAGAIN for one that is executing a
program and does not come to an end of it.
"""

import errno
import os
import time
from collections import Counter
from collections.abc import Iterator

from engine.env import Ctl, peek32, peek64, poke32, poke64
from engine.errors import KernelError
from engine.jit.lang import c_call, errno_, load_acquire64, native, put32, u64
from engine.tracees.doorbell import hush, ring_unless_seized
from engine.tracees.loop import serve_waiting
from engine.tracees.proc import read_identity, tracer_of
from engine.tracees.ptrace import OPTIONS, Request, Sys
from engine.tracees.resume import interrupt
from engine.tracees.state import REC_SIZE, Flag, Mode, Rec, St
from engine.tracees.threads import find, insert, remove

__all__ = ["attach_process", "detach_all", "detach_process", "live_records", "process_of"]

_SCANS = 1000
"""Scans of /proc/PID/task until no unknown thread is found; each follows a thread that was born meanwhile."""
_REFUSALS = 32
"""So often a thread may be refused: one that is dying is, and then another may take its id (by execve)."""
_MOMENT = 0.001
"""Seconds until a look for the stop of a thread that is ours already."""
_EXEC_PATIENCE = 5.0
"""Seconds for a program to be executed."""


@native
def _seize(st: int, tid: int, tgid: int) -> int:
    """Seize `tid` of process `tgid`, which runs on, and give it a record; 0 or a negative errno.

    -EINTR: its process is executing a program, for which it may have to wait for us.
    """
    ring_unless_seized(st)
    got = c_call("syscall", Sys.PTRACE, Request.SEIZE, tid, 0, OPTIONS)
    error = errno_()
    hush(st)
    if got < 0:
        return -error
    rec = find(st, tid)
    if rec == 0:
        rec = insert(st, tid)
    if rec == 0:
        return 0
    put32(rec + Rec.TGID, tgid)
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


def _is_ours(st: int, tid: int) -> bool:
    """Whether we trace `tid`; if not, it has no record any more.

    Neither follows from the other while programs are executed: a thread takes the leader's id before its stop
    tells of it, and a leader that is replaced by a thread that we do not trace ends without a word.
    """
    if tracer_of(st, tid) == peek64(st + St.TRACER):
        return True
    remove(st, tid)
    return False


def tgid_of(st: int, rec: int) -> int:
    """Thread-group id of a record, asked for if it is not known yet. Tracer thread only."""
    if not peek32(rec + Rec.TGID):
        read_identity(st, rec)
    return peek32(rec + Rec.TGID)


def _records_of(st: int, pid: int) -> list[int]:
    return [rec for rec in live_records(st) if tgid_of(st, rec) == pid]


def _stay(st: int, rec: int) -> None:
    """If the thread was to be let go, it is not any more."""
    flags = peek32(rec + Rec.FLAGS)
    if flags & Flag.DETACH:
        poke32(rec + Rec.FLAGS, flags & ~Flag.DETACH)
        poke64(st + St.DETACHING, peek64(st + St.DETACHING) - 1)


def attach_process(st: int, pid: int) -> None:
    """Seize every thread of process `pid`; nothing when it is attached. KernelError as above."""
    tgid, parent = _family(pid)
    if os.getpid() in (tgid, parent):
        raise KernelError(errno.EPERM, "neither this process nor its children, for which it waits")
    for rec in _records_of(st, tgid):
        _stay(st, rec)
    refusals: Counter[int] = Counter()
    error = errno.ESRCH
    deadline = time.monotonic() + _EXEC_PATIENCE
    for _ in range(_SCANS):
        fresh = [tid for tid in _tasks(tgid) if refusals[tid] < _REFUSALS and not _is_ours(st, tid)]
        if not fresh:
            break
        for tid in fresh:
            while (result := _seize(st, tid, tgid)) == -errno.EINTR and time.monotonic() < deadline:
                serve_waiting(st)
            if result < 0:
                refusals[tid] += 1
                error = {errno.ESRCH: error, errno.EINTR: errno.EAGAIN}.get(-result, -result)
    if not any(_is_ours(st, tid) for tid in _tasks(tgid)):
        raise KernelError(error, f"cannot attach process {pid}")


def _flag(st: int, rec: int) -> bool:
    """Have the thread let go at its next stop, and ask for that stop; False if we do not trace it."""
    if not _is_ours(st, peek32(rec + Rec.TID)):
        return False
    flags = peek32(rec + Rec.FLAGS)
    if not flags & Flag.DETACH:
        poke32(rec + Rec.FLAGS, flags | Flag.DETACH)
        poke64(st + St.DETACHING, peek64(st + St.DETACHING) + 1)
    interrupt(st, rec)
    return True


def detach_process(st: int, pid: int) -> None:
    """Order that every thread of process `pid` is let go; each is, as soon as it can stop.

    A thread in a file operation on our own mount can stop only when that has been answered, so
    nobody waits for it. KernelError ESRCH when the process is not attached.
    """
    for _ in range(_SCANS):
        flagged = [_flag(st, rec) for rec in _records_of(st, pid)]
        if any(flagged):
            return
        if not _is_ours(st, pid):
            break
        # It has just executed a program; the stop that tells is still to come.
        time.sleep(_MOMENT)
        serve_waiting(st)
    raise KernelError(errno.ESRCH, f"process {pid} is not attached")


def detach_all(st: int) -> None:
    """Order that every thread is let go, and every one that is born meanwhile."""
    poke64(st + St.STOPPING, 1)
    for rec in live_records(st):
        _flag(st, rec)
