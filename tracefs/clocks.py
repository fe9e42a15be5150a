"""trace_clock: where the time of a record comes from (kernel/trace/trace.c, `trace_clocks`)."""

import time
from dataclasses import dataclass
from enum import IntEnum

from engine.env import Env, peek32
from engine.jit.lang import atomic_add64, c_call, local, native, u32, u64, udiv
from tracefs.ring_layout import Buf

__all__ = ["CLOCKS", "ClockId", "TraceClock", "current_time", "record_time"]

_JIFFY_NS = 10_000_000
_SECOND_NS = 1_000_000_000


class ClockId(IntEnum):
    """What `Buf.CLOCK` holds; positive numbers are a clockid_t of clock_gettime(2) shifted by 16."""

    HIT = 0
    """The time of the hit, CLOCK_MONOTONIC: what the machine's clock says."""
    COUNTER = 1
    UPTIME = 2
    MONO_RAW = 4 << 16
    BOOT = 7 << 16
    TAI = 11 << 16


@dataclass(frozen=True, slots=True)
class TraceClock:
    """A row of trace_clock. `in_ns`: shown as seconds and microseconds, else as a plain number."""

    name: str
    id: ClockId
    in_ns: bool = True


CLOCKS = (
    TraceClock("local", ClockId.HIT),
    TraceClock("global", ClockId.HIT),
    TraceClock("counter", ClockId.COUNTER, False),
    TraceClock("uptime", ClockId.UPTIME, False),
    TraceClock("perf", ClockId.HIT),
    TraceClock("mono", ClockId.HIT),
    TraceClock("mono_raw", ClockId.MONO_RAW),
    TraceClock("boot", ClockId.BOOT),
    TraceClock("tai", ClockId.TAI),
)


@native
def record_time(buffer: int, env: int) -> int:
    """Time for a record of the current hit, by the buffer's clock."""
    clock = u32(buffer + Buf.CLOCK)
    if clock == ClockId.HIT:
        return u64(env + Env.TIME_NS)
    if clock == ClockId.COUNTER:
        return atomic_add64(buffer + Buf.COUNTER, 1) + 1
    if clock == ClockId.UPTIME:
        return udiv(u64(env + Env.TIME_NS), _JIFFY_NS)
    now = local(16)
    c_call("clock_gettime", clock >> 16, now)
    return u64(now) * _SECOND_NS + u64(now + 8)


def current_time(buffer: int, now_ns: int) -> int:
    """The buffer's time now, for statistics; `now_ns` is the machine's clock."""
    clock = peek32(buffer + Buf.CLOCK)
    if clock == ClockId.UPTIME:
        return now_ns // _JIFFY_NS
    if clock >> 16:
        return time.clock_gettime_ns(clock >> 16)
    return now_ns
