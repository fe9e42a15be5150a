"""Triggers of events: the file `trigger` and its commands (kernel/trace/trace_events_trigger.c).

COMMAND[:PARAMETERS][:COUNT] [if FILTER], !COMMAND... removes
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass

from engine.env import peek64, poke32, poke64
from engine.epoch import publish
from engine.errors import KernelError
from tracefs.event import TraceEvent
from tracefs.event_hit import Desc
from tracefs.events import Events
from tracefs.filter_parse import parse_filter
from tracefs.filters import CompiledFilter
from tracefs.ktext import c_string, kstrtoul
from tracefs.trigger_run import TABLE_HEAD, UNLIMITED, Action, Trigger, trigger_run

__all__ = ["Command", "Parsed", "Triggers"]

_PAGE = 4096
_SPACE = " \t"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a command makes of its parameters.

    key: triggers with the same key exclude each other. text: how it reads back, without count and filter.
    target and function: for the native trigger. number: the count's digits, "" for none.
    """

    key: object
    text: str
    action: Action
    target: int
    number: str = ""
    function: int = 0
    counted: bool = True
    """Whether a count can be given and is shown."""
    keep: object = None
    """What has to live as long as the trigger."""
    registered: Callable[[], None] = lambda: None
    removed: Callable[[], None] = lambda: None


Command = Callable[[TraceEvent, str | None], Parsed]
"""Parses the parameters (None: there are none) of a trigger of an event. Raises KernelError."""


class _Set:
    """A trigger that is set."""

    def __init__(self, event: TraceEvent, parsed: Parsed, count: int, condition: str) -> None:
        heap = event.context.machine.heap
        self.parsed = parsed
        self.condition = condition
        self.filter = CompiledFilter(heap, parse_filter(condition, event.fields)) if condition else None
        self.address = heap.alloc(Trigger.SIZE)
        poke32(self.address + Trigger.ACTION, parsed.action)
        poke64(self.address + Trigger.COUNT, count)
        poke64(self.address + Trigger.FILTER, self.filter.address if self.filter else 0)
        poke64(self.address + Trigger.TARGET, parsed.target)
        poke64(self.address + Trigger.FUNCTION, parsed.function)

    def text(self) -> str:
        """Its line of the file."""
        count = peek64(self.address + Trigger.COUNT)
        limit = ":unlimited" if count == UNLIMITED else f":count={count}"
        return (
            self.parsed.text
            + (limit if self.parsed.counted else "")
            + (f" if {self.condition}" if self.condition else "")
            + "\n"
        )


class Triggers:
    """The triggers of all events. `commands` may be added to: name -> `Command`."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._set: dict[TraceEvent, list[_Set]] = {}
        self.commands: dict[str, Command] = {
            "traceon": _switch("traceon", Action.TRACEON),
            "traceoff": _switch("traceoff", Action.TRACEOFF),
            "enable_event": self._switch_event("enable_event", Action.ENABLE_EVENT),
            "disable_event": self._switch_event("disable_event", Action.DISABLE_EVENT),
        }

    def text(self, event: TraceEvent) -> bytes:
        """The file: what is set, newest first, or what could be."""
        found = self._set.get(event)
        if not found:
            return f"# Available triggers:\n# {' '.join(self.commands)}\n".encode()
        return "".join(trigger.text() for trigger in found).encode("latin-1")

    def store(self, event: TraceEvent, data: bytes) -> None:
        """One write. EINVAL for what is not understood, EEXIST for a second of a kind, filter errors."""
        if len(data) >= _PAGE:
            raise KernelError(errno.EINVAL)
        text = c_string(data).strip()
        with event.context.lock:
            if event.removed:
                raise KernelError(errno.ENODEV)
            self._process(event, text)

    def _process(self, event: TraceEvent, text: str) -> None:
        """`trigger_process_regex`."""
        end = next((i for i, char in enumerate(text) if char in ": \t"), len(text))
        name, rest = text[:end], text[end + 1 :].lstrip() or None
        remove = name.startswith("!")
        command = self.commands.get(name.removeprefix("!"))
        if command is None:
            raise KernelError(errno.EINVAL)
        if rest is None or (rest.startswith("if") and rest[2:3] in _SPACE):
            parameters, condition = None, rest
        else:
            end = next((i for i, char in enumerate(rest) if char in _SPACE), len(rest))
            parameters, condition = rest[:end], rest[end:].lstrip() or None
        parsed = command(event, parameters)
        if remove:
            self._remove(event, parsed)
            return
        count = kstrtoul(parsed.number, 0) if parsed.number else UNLIMITED
        self._add(event, parsed, count, _condition(condition))

    def _add(self, event: TraceEvent, parsed: Parsed, count: int, condition: str) -> None:
        found = self._set.setdefault(event, [])
        if any(trigger.parsed.key == parsed.key for trigger in found):
            raise KernelError(errno.EEXIST)
        trigger = _Set(event, parsed, count, condition)
        parsed.registered()
        found.insert(0, trigger)
        self._publish(event)
        event.soft(True)

    def _remove(self, event: TraceEvent, parsed: Parsed) -> None:
        """Take the trigger of the same kind off, if there is one."""
        found = self._set.get(event, [])
        trigger = next((each for each in found if each.parsed.key == parsed.key), None)
        if trigger is None:
            return
        found.remove(trigger)
        self._publish(event)
        event.soft(False)
        trigger.parsed.removed()
        machine = event.context.machine
        machine.epoch.retire(lambda: machine.heap.free(trigger.address))
        if trigger.filter is not None:
            machine.epoch.retire(trigger.filter.free)

    def remove_all(self) -> None:
        """Take all triggers off."""
        for event, found in list(self._set.items()):
            for trigger in list(found):
                self._remove(event, trigger.parsed)

    def _publish(self, event: TraceEvent) -> None:
        """Give hits a new table."""
        machine = event.context.machine
        found = self._set[event]
        table = machine.heap.alloc(TABLE_HEAD + 8 * len(found)) if found else 0
        if table:
            poke64(table, trigger_run.address)
            poke64(table + 8, len(found))
            for index, trigger in enumerate(found):
                poke64(table + TABLE_HEAD + 8 * index, trigger.address)
        old = publish(event.address + Desc.TRIGGERS, table)
        if old:
            machine.epoch.retire(lambda: machine.heap.free(old))
        if not found:
            del self._set[event]

    def _switch_event(self, name: str, action: Action) -> Command:
        """enable_event:GROUP:EVENT[:COUNT] and disable_event."""

        def parse(event: TraceEvent, parameters: str | None) -> Parsed:
            system, colon, rest = (parameters or "").partition(":")
            wanted, _, number = rest.partition(":")
            target = self._events.find(system, wanted) if colon else None
            if target is None or not target.can_enable:
                raise KernelError(errno.EINVAL)
            return Parsed(
                key=("enable", target.id),
                text=f"{name}:{system}:{wanted}",
                action=action,
                target=target.address,
                number=number.split(":")[0],
                registered=lambda: target.soft(True),
                removed=lambda: target.soft(False),
            )

        return parse


def _switch(name: str, action: Action) -> Command:
    """traceon[:COUNT] and traceoff: of one kind, so that an event has only one of them."""

    def parse(event: TraceEvent, parameters: str | None) -> Parsed:
        number = (parameters or "").split(":")[0]
        return Parsed("onoff", name, action, event.context.buffer.address, number)

    return parse


def _condition(text: str | None) -> str:
    """The filter behind `if`. EINVAL without one."""
    if text is None:
        return ""
    word, _, rest = text.replace("\t", " ", 1).partition(" ")
    if word != "if" or not rest.strip():
        raise KernelError(errno.EINVAL)
    return rest
