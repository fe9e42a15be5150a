"""Ids of maps, programs and links: ascending, never reused, not what keeps an object alive (lib/idr.c)."""

import errno
import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from engine.errors import KernelError

__all__ = ["Idr"]

T = TypeVar("T")


class Idr(Generic[T]):
    """Objects by id, from 1. An object's row goes when the object does: pins and descriptors own it.

    Objects must be weakly referenceable. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: weakref.WeakValueDictionary[int, T] = weakref.WeakValueDictionary()
        self._last = 0
        self.on_add: list[Callable[[T], None]] = []
        """Called with each new object, without locks."""

    def add(self, item: T) -> int:
        """Give `item` the next id."""
        with self._lock:
            self._last += 1
            number = self._last
            self._rows[number] = item
        for hook in self.on_add:
            hook(item)
        return number

    def remove(self, number: int) -> None:
        """Drop a row before its object dies; unknown ids are ignored."""
        with self._lock:
            self._rows.pop(number, None)

    def get(self, number: int) -> T:
        """The object with that id. Raises KernelError ENOENT."""
        found = self._rows.get(number)
        if found is None:
            raise KernelError(errno.ENOENT, f"no object with id {number}")
        return found

    def next_id(self, number: int) -> int:
        """The least id above `number`, as *_GET_NEXT_ID. Raises KernelError ENOENT after the last."""
        after = [row for row in list(self._rows) if row > number]
        if not after:
            raise KernelError(errno.ENOENT, f"no id above {number}")
        return min(after)

    def values(self) -> list[T]:
        """All live objects in order of their ids."""
        with self._lock:
            return [item for _, item in sorted(self._rows.items(), key=lambda row: row[0])]

    def __len__(self) -> int:
        return len(self._rows)
