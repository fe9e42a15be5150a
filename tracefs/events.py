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
    """All events. Lists are newest first, as available_events is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.by_id: dict[int, TraceEvent] = {}
        self._systems: dict[str, dict[str, TraceEvent]] = {}
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
            self._systems.setdefault(event.system, {})[event.name] = event

    def remove(self, event: TraceEvent) -> None:
        """Take an event off the list; its records in the ring can no longer be named."""
        with self._lock:
            del self.by_id[event.id]
            events = self._systems[event.system]
            del events[event.name]
            if not events:
                del self._systems[event.system]

    def all(self) -> list[TraceEvent]:
        """Every event, newest first."""
        with self._lock:
            return list(reversed(self.by_id.values()))

    def system(self, name: str) -> list[TraceEvent]:
        """The events of one group, newest first."""
        with self._lock:
            return list(reversed(self._systems.get(name, {}).values()))

    def systems(self) -> list[str]:
        """The groups, oldest first."""
        with self._lock:
            return list(self._systems)

    def find(self, system: str, name: str) -> TraceEvent | None:
        """The event `system`:`name`."""
        return self._systems.get(system, {}).get(name)
