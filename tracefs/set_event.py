"""set_event: enable and disable events by pattern (kernel/trace/trace_events.c, `ftrace_set_clr_event`)."""

import errno
import os
import re

from engine.errors import KernelError
from engine.kernfs import Caller, File, Handle, TextFile
from tracefs.context import Context
from tracefs.event import TraceEvent
from tracefs.events import Events

__all__ = ["SetEvent", "available_events"]


def available_events(events: Events) -> str:
    """The file available_events."""
    return "".join(f"{event.system}:{event.name}\n" for event in events.all() if event.can_enable)


class _SetEventHandle(Handle):
    """Reads as text; a write is taken as far as its words name events."""

    def __init__(self, file: "SetEvent", text: Handle) -> None:
        self._file = file
        self._text = text

    def read(self, offset: int, size: int) -> bytes:
        """What is enabled."""
        return self._text.read(offset, size)

    def write(self, offset: int, data: bytes) -> int:
        """How much was taken: all, or up to a word that names nothing. EINVAL when that is the first."""
        return self._file.store(data)


class SetEvent(File):
    """`[!][GROUP:][EVENT]`, several in a write. A name without a colon is a group or an event."""

    def __init__(self, mode: int, context: Context, events: Events) -> None:
        super().__init__(mode)
        self._context = context
        self._events = events
        self._text = TextFile(mode, self.text)

    def open(self, flags: int, caller: Caller) -> Handle:
        """Opening with O_TRUNC for writing disables everything."""
        if flags & os.O_TRUNC and flags & os.O_ACCMODE != os.O_RDONLY:
            for event in self._events.all():
                if event.can_enable:
                    event.set_enabled(False)
        return _SetEventHandle(self, self._text.open(flags, caller))

    def text(self) -> str:
        """What is enabled."""
        return "".join(f"{event.system}:{event.name}\n" for event in self._events.all() if event.attached)

    def store(self, data: bytes) -> int:
        """Apply the words of one write; bytes taken. EINVAL."""
        for word in re.finditer(r"\S+", data.split(b"\0", 1)[0].decode("latin-1")):
            try:
                self._apply(word[0])
            except KernelError:
                if not word.start():
                    raise
                return word.start()
        return len(data)

    def _apply(self, word: str) -> None:
        on = not word.startswith("!")
        matching = self._matching(word if on else word[1:])
        if not matching:
            raise KernelError(errno.EINVAL)
        with self._context.lock, self._context.machine.probes.batch():
            for event in matching:
                event.set_enabled(on)

    def _matching(self, pattern: str) -> list[TraceEvent]:
        """The events that a word names; of glob patterns Linux takes only a bare * here."""
        system, colon, name = pattern.partition(":")
        found = []
        for event in self._events.all():
            if not event.can_enable:
                continue
            if not colon:
                hit = pattern in (event.system, event.name)
            else:
                hit = system in ("", "*", event.system) and name in ("", "*", event.name)
            if hit:
                found.append(event)
        return found
