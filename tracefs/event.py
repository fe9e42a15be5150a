"""A trace event: name, id, fields, and the native descriptor that its hits go through."""

import errno
from collections.abc import Callable

from engine.env import peek32, poke32, poke64
from engine.errors import KernelError
from tracefs.context import Context
from tracefs.event_hit import Desc, Flag
from tracefs.fields import Field, format_text
from tracefs.filters import EventFilter

__all__ = ["Formatter", "TraceEvent"]

Formatter = Callable[[memoryview], str]
"""Turns a record into the line behind the time stamp, with its newline."""


class TraceEvent:
    """`struct trace_event_call` with its state (`trace_event_file`). The context's lock guards changes.

    `can_enable`: has files enable and filter; events of group ftrace have not.
    """

    can_enable = True

    def __init__(
        self, context: Context, system: str, name: str, number: int, fields: tuple[Field, ...], print_fmt: str
    ) -> None:
        self.context = context
        self.system = system
        self.name = name
        self.id = number
        self.fields = fields
        self.print_fmt = print_fmt
        self.enabled = False
        self.removed = False
        self.triggers = 0
        """How many triggers need the event's hits."""
        self.soft_enabled: bool | None = None
        """What a trigger enable_event or disable_event has made of it; None: no such trigger."""
        self.address = context.machine.heap.alloc(Desc.SIZE)
        poke32(self.address + Desc.TYPE, number)
        poke64(self.address + Desc.BUFFER, context.buffer.address)
        poke64(self.address + Desc.CMDLINES, context.cmdlines.address)
        self.filter = EventFilter(context, self.address, fields)
        self.formatter: Formatter = lambda data: f"{name}:\n"

    def attach(self, on: bool) -> None:
        """Start or stop hits of this event. Raises KernelError."""

    @property
    def busy(self) -> bool:
        """Whether it may not be removed."""
        return self.enabled or self.triggers > 0

    @property
    def listening(self) -> bool:
        """Whether hits are wanted now."""
        return bool(peek32(self.address + Desc.FLAGS))

    def set_filter(self, data: bytes) -> None:
        """`filter`. ENODEV when the event is gone; FilterError."""
        with self.context.lock:
            if self.removed:
                raise KernelError(errno.ENODEV)
            self.filter.store(data)

    def set_enabled(self, on: bool) -> None:
        """`enable`. ENODEV when the event is gone."""
        with self.context.lock:
            if self.removed:
                raise KernelError(errno.ENODEV)
            if on != self.enabled:
                if on:
                    self.context.expand()
                self._listen(on, self.triggers)

    def set_triggers(self, count: int) -> None:
        """Say how many triggers listen."""
        with self.context.lock:
            self._listen(self.enabled, count)

    def _listen(self, enabled: bool, triggers: int) -> None:
        """Publish what is wanted, then attach or detach."""
        wanted = (Flag.ENABLED if enabled else 0) | (Flag.TRIGGERED if triggers else 0)
        before = self.listening
        if wanted and not before:
            poke32(self.address + Desc.FLAGS, wanted)
            try:
                self.attach(True)
            except KernelError:
                poke32(self.address + Desc.FLAGS, 0)
                raise
        elif before and not wanted:
            self.attach(False)
        poke32(self.address + Desc.FLAGS, wanted)
        self.enabled = enabled
        self.triggers = triggers

    def enable_text(self) -> str:
        """The file enable: 0 or 1, with * where a trigger listens as well."""
        return f"{int(self.enabled)}{'*' if self.triggers else ''}\n"

    def format_text(self) -> str:
        """The file format."""
        return format_text(self.name, self.id, self.fields, self.print_fmt)

    def release(self) -> None:
        """Give the descriptor back once no hit can use it."""
        self.filter.release()
        address = self.address
        self.context.machine.epoch.retire(lambda: self.context.machine.heap.free(address))
