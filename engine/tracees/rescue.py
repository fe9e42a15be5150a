"""Rescue of a yielding tracer, and the end of urgency: a thread that sees when no stops are dealt with.

Under SCHED_IDLE the tracer may wait for seconds when somebody begins to use its CPU, and with it a stopped
tracee, or whoever wants a lock that the tracer holds. So while it yields, the rescuer looks every few
milliseconds; when no stop was dealt with since the last look, it gives the tracer its ordinary policy back.
If there was nothing to deal with, little is lost: the tracer sees the pause at its next stop, and that it had
not waited for a CPU. It also ends the daemon's urgency when stops cease. While the tracer is neither yielding
nor urgent, the rescuer sleeps.
"""

from engine.jit.lang import atomic_add64, c_call, load_acquire32, native, put32, u32, u64
from engine.tracees.placement import Place, Regime, be_urgent
from engine.tracees.ptrace import Futex, Sys
from engine.tracees.state import St

__all__ = ["end_watch", "to_ordinary", "watch_tracer"]

_LOOK_US = 8_000
_QUIET_US = 40_000


@native
def to_ordinary(st: int) -> int:
    """If the tracer yields, give it its ordinary policy, from another thread."""
    if load_acquire32(st + Place.REGIME) == Regime.YIELDING:
        c_call("sched_setscheduler", u64(st + St.TRACER), u32(st + Place.POLICY), st + Place.PARAM)
    return 0


@native
def _stands_still(st: int, us: int) -> int:
    """Whether no stop is dealt with for some microseconds."""
    stops = u64(st + St.STOPS)
    c_call("usleep", us)
    return u64(st + St.STOPS) == stops


@native
def _look(st: int) -> int:
    """One look; returns whether another is due."""
    if load_acquire32(st + Place.REGIME) == Regime.YIELDING:
        if not _stands_still(st, _LOOK_US):
            return 1
        if load_acquire32(st + Place.REGIME) == Regime.YIELDING:
            to_ordinary(st)
            atomic_add64(st + Place.RESCUES, 1)
        return 0
    if load_acquire32(st + Place.URGENT):
        if not _stands_still(st, _QUIET_US):
            return 1
        be_urgent(st, 0)
    return 0


@native
def watch_tracer(st: int) -> int:
    """The rescuer's thread; returns after `end_watch`."""
    while not load_acquire32(st + Place.WATCH_ENDS):
        seen = load_acquire32(st + Place.WATCH)
        while _look(st):
            pass
        if not load_acquire32(st + Place.WATCH_ENDS):
            c_call("syscall", Sys.FUTEX, st + Place.WATCH, Futex.WAIT_PRIVATE, seen, 0)
    return 0


@native
def end_watch(st: int) -> int:
    """Have `watch_tracer` return soon."""
    put32(st + Place.WATCH_ENDS, 1)
    put32(st + Place.WATCH, u32(st + Place.WATCH) + 1)
    return c_call("syscall", Sys.FUTEX, st + Place.WATCH, Futex.WAKE_PRIVATE, 1, 0)
