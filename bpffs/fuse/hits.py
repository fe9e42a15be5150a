"""Tells the probes of the mount's own file operations: vfs_open, vfs_read, vfs_unlink and their kin.

Nothing is made or looked up unless somebody probes the function; then the hit is queued, never run here.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from engine.errors import KernelError

__all__ = ["Hits", "Operation", "Watch"]


class Hits(Protocol):
    """What `Machine.vfs` offers."""

    def armed(self, name: str) -> bool:
        """Whether somebody probes the function."""

    def hit(
        self,
        name: str,
        tid: int,
        uid: int,
        gid: int,
        path: str,
        ret: int,
        *,
        new_path: str = "",
        flags: int = 0,
        count: int = 0,
        pos: int = 0,
        start_ns: int = 0,
    ) -> None:
        """The operation has returned `ret`."""


class Operation:
    """One file operation: a context that reports what it returned, or the errno that it raised."""

    __slots__ = ("_start", "_tell", "ret")

    def __init__(self, tell: Callable[[int, int], None] | None) -> None:
        self._tell = tell
        self._start = time.monotonic_ns() if tell is not None else 0
        self.ret = 0

    def __enter__(self) -> "Operation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tell is not None:
            self._tell(-raised.errno if isinstance(raised, KernelError) else self.ret, self._start)


_UNSEEN = Operation(None)


class Watch:
    """What the requests of a mount on `directory` are reported to."""

    def __init__(self, hits: Hits, directory: str) -> None:
        self._hits = hits
        self._directory = directory

    def _full(self, path: str) -> str:
        return self._directory + path.rstrip("/")

    def operation(
        self,
        name: str,
        who: tuple[int, int, int],
        path: Callable[[], str],
        *,
        new_path: Callable[[], str] | None = None,
        flags: int = 0,
        count: int = 0,
        pos: int = 0,
    ) -> Operation:
        """The operation `name` by (thread, user, group) `who`; `path` is asked only if it is probed."""
        if not self._hits.armed(name):
            return _UNSEEN

        def tell(ret: int, start: int) -> None:
            self._hits.hit(
                name,
                *who,
                self._full(path()),
                ret,
                new_path=self._full(new_path()) if new_path is not None else "",
                flags=flags,
                count=count,
                pos=pos,
                start_ns=start,
            )

        return Operation(tell)
