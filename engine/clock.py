"""Where time comes from: a clock object, so that tests can hold it still."""

import time
from typing import Protocol

__all__ = ["Clock", "MonotonicClock"]


class Clock(Protocol):
    """A source of CLOCK_MONOTONIC time."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary start, never going back."""


class MonotonicClock:
    """The machine's own CLOCK_MONOTONIC."""

    def now_ns(self) -> int:
        """See `Clock`."""
        return time.monotonic_ns()
