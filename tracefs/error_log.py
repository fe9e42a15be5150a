"""error_log: the last eight commands that were not understood, each with a caret under its fault.

[  265.993130] trace_kprobe: error: Invalid probed address or symbol
  Command: p:a nosuchsym
               ^
"""

import errno
import threading
from collections import deque

from engine.clock import Clock
from engine.errors import KernelError

__all__ = ["ErrorLog", "ProbeLog"]

_KEEP = 8
_LONGEST = 4096


class ErrorLog:
    """The entries, oldest first (TRACING_LOG_ERRS_MAX of them)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: deque[str] = deque(maxlen=_KEEP)

    def add(self, subsystem: str, command: str, message: str, position: int) -> None:
        """Log `message` about `command`, whose fault is at character `position` (`tracing_log_err`)."""
        if len(command) >= _LONGEST:
            command = ""
        micros = self._clock.now_ns() // 1000
        stamp = f"[{micros // 1_000_000:5}.{micros % 1_000_000:06}]"
        caret = " " * (len("  Command: ") + position) + "^"
        with self._lock:
            self._entries.append(f"{stamp} {subsystem}: error: {message}\n  Command: {command}\n{caret}\n")

    def text(self) -> bytes:
        """The file's content."""
        with self._lock:
            return "".join(self._entries).encode("latin-1")

    def clear(self) -> None:
        """What opening for writing with O_TRUNC does."""
        with self._lock:
            self._entries.clear()


class ProbeLog:
    """Where the parser of one command stands: an error points at the right word (`trace_probe_log`)."""

    def __init__(self, log: ErrorLog, subsystem: str, argv: list[str]) -> None:
        self._log = log
        self._subsystem = subsystem
        self._argv = argv
        self.index = 0

    def error(self, offset: int, message: str, number: int = errno.EINVAL) -> KernelError:
        """Log `message` at `offset` in the current word; the exception for the caller to raise."""
        if self.index < len(self._argv):
            position = sum(len(word) + 1 for word in self._argv[: self.index]) + offset
        else:
            position = sum(len(word) + 1 for word in self._argv)
        self._log.add(self._subsystem, " ".join(self._argv), message, position)
        return KernelError(number, message)
