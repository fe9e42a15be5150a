"""Where and how eagerly the tracer thread runs. Only the tracer is moved, never a tracee.

A stop costs two switches between tracer and tracee. Across CPUs each of them may wake an idle CPU, which
costs five times as much as the switch (measured: 115 against 21 microseconds for a system call). So while
stops come fast, the tracer sits on the CPU of a tracee that has just stopped. That alone is not enough:
resuming the tracee, the scheduler moves it to an idle CPU. It lets the two share a CPU when the tracer has
policy SCHED_IDLE: its CPU then counts as idle, and the tracee goes on there at once.

SCHED_IDLE is bad where others want the CPU. So the time that a window of stops takes is compared: when
yielding turns out slower than sitting beside the tracee did, it is given up, and tried again later, less and
less often. Coming back takes CAP_SYS_NICE or RLIMIT_NICE.

    Roaming   as the daemon was started
    Beside    bound to the tracee's CPU
    Yielding  bound, and SCHED_IDLE
"""

from enum import IntEnum

from engine.jit.lang import c_call, memset, native, put8, put32, put64, u8, u32, u64, ult
from engine.tracees.state import St
from engine.tracees.task import current_cpu, monotonic
from engine.tracees.threads import find

__all__ = ["MASK_SIZE", "Place", "Regime", "go_home", "note_stop"]

MASK_SIZE = 128
"""Bytes of cpu_set_t: 1024 CPUs."""
_WINDOW = 64
"""Stops after which the regime is chosen anew."""
_WINDOW_NS = _WINDOW * 400_000
"""A window that takes longer is not worth it."""
_TYPICAL_NS = _WINDOW * 60_000
"""What a window beside the tracee takes, until one was measured."""
_BACKOFF_MIN, _BACKOFF_MAX = 4_000_000, 100_000_000
_SCHED_IDLE = 5


class Regime(IntEnum):
    """How the tracer thread is placed."""

    ROAMING = 0
    BESIDE = 1
    YIELDING = 2


class Place(IntEnum):
    """Offsets in the state block, St.PLACEMENT.. ."""

    REGIME = St.PLACEMENT
    CPU = St.PLACEMENT + 4
    """u32, the CPU that the tracer is bound to."""
    POLICY = St.PLACEMENT + 8
    """u32, its scheduling policy when it started."""
    MAY_YIELD = St.PLACEMENT + 12
    """u32, not 0 when it may take SCHED_IDLE and come back."""
    COUNT = St.PLACEMENT + 24
    """u32, stops in this window."""
    WINDOW_NS = St.PLACEMENT + 32
    """u64, when the window began."""
    BESIDE_NS = St.PLACEMENT + 40
    """u64, what the last window beside the tracee took; 0: none was measured."""
    BACKOFF_NS = St.PLACEMENT + 48
    RETRY_NS = St.PLACEMENT + 56
    """u64, when to try SCHED_IDLE again."""
    PARAM = St.PLACEMENT + 80
    """struct sched_param, priority 0."""
    CHANGES = St.PLACEMENT + 88
    """u64, changes of regime or CPU."""
    HOME = St.MASKS
    """cpu_set_t of the daemon."""
    PIN = St.MASKS + MASK_SIZE
    """cpu_set_t being built."""


@native
def _set_policy(st: int, policy: int) -> int:
    """sched_setscheduler(2) of this thread."""
    return c_call("sched_setscheduler", 0, policy, st + Place.PARAM)


@native
def go_home(st: int) -> int:
    """Roam again: the policy and CPUs of the daemon."""
    regime = u32(st + Place.REGIME)
    if regime == Regime.YIELDING:
        _set_policy(st, u32(st + Place.POLICY))
    if regime != Regime.ROAMING:
        c_call("sched_setaffinity", 0, MASK_SIZE, st + Place.HOME)
        put64(st + Place.CHANGES, u64(st + Place.CHANGES) + 1)
    put32(st + Place.REGIME, Regime.ROAMING)
    put32(st + Place.COUNT, 0)
    return 0


@native
def _bind(st: int, cpu: int) -> int:
    """Move to `cpu` if the daemon may run there; returns whether the tracer is bound to it."""
    if u32(st + Place.REGIME) != Regime.ROAMING and u32(st + Place.CPU) == cpu:
        return 1
    bit = 1 << (cpu & 7)
    if not ult(cpu, MASK_SIZE * 8) or (u8(st + Place.HOME + (cpu >> 3)) & bit) == 0:
        return 0
    memset(st + Place.PIN, 0, MASK_SIZE)
    put8(st + Place.PIN + (cpu >> 3), bit)
    if c_call("sched_setaffinity", 0, MASK_SIZE, st + Place.PIN) & 0xFFFFFFFF:
        return 0
    put32(st + Place.CPU, cpu)
    if u32(st + Place.REGIME) == Regime.ROAMING:
        put32(st + Place.REGIME, Regime.BESIDE)
    put64(st + Place.CHANGES, u64(st + Place.CHANGES) + 1)
    return 1


@native
def _settle(st: int, rec: int, now: int) -> int:
    """Stops come fast: go to the CPU of the last, and yield to the tracee there."""
    if not _bind(st, current_cpu(st, rec, now)):
        return go_home(st)
    due = u32(st + Place.MAY_YIELD) and now > u64(st + Place.RETRY_NS)
    if due and u32(st + Place.REGIME) == Regime.BESIDE:
        _set_policy(st, _SCHED_IDLE)
        put32(st + Place.REGIME, Regime.YIELDING)
    return 0


@native
def _stop_yielding(st: int, now: int) -> int:
    """It does not pay here: sit beside the tracee, and try again later."""
    _set_policy(st, u32(st + Place.POLICY))
    put32(st + Place.REGIME, Regime.BESIDE)
    backoff = u64(st + Place.BACKOFF_NS) * 2
    backoff = backoff if backoff > _BACKOFF_MIN else _BACKOFF_MIN
    backoff = backoff if backoff < _BACKOFF_MAX else _BACKOFF_MAX
    put64(st + Place.BACKOFF_NS, backoff)
    put64(st + Place.RETRY_NS, now + backoff)
    return 0


@native
def _judge(st: int, now: int, took: int, whole: int) -> int:
    """Compare a window that took `took` nanoseconds, or has so far, if it is not `whole`."""
    regime = u32(st + Place.REGIME)
    if regime == Regime.YIELDING:
        beside = u64(st + Place.BESIDE_NS) if u64(st + Place.BESIDE_NS) else _TYPICAL_NS
        if took > (beside if whole else 2 * beside):
            _stop_yielding(st, now)
        elif whole:
            put64(st + Place.BACKOFF_NS, u64(st + Place.BACKOFF_NS) >> 1)
    elif regime == Regime.BESIDE and whole:
        put64(st + Place.BESIDE_NS, took)
    return u32(st + Place.REGIME) != regime


@native
def _new_window(st: int, now: int) -> int:
    """Begin to count anew."""
    put64(st + Place.WINDOW_NS, now)
    put32(st + Place.COUNT, 0)
    return 0


@native
def note_stop(st: int, tid: int) -> int:
    """Thread `tid` has just stopped; called once a stop, before it is resumed."""
    now = monotonic()
    took = now - u64(st + Place.WINDOW_NS)
    count = u32(st + Place.COUNT) + 1
    put32(st + Place.COUNT, count)
    if count < _WINDOW:
        return _new_window(st, now) if _judge(st, now, took, 0) else 0
    rec = find(st, tid)
    if rec and took < _WINDOW_NS:
        _judge(st, now, took, 1)
        _settle(st, rec, now)
    else:
        go_home(st)
    return _new_window(st, now)
