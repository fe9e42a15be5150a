"""A trace event: name, id, fields, and the native descriptor that its hits go through."""

import errno
from collections.abc import Callable
from functools import cached_property

from engine.env import peek32, poke32, poke64
from engine.errors import KernelError
from tracefs.context import Context
from tracefs.event_hit import Desc, Flag
from tracefs.fields import Field, format_text
from tracefs.filters import EventFilter

__all__ = ["Formatter", "TraceEvent"]

Formatter = Callable[[bytes], str]
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
        self.attached = False
        """Whether it gets hits at all: it is enabled, or a trigger needs it."""
        self.soft_refs = 0
        """How many triggers need its hits or switch it (`sm_ref`)."""
        self.was_enabled = False
        """Whether there may be records of it in the ring."""
        self.removed = False
        self.formatter: Formatter = lambda data: f"{name}:\n"

    @cached_property
    def address(self) -> int:
        """The native descriptor, made when it is first needed."""
        address = self.context.machine.heap.alloc(Desc.SIZE)
        poke32(address + Desc.TYPE, self.id)
        poke64(address + Desc.BUFFER, self.context.buffer.address)
        poke64(address + Desc.CMDLINES, self.context.cmdlines.address)
        return address

    @cached_property
    def filter(self) -> EventFilter:
        """What hits must pass."""
        return EventFilter(self.context, self.address, self.fields)

    def attach(self, on: bool) -> None:
        """Start or stop hits of this event. Raises KernelError."""

    @property
    def enabled(self) -> bool:
        """Whether hits are recorded."""
        return self.attached and bool(peek32(self.address + Desc.FLAGS) & Flag.RECORD)

    def _attach(self, on: bool) -> None:
        self.attach(on)
        self.attached = on

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
            if on:
                self.context.expand()
                self.was_enabled = True
                poke32(self.address + Desc.FLAGS, Flag.RECORD)
                if not self.attached:
                    self._attach(True)
            elif self.attached:
                if not self.soft_refs:
                    self._attach(False)
                poke32(self.address + Desc.FLAGS, 0)

    def soft(self, on: bool) -> None:
        """A trigger needs the event, or no longer (`__ftrace_event_enable_disable` with soft_disable)."""
        with self.context.lock:
            self.soft_refs += 1 if on else -1
            if on and not self.attached:
                self.context.expand()
                self.was_enabled = True
                poke32(self.address + Desc.FLAGS, 0)
                self._attach(True)
            elif not on and not self.soft_refs and self.attached and not self.enabled:
                self._attach(False)

    def enable_text(self) -> str:
        """The file enable: 0 or 1, with * where a trigger listens as well."""
        return f"{int(self.enabled)}{'*' if self.soft_refs else ''}\n"

    def format_text(self) -> str:
        """The file format."""
        return format_text(self.name, self.id, self.fields, self.print_fmt)

    def release(self) -> None:
        """Give the descriptor back once no hit can use it."""
        self.filter.release()
        address = self.address
        self.context.machine.epoch.retire(lambda: self.context.machine.heap.free(address))
