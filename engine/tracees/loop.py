"""The tracer's inner loop: wait for a stop, deal with it, again; returns to Python only for what is rare.

The doorbell wakes it without a lost wake-up: whoever sets COMMANDS or REARM starts a timer that signals the
tracer thread at once and then every millisecond, until the loop, woken by EINTR, stops it. A signal that
comes just before the thread sleeps in wait4 is thus followed by another.

Only children and tracees of the tracer thread itself are waited for (__WNOTHREAD), so the process's other
children, and whoever waits for them, are not disturbed.
"""

from engine.jit.lang import (
    atomic_add64,
    c_call,
    errno_,
    load_acquire32,
    local,
    native,
    put32,
    put64,
    sext32,
    u32,
    u64,
    xchg32,
)
from engine.tracees.doorbell import hush
from engine.tracees.lifecycle import events_wanted, free_held
from engine.tracees.placement import go_home, note_stop
from engine.tracees.ptrace import Errno, Sys, Wait
from engine.tracees.resume import interrupt_running
from engine.tracees.state import Reason, St
from engine.tracees.stops import on_status

__all__ = ["serve_waiting", "trace_loop"]

_BATCH = 128
_FAIR_EVERY = 32
_OPTIONS = Wait.ALL | Wait.NOTHREAD


@native
def _wait(st: int, options: int) -> int:
    """Id of a thread that has stopped or ended, its status in St.STATUS; 0: none; negative: errno."""
    tid = sext32(c_call("syscall", Sys.WAIT4, -1, st + St.STATUS, options, 0))
    return tid if tid >= 0 else -errno_()


@native
def serve_waiting(st: int) -> int:
    """Take every waiting stop once before any thread gets its second: wait4 favours the newest tracees."""
    batch = local(1024)
    count = 0
    tid = _wait(st, _OPTIONS | Wait.NOHANG)
    while tid > 0:
        put32(batch + count * 8, tid)
        put32(batch + count * 8 + 4, u32(st + St.STATUS))
        count += 1
        tid = _wait(st, _OPTIONS | Wait.NOHANG) if count < _BATCH else 0
    for i in range(count):
        on_status(st, u32(batch + i * 8), u32(batch + i * 8 + 4))
    return 0


@native
def trace_loop(st: int) -> int:
    """Deal with stops until Python is needed; returns a Reason. Runs on the tracer thread only.

    Python never runs on the thread while it yields its CPU: it would keep the GIL from others.
    """
    while 1:
        if load_acquire32(st + St.COMMANDS):
            go_home(st)
            return Reason.COMMANDS
        if xchg32(st + St.REARM, 0):
            interrupt_running(st)
            if not events_wanted(st):
                free_held(st)
        tid = _wait(st, _OPTIONS)
        if tid > 0:
            note_stop(st, tid)
            on_status(st, tid, u32(st + St.STATUS))
            put64(st + St.BATCH_IN, u64(st + St.BATCH_IN) + 1)
            if (u64(st + St.BATCH_IN) & (_FAIR_EVERY - 1)) == 0 and u64(st + St.LIVE) > 2:
                serve_waiting(st)
        elif tid == -Errno.EINTR:
            hush(st)
        elif tid == -Errno.ECHILD:
            go_home(st)
            return Reason.NO_TRACEES
        else:
            atomic_add64(st + St.ERRORS, 1)
