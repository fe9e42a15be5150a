"""Records that are no hits: trace_marker, trace_marker_raw, and bpf_trace_printk's text."""

import ctypes
import errno
import struct
import threading
from pathlib import Path

from engine.env import TASK_COMM_LEN, Env, peek64, poke32, poke64
from engine.errors import KernelError
from engine.jit.lang import memcpy, native, put8, u32, u64
from engine.kernfs import Caller, File, Handle
from tracefs.context import Context
from tracefs.event import TraceEvent
from tracefs.event_hit import Desc, event_commit, event_header, event_wanted, record_write
from tracefs.events import Events
from tracefs.fields import COMMON_SIZE, Field

__all__ = ["MarkerFile", "MarkerWriter", "PrintkEvent", "printk_hit", "static_events"]

PRINT_ID = 5
RAW_DATA_ID = 18
PRINTK_ID = 30
_TEXT_MAX = 1024
"""Most bytes of a marker (TRACE_BUF_SIZE)."""
_TEXT_MIN = 9
"""Bytes that a marker's record has room for at least, for the text "<faulted>" (FAULTED_SIZE)."""
_RAW_MAX = 3072
"""Most bytes of a raw marker (RAW_DATA_MAX_SIZE)."""
_PRINTK_MAX = 1024
_PRINTK_SCRATCH = 16384
"""Where printed records are staged: a program may print while an event's record waits."""
_DATA_LOC_TEXT = COMMON_SIZE + 4
_ENTRY = struct.Struct("<HBBi")
_MARK = "tracing_mark_write"
_MARK_ADDRESS = 0xFFFF_FFFF_8120_0000


@native
def printk_hit(event: int, env: int, text: int, length: int) -> int:
    """Sink of bpf_trace_printk: `length` bytes of text without NUL become a record."""
    if event_wanted(event) == 0:
        return 0
    length = length if length < _PRINTK_MAX else _PRINTK_MAX
    record = u64(env + Env.SCRATCH) + _PRINTK_SCRATCH
    memcpy(record + _DATA_LOC_TEXT, text, length)
    put8(record + _DATA_LOC_TEXT + length, 0)
    event_header(env, record, u32(event + Desc.TYPE))
    put_location(record + COMMON_SIZE, length + 1)
    return event_commit(env, event, record, _DATA_LOC_TEXT + length + 1)


@native(inline=True)
def put_location(word: int, length: int) -> int:
    """A `__data_loc` of the text right behind it."""
    for shift in range(0, 32, 8):
        put8(word + (shift >> 3), (length << 16 | _DATA_LOC_TEXT) >> shift)
    return 0


class _PrintEvent(TraceEvent):
    """ftrace:print, what trace_marker writes."""

    can_enable = False

    def __init__(self, context: Context) -> None:
        fields = (
            Field("unsigned long", "ip", 8, 8, False),
            Field("char", "buf", 16, 0, True, "[]"),
        )
        super().__init__(context, "ftrace", "print", PRINT_ID, fields, '"%ps: %s", (void *)REC->ip, REC->buf')
        self.formatter = self._format

    @staticmethod
    def _format(data: bytes) -> str:
        text = data[16:].split(b"\0", 1)[0].decode("latin-1")
        return f"{_MARK}: {text}"


class _RawEvent(TraceEvent):
    """ftrace:raw_data, what trace_marker_raw writes."""

    can_enable = False

    def __init__(self, context: Context) -> None:
        fields = (
            Field("unsigned int", "id", 8, 4, False),
            Field("char", "buf", 12, 0, True, "[]"),
        )
        print_fmt = '"id:%04x %08x", REC->id, (int)REC->buf[0]'
        super().__init__(context, "ftrace", "raw_data", RAW_DATA_ID, fields, print_fmt)
        self.formatter = self._format

    @staticmethod
    def _format(data: bytes) -> str:
        return (
            f"# {int.from_bytes(data[8:12], 'little'):x} buf:"
            + "".join(f" {b:02x}" for b in data[12:])
            + "\n"
        )


class PrintkEvent(TraceEvent):
    """bpf_trace:bpf_trace_printk. On as soon as a program that may print is loaded (`printk_used`)."""

    def __init__(self, context: Context) -> None:
        fields = (Field("__data_loc char[]", "bpf_string", COMMON_SIZE, 4, True),)
        print_fmt = '"%s", __get_str(bpf_string)'
        super().__init__(context, "bpf_trace", "bpf_trace_printk", PRINTK_ID, fields, print_fmt)
        self.formatter = self._format

    @staticmethod
    def _format(data: bytes) -> str:
        location = int.from_bytes(data[8:12], "little")
        start, length = location & 0xFFFF, location >> 16
        return f"bpf_trace_printk: {data[start : start + length - 1].decode('latin-1')}\n"


def static_events(context: Context, events: Events) -> PrintkEvent:
    """List the events that are always there."""
    events.add(_PrintEvent(context))
    events.add(_RawEvent(context))
    printk = PrintkEvent(context)
    events.add(printk)
    return printk


class MarkerWriter:
    """Writes records on behalf of a process that asks through a file. One at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._env = context.machine.new_env()

    def _identify(self, tid: int) -> None:
        """Who and where: name, thread group and CPU of thread `tid`, as /proc tells."""
        name, group, cpu = b"", tid, 0
        try:
            text = Path(f"/proc/{tid}/stat").read_bytes()
            name = text[text.index(b"(") + 1 : text.rindex(b")")]
            cpu = int(text[text.rindex(b")") + 2 :].split()[36])
        except (OSError, ValueError, IndexError):
            cpu = 0
        poke64(self._env + Env.TIME_NS, self._context.machine.clock.now_ns())
        poke32(self._env + Env.CPU, cpu if cpu < self._context.buffer.nr_cpus else 0)
        poke32(self._env + Env.TID, tid)
        poke32(self._env + Env.TGID, group)
        padded = name[: TASK_COMM_LEN - 1].ljust(TASK_COMM_LEN, b"\0")
        ctypes.memmove(self._env + Env.COMM, padded, TASK_COMM_LEN)

    def write(self, caller: Caller, kind: int, body: bytes) -> None:
        """Write a record of type `kind`; `body` follows struct trace_entry. EBADF when it is not taken."""
        context = self._context
        record = _ENTRY.pack(kind, 0, 0, caller.tid) + body
        record += bytes(-len(record) % 4)
        with self._lock:
            self._identify(caller.tid)
            scratch = peek64(self._env + Env.SCRATCH)
            ctypes.memmove(scratch, record, len(record))
            buffer, names = context.buffer.address, context.cmdlines.address
            if (
                not context.buffer.recording
                or record_write(self._env, buffer, names, scratch, len(record)) < 0
            ):
                raise KernelError(errno.EBADF)


class _MarkerHandle(Handle):
    seekable = False

    def __init__(self, file: "MarkerFile", caller: Caller) -> None:
        self._file = file
        self._caller = caller

    def write(self, offset: int, data: bytes) -> int:
        """One marker a write."""
        return self._file.mark(self._caller, data)


class MarkerFile(File):
    """trace_marker, or trace_marker_raw when `raw`."""

    def __init__(self, mode: int, context: Context, writer: MarkerWriter, *, raw: bool = False) -> None:
        super().__init__(mode)
        self._context = context
        self._writer = writer
        self._raw = raw

    def open(self, flags: int, caller: Caller) -> Handle:
        """Open for writing; reading gives EINVAL."""
        return _MarkerHandle(self, caller)

    def mark(self, caller: Caller, data: bytes) -> int:
        """Take one write; how much was taken. EINVAL (markers are off, bad size), EBADF (not recording)."""
        if not self._context.options["markers"]:
            raise KernelError(errno.EINVAL)
        if self._raw:
            return self._mark_raw(caller, data)
        if not data:
            return 0
        text = data[:_TEXT_MAX]
        ended = text if text.endswith(b"\n") else text + b"\n"
        # Room is made for a line feed and a NUL, whether there is one already or not.
        room = max(len(text), _TEXT_MIN) + 2
        body = struct.pack("<Q", _MARK_ADDRESS) + ended.ljust(room, b"\0")
        self._writer.write(caller, PRINT_ID, body)
        return len(text)

    def _mark_raw(self, caller: Caller, data: bytes) -> int:
        if not 4 <= len(data) <= _RAW_MAX:
            raise KernelError(errno.EINVAL)
        taken = data[:_TEXT_MAX]
        self._writer.write(caller, RAW_DATA_ID, taken)
        return len(taken)
