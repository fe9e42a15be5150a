"""Where time comes from: a clock object, so that tests can hold it still."""

import time
from typing import Protocol

from engine.jit.lang import c_call, local, native, u64

__all__ = ["Clock", "MonotonicClock", "monotonic"]

_CLOCK_MONOTONIC = 1
_NS_PER_S = 1_000_000_000


@native
def monotonic() -> int:
    """CLOCK_MONOTONIC in nanoseconds, for native code."""
    now = local(16)
    c_call("clock_gettime", _CLOCK_MONOTONIC, now)
    return u64(now) * _NS_PER_S + u64(now + 8)


class Clock(Protocol):
    """A source of CLOCK_MONOTONIC time."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary start, never going back."""


class MonotonicClock:
    """The machine's own CLOCK_MONOTONIC."""

    def now_ns(self) -> int:
        """See `Clock`."""
        return time.monotonic_ns()
