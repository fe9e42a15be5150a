"""The tree under events/: groups and events come and go, the nodes of one stay the same while it lives."""

import errno
from collections.abc import Callable, Iterable

from engine.errors import KernelError
from engine.kernfs import Dir, File, Node, TextFile
from tracefs.event import TraceEvent
from tracefs.events import Events
from tracefs.group_filter import HELP, store_group_filter
from tracefs.ktext import kstrtoul_from_user
from tracefs.ring_layout import BUF_PAGE_SIZE

__all__ = ["EventsDir"]

_HEADER_PAGE = (
    "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
    f"\tfield: char data;\toffset:16;\tsize:{BUF_PAGE_SIZE};\tsigned:1;\n"
)
_HEADER_EVENT = (
    "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n"
    "\tarray       :   32 bits\n\n\tpadding     : type == 29\n\ttime_extend : type == 30\n"
    "\ttime_stamp : type == 31\n\tdata max type_len  == 28\n"
)


def _zero_or_one(data: bytes) -> bool:
    value = kstrtoul_from_user(data)
    if value > 1:
        raise KernelError(errno.EINVAL)
    return bool(value)


def _group_state(events: Iterable[TraceEvent]) -> str:
    """0, 1 or X for a mixture (`system_enable_read`); ? without events."""
    states = {event.attached for event in events if event.can_enable}
    return "?\n" if not states else "X\n" if len(states) > 1 else f"{int(states.pop())}\n"


class _EventDir(Dir):
    """events/GROUP/EVENT."""

    def __init__(self, event: TraceEvent, extra: dict[str, Node]) -> None:
        super().__init__(0o750)
        self._event = event
        self._table: dict[str, Node] = {}
        if event.can_enable:
            self._table["enable"] = TextFile(0o640, event.enable_text, self._store_enable)
            self._table["filter"] = TextFile(0o640, self._alive(event.filter.text), event.set_filter)
            self._table |= extra
        self._table |= {
            "format": TextFile(0o440, self._alive(lambda: event.format_text().encode("latin-1"))),
            "id": TextFile(0o440, self._alive(lambda: f"{event.id}\n")),
        }

    def _store_enable(self, data: bytes) -> None:
        self._event.set_enabled(_zero_or_one(data))

    def _alive(self, show: Callable[[], str | bytes]) -> Callable[[], str | bytes]:
        def checked() -> str | bytes:
            if self._event.removed:
                raise KernelError(errno.ENODEV)
            return show()

        return checked

    def entries(self) -> Iterable[tuple[str, Node]]:
        """Nothing any more once the event is gone."""
        return [] if self._event.removed else list(self._table.items())


class _GroupDir(Dir):
    """events/GROUP. An event whose name a file of the group has is not shown."""

    def __init__(self, owner: "EventsDir", name: str) -> None:
        super().__init__(0o750)
        self._owner = owner
        self._name = name
        self._table: dict[str, Node] = {
            "enable": TextFile(0o640, lambda: _group_state(self._events()), self._store),
            "filter": TextFile(0o640, lambda: HELP, lambda data: store_group_filter(self._events, data)),
        }

    def _events(self) -> list[TraceEvent]:
        return self._owner.events.system(self._name)

    def _store(self, data: bytes) -> None:
        on = _zero_or_one(data)
        events = self._events()
        if not events:
            raise KernelError(errno.ENODEV)
        _enable_all(events, on)

    def entries(self) -> Iterable[tuple[str, Node]]:
        """Its files, then its events."""
        events = self._events()
        if not events:
            return []
        files = list(self._table.items()) if any(event.can_enable for event in events) else []
        return files + [
            (event.name, self._owner.event_dir(event)) for event in events if event.name not in self._table
        ]


def _enable_all(events: Iterable[TraceEvent], on: bool) -> None:
    """Enable or disable; the first error is reported after all have been tried."""
    failed: KernelError | None = None
    for event in events:
        try:
            if event.can_enable:
                event.set_enabled(on)
        except KernelError as error:
            failed = failed or error
    if failed is not None:
        raise failed


class EventsDir(Dir):
    """events/. `event_extra` makes the further files of an event."""

    def __init__(self, events: Events, event_extra: Callable[[TraceEvent], dict[str, Node]]) -> None:
        super().__init__(0o750)
        self.events = events
        self._event_extra = event_extra
        self._groups: dict[str, _GroupDir] = {}
        self._dirs: dict[TraceEvent, _EventDir] = {}
        self._table: dict[str, File] = {
            "enable": TextFile(0o640, lambda: _group_state(events.all()), self._store),
            "header_event": TextFile(0o440, lambda: _HEADER_EVENT),
            "header_page": TextFile(0o440, lambda: _HEADER_PAGE),
        }

    def _store(self, data: bytes) -> None:
        _enable_all(self.events.all(), _zero_or_one(data))

    def event_dir(self, event: TraceEvent) -> Dir:
        """The directory of one event."""
        found = self._dirs.get(event)
        if found is None:
            self._dirs = {known: node for known, node in self._dirs.items() if not known.removed}
            found = self._dirs[event] = _EventDir(event, self._event_extra(event))
        return found

    def entries(self) -> Iterable[tuple[str, Node]]:
        """Its files, then one directory a group."""
        systems = self.events.systems()
        self._groups = {name: node for name, node in self._groups.items() if name in systems}
        for name in systems:
            if name not in self._groups:
                self._groups[name] = _GroupDir(self, name)
        groups = [(name, self._groups[name]) for name in systems if name not in self._table]
        return [*self._table.items(), *groups]
