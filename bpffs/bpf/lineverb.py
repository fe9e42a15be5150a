"""The verb that takes a line: `echo 'type hash key 4 value 8 entries 64' > NAME.map` creates a map.

A write is taken at once, so that its error is that of write(2): shells do not look at what close(2) says.
Any number may have it open: FUSE tells of a close only after who closed it goes on, perhaps to try again.
"""

import errno
import threading
from collections.abc import Callable

from engine.errors import KernelError
from engine.kernfs import Caller, File, Handle

__all__ = ["LineVerb"]

MOST_BYTES = 4096
"""The longest line; more is E2BIG."""


class LineVerb(File):
    """A file; one write of each who opens it is given to `use`, `done` is called when nobody has it open."""

    slow = True

    def __init__(self, use: Callable[[bytes], None], done: Callable[[], None], caller: Caller) -> None:
        super().__init__(0o200, caller.uid, caller.gid)
        self._use = use
        self._done = done
        self._lock = threading.Lock()
        self._open = 0

    def open(self, flags: int, caller: Caller) -> Handle:
        """A handle of its own for everybody."""
        with self._lock:
            self._open += 1
        return _LineHandle(self._use, self._close)

    def _close(self) -> None:
        with self._lock:
            self._open -= 1
            last = not self._open
        if last:
            self._done()

    def truncate(self, size: int) -> None:
        """There is nothing to cut off."""


class _LineHandle(Handle):
    def __init__(self, use: Callable[[bytes], None], close: Callable[[], None]) -> None:
        self._use = use
        self._close = close
        self._used = False

    def write(self, offset: int, data: bytes) -> int:
        """Raises KernelError: E2BIG, EBUSY once a line was taken, and what using it raises."""
        if len(data) > MOST_BYTES:
            raise KernelError(errno.E2BIG)
        if self._used:
            raise KernelError(errno.EBUSY, "a line was taken already")
        self._use(data)
        self._used = True
        return len(data)

    def release(self) -> None:
        self._close()
