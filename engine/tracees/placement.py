"""Where and how eagerly the tracer thread runs. Only the tracer is moved, never a tracee.

A stop costs two switches between tracer and tracee. Across CPUs each of them may wake an idle CPU, which
costs five times as much as the switch (measured: 115 against 21 microseconds for a system call). So while
stops come fast, the tracer sits on the CPU of a tracee that has just stopped.

Beside busy processes it must not queue for that CPU: a stopped tracee waits for it. The daemon has a
session of its own, so it is an autogroup of its own (sched(7)), which gets a CPU only when the turn of the
group that the tracee and its neighbours are in is over; that makes a probed call ten times as slow as under
strace. So the daemon's autogroup gets nice -20 while stops come at all, where it may have that.

On a machine with an idle CPU, all this is not enough: resuming the tracee, the scheduler moves it to
an idle CPU. It lets the two share a CPU when the tracer has policy SCHED_IDLE: its CPU then counts as
idle, and the tracee goes on there at once. SCHED_IDLE is bad where others want the CPU. So the number of
runnable threads is looked at first, and the time that a window of stops takes is compared: when
yielding turns out slower than sitting beside the tracee did, it is given up, and tried again later, less and
less often. Whoever needs the CPU in the middle of a window is noticed by `rescue`.

    Roaming   as the daemon was started
    Beside    bound to the tracee's CPU
    Yielding  bound, and SCHED_IDLE
"""

from enum import IntEnum

from engine.clock import monotonic
from engine.jit.lang import (
    atomic_add32,
    c_call,
    cstr,
    local,
    memset,
    native,
    put8,
    put32,
    put64,
    u8,
    u32,
    u64,
    ult,
)
from engine.spin import spin_lock, spin_unlock
from engine.tracees.ptrace import Futex, Sys
from engine.tracees.state import St
from engine.tracees.task import current_cpu
from engine.tracees.threads import find

__all__ = ["MASK_SIZE", "NO_FD", "Place", "Regime", "be_urgent", "go_home", "note_stop"]

MASK_SIZE = 128
"""Bytes of cpu_set_t: 1024 CPUs."""
_WINDOW = 64
"""Stops after which the regime is chosen anew."""
_WINDOW_NS = _WINDOW * 400_000
"""A window that takes longer is not worth it."""
_BUSY_NS = _WINDOW * 20_000_000
"""In a window that takes longer, nobody waits for the tracer often enough to put it before others."""
_TYPICAL_NS = _WINDOW * 60_000
"""What a window beside the tracee takes, until one was measured."""
_BACKOFF_MIN, _BACKOFF_MAX = 4_000_000, 4_000_000_000
_BACKOFF_DECAY = 5
"""A window that yielding made faster shortens the back-off by its 2^-5."""
_SCHED_IDLE = 5
NO_FD = 0xFFFFFFFF
_NICE_SIZE = 3
_LINE = 64
"""Bytes of a file of /proc that are read."""
_SPACE, _ZERO = b" 0"


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
    AUTOGROUP_FD = St.PLACEMENT + 16
    """u32, /proc/self/autogroup of the daemon, open for writing, if its nice value may be changed."""
    LOAD_FD = St.PLACEMENT + 20
    """u32, /proc/loadavg, open for reading."""
    COUNT = St.PLACEMENT + 24
    """u32, stops in this window."""
    DELAY_FD = St.PLACEMENT + 28
    """u32, /proc/thread-self/schedstat of the tracer, open for reading."""
    WINDOW_NS = St.PLACEMENT + 32
    """u64, when the window began."""
    BESIDE_NS = St.PLACEMENT + 40
    """u64, what the last window beside the tracee took; 0: none was measured."""
    BACKOFF_NS = St.PLACEMENT + 48
    RETRY_NS = St.PLACEMENT + 56
    """u64, when to try SCHED_IDLE again."""
    WATCH = St.PLACEMENT + 64
    """u32, a futex: how often the tracer began to yield; see `rescue`."""
    WATCH_ENDS = St.PLACEMENT + 68
    """u32, not 0: the rescuer is to return."""
    RESCUES = St.PLACEMENT + 72
    """u64, how often the tracer was found without CPU."""
    PARAM = St.PLACEMENT + 80
    """struct sched_param, priority 0."""
    URGENT = St.PLACEMENT + 84
    """u32, not 0 while the autogroup has nice -20."""
    CHANGES = St.PLACEMENT + 88
    """u64, changes of regime or CPU."""
    DELAY_NS = St.PLACEMENT + 96
    """u64, how long the tracer had waited for a CPU in all its life when it began to yield."""
    NICE = St.PLACEMENT + 104
    """The nice value that the daemon's autogroup started with, three characters of text."""
    URGENT_LOCK = St.PLACEMENT + 112
    """u32, held while URGENT changes."""
    CPUS = St.PLACEMENT + 116
    """u32, on how many CPUs the daemon may run."""
    HOME = St.MASKS
    """cpu_set_t of the daemon."""
    PIN = St.MASKS + MASK_SIZE
    """cpu_set_t being built."""


@native
def _begin_watch(st: int) -> int:
    """Have the rescuer look from now on."""
    atomic_add32(st + Place.WATCH, 1)
    return c_call("syscall", Sys.FUTEX, st + Place.WATCH, Futex.WAKE_PRIVATE, 1, 0)


@native
def be_urgent(st: int, on: int) -> int:
    """Give the daemon's autogroup nice -20, or what it had."""
    if u32(st + Place.URGENT) == on or u32(st + Place.AUTOGROUP_FD) == NO_FD:
        return 0
    spin_lock(st + Place.URGENT_LOCK)
    put32(st + Place.URGENT, on)
    value = cstr("-20") if on else st + Place.NICE
    c_call("write", u32(st + Place.AUTOGROUP_FD), value, _NICE_SIZE)
    spin_unlock(st + Place.URGENT_LOCK)
    return _begin_watch(st) if on else 0


@native
def _take_policy(st: int, policy: int) -> int:
    """Scheduling policy of this thread."""
    return c_call("sched_setscheduler", 0, policy, st + Place.PARAM)


@native
def _read_field(fd: int, number: int, text: int) -> int:
    """Read `fd`, a line of fields, into `text`: address of field `number`, of an empty text without it."""
    length = c_call("pread", fd, text, _LINE - 1, 0)
    put8(text + (length if length > 0 else 0), 0)
    while number > 0 and u8(text) != 0:
        number -= u8(text) == _SPACE
        text += 1
    return text


@native
def _number(text: int) -> int:
    """The decimal number that text begins with."""
    number = 0
    while ult(u8(text) - _ZERO, 10):
        number = number * 10 + u8(text) - _ZERO
        text += 1
    return number


@native
def _is_quiet(st: int) -> int:
    """Whether there is a CPU for every runnable thread of the machine: the fourth field of /proc/loadavg
    counts them, this one among them."""
    running = _number(_read_field(u32(st + Place.LOAD_FD), 3, local(_LINE)))
    return running > 0 and running <= u32(st + Place.CPUS)


@native
def _delay(st: int) -> int:
    """How long the tracer has waited for a CPU in all its life, ns (`sched_info.run_delay`)."""
    return _number(_read_field(u32(st + Place.DELAY_FD), 1, local(_LINE)))


@native
def _yielding(st: int) -> int:
    """Behind all others; the rescuer watches from now on."""
    put64(st + Place.DELAY_NS, _delay(st))
    be_urgent(st, 0)
    _take_policy(st, _SCHED_IDLE)
    put32(st + Place.REGIME, Regime.YIELDING)
    return _begin_watch(st)


@native
def _roam(st: int) -> int:
    """The policy and CPUs of the daemon again."""
    regime = u32(st + Place.REGIME)
    if regime == Regime.YIELDING:
        _take_policy(st, u32(st + Place.POLICY))
    if regime != Regime.ROAMING:
        c_call("sched_setaffinity", 0, MASK_SIZE, st + Place.HOME)
        put64(st + Place.CHANGES, u64(st + Place.CHANGES) + 1)
    put32(st + Place.REGIME, Regime.ROAMING)
    put32(st + Place.COUNT, 0)
    return 0


@native
def go_home(st: int) -> int:
    """Be as the daemon was started."""
    be_urgent(st, 0)
    return _roam(st)


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
        return _roam(st)
    regime = u32(st + Place.REGIME)
    if u32(st + Place.MAY_YIELD) and now > u64(st + Place.RETRY_NS) and _is_quiet(st):
        if regime == Regime.BESIDE:
            _yielding(st)
    elif regime == Regime.YIELDING:
        _stop_yielding(st)
    return 0


@native
def _stop_yielding(st: int) -> int:
    """Sit beside the tracee."""
    _take_policy(st, u32(st + Place.POLICY))
    be_urgent(st, 1)
    put32(st + Place.REGIME, Regime.BESIDE)
    return 0


@native
def _give_up_yielding(st: int, now: int) -> int:
    """It does not pay here: try again later."""
    _stop_yielding(st)
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
        if whole and took > beside:
            _give_up_yielding(st, now)
        elif whole:
            backoff = u64(st + Place.BACKOFF_NS)
            put64(st + Place.BACKOFF_NS, backoff - (backoff >> _BACKOFF_DECAY))
        elif took > 2 * beside:
            if _delay(st) - u64(st + Place.DELAY_NS) > beside:
                _give_up_yielding(st, now)
            else:
                _stop_yielding(st)
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
        _roam(st)
    be_urgent(st, took < _BUSY_NS and u32(st + Place.REGIME) != Regime.YIELDING)
    return _new_window(st, now)
