"""The registry of events: by id for whoever renders records, by group and name for the tree."""

import errno
import threading

from engine.errors import KernelError
from tracefs.event import TraceEvent

__all__ = ["FIRST_DYNAMIC_ID", "Events"]

FIRST_DYNAMIC_ID = 1500
"""Ids of events made at run time start here; static events are below."""
_LAST_ID = 65535


class Events:
    """All events, newest first, as available_events lists them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.by_id: dict[int, TraceEvent] = {}
        self._all: list[TraceEvent] = []
        self._next = FIRST_DYNAMIC_ID

    def allocate_id(self) -> int:
        """A number for a new event: numbers are not used again soon. ENODEV when there are no more."""
        with self._lock:
            for _ in range(FIRST_DYNAMIC_ID, _LAST_ID + 1):
                number = self._next
                self._next = FIRST_DYNAMIC_ID if number == _LAST_ID else number + 1
                if number not in self.by_id:
                    return number
        raise KernelError(errno.ENODEV)

    def add(self, event: TraceEvent) -> None:
        """List an event."""
        with self._lock:
            self.by_id[event.id] = event
            self._all.insert(0, event)

    def remove(self, event: TraceEvent) -> None:
        """Take an event off the list; its records in the ring can no longer be named."""
        with self._lock:
            del self.by_id[event.id]
            self._all.remove(event)

    def all(self) -> list[TraceEvent]:
        """Every event, newest first."""
        with self._lock:
            return list(self._all)

    def system(self, name: str) -> list[TraceEvent]:
        """The events of one group, newest first."""
        return [event for event in self.all() if event.system == name]

    def systems(self) -> list[str]:
        """The groups, oldest first."""
        return list(dict.fromkeys(event.system for event in reversed(self.all())))

    def find(self, system: str, name: str) -> TraceEvent | None:
        """The event `system`:`name`."""
        for event in self.all():
            if event.system == system and event.name == name:
                return event
        return None
