"""What an event does natively with a staged record: count it in or out, stamp it, write it to the ring.

event   u32 type | u32 flags | u64 buffer | u64 saved names | u64 filter | u64 triggers
"""

from enum import IntEnum

from engine.env import Env
from engine.jit.lang import call, load_acquire64, native, put8, put16, put32, u32, u64
from tracefs.clocks import record_time
from tracefs.cmdlines import cmdline_save
from tracefs.ring import ring_write
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
    TRIGGERS = 32
    """u64, native run(env, triggers, record) -> 1 to go on at its start; 0: none."""
    SIZE = 64


class Flag(IntEnum):
    """Bits of `Desc.FLAGS`."""

    ENABLED = 1
    TRIGGERED = 2


@native
def event_wanted(event: int) -> int:
    """Whether a hit has to be staged at all."""
    flags = u32(event + Desc.FLAGS)
    if flags & Flag.TRIGGERED:
        return 1
    return 1 if flags & Flag.ENABLED and u32(u64(event + Desc.BUFFER) + Buf.RECORDING) else 0


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
    """Stamp and write a staged record; remembers the thread's name. As `ring_write`."""
    result = ring_write(buffer, u32(env + Env.CPU), record_time(buffer, env), record, length)
    if result == 0:
        cmdline_save(cmdlines, env)
    return result


@native
def event_commit(env: int, event: int, record: int, length: int) -> int:
    """Take a staged record through triggers and filter to the ring. 0, or -errno when it is not taken."""
    triggers = load_acquire64(event + Desc.TRIGGERS)
    if triggers != 0 and call(u64(triggers), env, triggers, record) == 0:
        return 0
    if u32(event + Desc.FLAGS) & Flag.ENABLED == 0:
        return 0
    match = load_acquire64(event + Desc.FILTER)
    if match != 0 and call(u64(match), env, match, record) == 0:
        return 0
    return record_write(env, u64(event + Desc.BUFFER), u64(event + Desc.CMDLINES), record, length)
