"""The tree under events/: groups and events come and go, the nodes of one stay the same while it lives."""

import errno
from collections.abc import Callable, Iterable
from contextlib import nullcontext

from engine.errors import KernelError
from engine.kernfs import Caller, Dir, File, Node, TextFile
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
        self._files: dict[str, Node] = {
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

    @property
    def _table(self) -> dict[str, Node]:
        """Its files; group ftrace has none, its events cannot be enabled."""
        return self._files if any(event.can_enable for event in self._events()[:1]) else {}

    def lookup(self, name: str, caller: Caller) -> Node:
        """A file, or an event's directory."""
        found = self._table.get(name)
        if found is not None:
            return found
        event = self._owner.events.find(self._name, name)
        if event is None:
            raise KernelError(errno.ENOENT)
        return self._owner.event_dir(event)

    def entries(self) -> Iterable[tuple[str, Node]]:
        """Its files, then its events."""
        table, owner = self._table, self._owner
        shown = [(event.name, owner.event_dir(event)) for event in self._events() if event.name not in table]
        return [*table.items(), *shown]

    @property
    def nlink(self) -> int:
        """Two and one for each event."""
        events = self._events()
        hidden = sum(self._owner.events.find(self._name, name) is not None for name in self._table)
        return 2 + len(events) - hidden


def _enable_all(events: Iterable[TraceEvent], on: bool) -> None:
    """Enable or disable; the first error is reported after all have been tried."""
    failed: KernelError | None = None
    able = [event for event in events if event.can_enable]
    with able[0].context.machine.probes.batch() if able else nullcontext():
        for event in able:
            try:
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
            if len(self._dirs) > 2 * len(self.events.by_id):
                self._dirs = {known: node for known, node in self._dirs.items() if not known.removed}
            found = self._dirs[event] = _EventDir(event, self._event_extra(event))
        return found

    def _group(self, name: str) -> _GroupDir:
        if name not in self._groups:
            self._groups[name] = _GroupDir(self, name)
        return self._groups[name]

    def lookup(self, name: str, caller: Caller) -> Node:
        """A file, or a group's directory."""
        found = self._table.get(name)
        if found is not None:
            return found
        if not self.events.system(name):
            self._groups.pop(name, None)
            raise KernelError(errno.ENOENT)
        return self._group(name)

    def entries(self) -> Iterable[tuple[str, Node]]:
        """Its files, then one directory a group."""
        systems = [name for name in self.events.systems() if name not in self._table]
        return [*self._table.items(), *((name, self._group(name)) for name in systems)]

    @property
    def nlink(self) -> int:
        """Two and one for each group."""
        return 2 + sum(name not in self._table for name in self.events.systems())
