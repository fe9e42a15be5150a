"""Events of tracepoints: raw_syscalls, syscalls, sched, task. The modelled kernel lays their records out."""

import re
import struct
from collections.abc import Callable
from functools import cache

from engine.env import Env, poke32
from engine.jit.lang import memcpy, native, u32, u64, ult
from engine.kernel.tracepoints import Tracepoint, tracepoints
from engine.memory import round_up
from engine.probes.probe import Probe
from tracefs.context import Context
from tracefs.event import Formatter, TraceEvent
from tracefs.event_hit import Desc, event_commit, event_header, event_wanted
from tracefs.events import Events
from tracefs.fields import Field

__all__ = ["FIRST_TRACEPOINT_ID", "TracepointEvent", "add_tracepoints", "tracepoint_hit"]

FIRST_TRACEPOINT_ID = 100
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_CONVERSION = re.compile(r"%(?:l|ll|h|L)?[duxs]")


@native
def tracepoint_hit(env: int, data: int, event: int) -> int:
    """Handler of a tracepoint: the record at `data`, of `Env.RECORD_SIZE` bytes, is copied and committed."""
    if event_wanted(event) == 0:
        return 0
    record = u64(env + Env.SCRATCH)
    size = u64(env + Env.RECORD_SIZE)
    limit = u32(event + Desc.LIMIT)
    if limit != 0 and ult(limit, size):
        size = limit
    memcpy(record, data, size)
    event_header(env, record, u32(event + Desc.TYPE))
    return event_commit(env, event, record, size)


@cache
def _fields(row: Tracepoint) -> tuple[Field, ...]:
    """The row's fields with the length of an array apart from its name."""
    found = []
    for field in row.fields:
        name, bracket, length = field.name.partition("[")
        found.append(Field(field.type, name, field.offset, field.size, field.signed, bracket + length))
    return tuple(found)


class TracepointEvent(TraceEvent):
    """The event of one tracepoint. Its probe is registered while somebody listens."""

    def __init__(self, context: Context, row: Tracepoint, number: int) -> None:
        super().__init__(context, row.system, row.name, number, _fields(row), row.print_fmt)
        self._row = row
        self._probe: Probe | None = None
        self.formatter = self._first_format

    def _first_format(self, data: bytes) -> str:
        """Compile the formatter when the first record is rendered."""
        self.formatter = _syscall_format(self) if self.system == "syscalls" else _compile(self)
        return self.formatter(data)

    def attach(self, on: bool) -> None:
        """Register the probe and arm it, or take it away."""
        probes = self.context.machine.probes
        if on:
            if not any(field.type.startswith("__data_loc") for field in self.fields):
                poke32(self.address + Desc.LIMIT, round_up(self.fields[-1].offset + self.fields[-1].size, 8))
            self._probe = probes.register_tracepoint(self._row.id, tracepoint_hit.address, self.address)
            self._probe.enable()
        elif self._probe is not None:
            self._probe.unregister()
            self._probe = None


def _syscall_format(event: TracepointEvent) -> Formatter:
    """`sys_NAME(ARG: VALUE, ...)` and `sys_NAME -> 0xVALUE` (kernel/trace/trace_syscalls.c)."""
    direction, _, name = event.name.removeprefix("sys_").partition("_")
    values = event.fields[1:]
    unpack = struct.Struct(f"<{len(values)}Q").unpack_from
    if direction == "exit":
        template = f"sys_{name} -> 0x%x\n"
    else:
        template = f"sys_{name}(" + ", ".join(f"{field.name}: %x" for field in values) + ")\n"
    return lambda data: template % unpack(data, 16)


def _value(event: TraceEvent, expression: str) -> Callable[[bytes], int | str]:
    """What reads one argument of a print format out of a record."""
    text = expression.startswith("__get_str(")
    match = re.search(r"(?:REC->|__get_str\()(\w+)(?:\[(\d+)\])?", expression)
    assert match is not None, expression
    field = next(field for field in event.fields if field.name == match[1])
    if text:
        return lambda data: _string(data, field.offset)
    if field.type == "char" and field.suffix:
        return lambda data: (
            data[field.offset : field.offset + field.size].split(b"\0", 1)[0].decode("latin-1")
        )
    size = field.size if match[2] is None else 8
    code = _CODES[size].lower() if field.signed else _CODES[size]
    unpack = struct.Struct("<" + code).unpack_from
    at = field.offset + size * int(match[2] or 0)
    return lambda data: int(unpack(data, at)[0])


def _string(data: bytes, offset: int) -> str:
    location = int.from_bytes(data[offset : offset + 4], "little")
    start = location & 0xFFFF
    return data[start : start + (location >> 16)].split(b"\0", 1)[0].decode("latin-1")


def _compile(event: TracepointEvent) -> Formatter:
    """A formatter from a print format of plain conversions."""
    match = re.fullmatch(r'"(.*)", (.*)', event.print_fmt, re.DOTALL)
    assert match is not None, event.print_fmt
    template = f"{event.name}: " + _CONVERSION.sub(lambda found: "%" + found[0][-1], match[1]) + "\n"
    values = [_value(event, expression) for expression in match[2].split(", ")]
    return lambda data: template % tuple(value(data) for value in values)


def add_tracepoints(context: Context, events: Events) -> None:
    """List an event for every tracepoint of the modelled kernel."""
    for number, row in enumerate(reversed(tracepoints().values()), FIRST_TRACEPOINT_ID):
        events.add(TracepointEvent(context, row, number))
