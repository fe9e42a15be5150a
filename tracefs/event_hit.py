"""What an event does natively with a staged record: count it in or out, stamp it, write it to the ring.

event   u32 type | u32 flags | u64 buffer | u64 saved names | u64 filter | u64 triggers | u32 limit
"""

from enum import IntEnum

from engine.env import Env
from engine.jit.lang import call, load_acquire64, native, put8, put16, put32, u32, u64
from tracefs.clocks import record_time
from tracefs.cmdlines import cmdline_save
from tracefs.pids import pid_ignored
from tracefs.ring import ring_put
from tracefs.ring_layout import Buf

__all__ = ["Desc", "Flag", "event_commit", "event_header", "event_wanted", "record_write"]


class Desc(IntEnum):
    """Offsets in an event's native descriptor."""

    TYPE = 0
    FLAGS = 4
    """u32, see `Flag`; 0: nobody listens."""
    BUFFER = 8
    CMDLINES = 16
    FILTER = 24
    """u64, native match(env, filter, record) -> 0 or 1 at its start; 0: everything passes."""
    LIMIT = 40
    """u32, most bytes of a record of a tracepoint."""
    TRIGGERS = 32
    """u64, native run(env, triggers, record) -> 1 to go on at its start; 0: none."""
    SIZE = 64


class Flag(IntEnum):
    """Bits of `Desc.FLAGS`."""

    RECORD = 1
    """Hits are recorded: the event is enabled and not soft-disabled."""


@native
def event_wanted(event: int) -> int:
    """Whether a hit has to be staged at all."""
    if u64(event + Desc.TRIGGERS) != 0:
        return 1
    return u32(event + Desc.FLAGS) & Flag.RECORD and u32(u64(event + Desc.BUFFER) + Buf.RECORDING)


@native(inline=True)
def event_header(env: int, record: int, kind: int) -> int:
    """Fill in struct trace_entry."""
    put16(record, kind)
    put8(record + 2, 0)
    put8(record + 3, 0)
    put32(record + 4, u32(env + Env.TID))
    return 0


@native
def record_write(env: int, buffer: int, cmdlines: int, record: int, length: int) -> int:
    """Stamp and write a staged record; remembers the thread's name. As `ring_put`."""
    result = ring_put(buffer, u32(env + Env.CPU), record_time(buffer, env), record, length)
    if result == 0:
        cmdline_save(cmdlines, env)
    return result


@native
def event_commit(env: int, event: int, record: int, length: int) -> int:
    """Take a staged record through triggers and filter to the ring. 0, or -errno when it is not taken."""
    buffer = u64(event + Desc.BUFFER)
    recording = u32(buffer + Buf.RECORDING)
    flags = u32(event + Desc.FLAGS)
    triggers = load_acquire64(event + Desc.TRIGGERS)
    if triggers != 0 and call(u64(triggers), env, triggers, record) == 0:
        return 0
    if recording == 0 or flags & Flag.RECORD == 0 or pid_ignored(buffer, u32(env + Env.TID)):
        return 0
    match = load_acquire64(event + Desc.FILTER)
    if match != 0 and call(u64(match), env, match, record) == 0:
        return 0
    return record_write(env, buffer, u64(event + Desc.CMDLINES), record, length)
