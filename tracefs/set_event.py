"""set_event: enable and disable events by pattern (kernel/trace/trace_events.c, `ftrace_set_clr_event`)."""

import errno

from engine.errors import KernelError
from tracefs.context import Context
from tracefs.event import TraceEvent
from tracefs.events import Events

__all__ = ["SetEvent"]


class SetEvent:
    """`[!][GROUP:][EVENT]`, several in a write. A name without a colon is a group or an event."""

    def __init__(self, context: Context, events: Events) -> None:
        self._context = context
        self._events = events

    def text(self) -> str:
        """What is enabled."""
        enabled = [event for event in self._events.all() if event.attached]
        return "".join(f"{event.system}:{event.name}\n" for event in enabled)

    def available(self) -> str:
        """available_events."""
        listed = [event for event in self._events.all() if event.can_enable]
        return "".join(f"{event.system}:{event.name}\n" for event in listed)

    def clear(self) -> None:
        """What opening with O_TRUNC does: disable everything."""
        for event in self._events.all():
            if event.can_enable:
                event.set_enabled(False)

    def write(self, data: bytes) -> None:
        """Words of one write, up to the first that matches nothing. EINVAL."""
        for word in data.split(b"\0", 1)[0].decode("latin-1").split():
            self._apply(word)

    def _apply(self, word: str) -> None:
        on = not word.startswith("!")
        matching = self._matching(word if on else word[1:])
        if not matching:
            raise KernelError(errno.EINVAL)
        with self._context.lock:
            for event in matching:
                event.set_enabled(on)

    def _matching(self, pattern: str) -> list[TraceEvent]:
        """The events that a word names; group and event may be glob patterns as far as Linux allows."""
        system, colon, name = pattern.partition(":")
        found = []
        for event in self._events.all():
            if not event.can_enable:
                continue
            if not colon:
                hit = pattern in (event.system, event.name)
            else:
                hit = (system in ("", "*") or event.system == system) and (
                    name in ("", "*") or event.name == name
                )
            if hit:
                found.append(event)
        return found
