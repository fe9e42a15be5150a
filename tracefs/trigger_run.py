"""Running an event's triggers natively, at the hit.

table     u64 run function | u64 number | u64 address of each trigger
trigger   u32 what it does | u64 count left (all bits set: no limit) | u64 filter | u64 target | u64 function
"""

from enum import IntEnum

from engine.jit.lang import atomic_and64, atomic_or64, call, native, put32, put64, u32, u64
from tracefs.event_hit import Desc, Flag
from tracefs.ring_layout import Buf

__all__ = ["TABLE_HEAD", "UNLIMITED", "Action", "Trigger", "trigger_run"]

TABLE_HEAD = 16
UNLIMITED = (1 << 64) - 1
_FLAGS_WORD = Desc.TYPE
_RECORD = Flag.RECORD << 32


class Trigger(IntEnum):
    """Offsets in a trigger."""

    ACTION = 0
    COUNT = 8
    FILTER = 16
    TARGET = 24
    """u64, the buffer, the event, or what is handed to `FUNCTION`."""
    FUNCTION = 32
    SIZE = 64


class Action(IntEnum):
    """What a trigger does."""

    TRACEON = 0
    TRACEOFF = 1
    ENABLE_EVENT = 2
    DISABLE_EVENT = 3
    CALL = 4
    """Calls native `FUNCTION(env, record, TARGET)`; 0 drops the record."""


@native
def switch_recording(trigger: int, on: int) -> int:
    """traceon and traceoff: nothing is counted when recording is so already."""
    buffer = u64(trigger + Trigger.TARGET)
    count = u64(trigger + Trigger.COUNT)
    if (u32(buffer + Buf.RECORDING) != 0) == on or count == 0:
        return 0
    if count != UNLIMITED:
        put64(trigger + Trigger.COUNT, count - 1)
    put32(buffer + Buf.RECORDING, on)
    return 0


@native
def switch_event(trigger: int, on: int) -> int:
    """enable_event and disable_event: the target's hits are recorded, or not."""
    event = u64(trigger + Trigger.TARGET)
    count = u64(trigger + Trigger.COUNT)
    if ((u64(event + _FLAGS_WORD) & _RECORD) != 0) == on or count == 0:
        return 0
    if count != UNLIMITED:
        put64(trigger + Trigger.COUNT, count - 1)
    if on:
        atomic_or64(event + _FLAGS_WORD, _RECORD)
    else:
        atomic_and64(event + _FLAGS_WORD, ~_RECORD)
    return 0


@native
def trigger_run(env: int, table: int, record: int) -> int:
    """Run all triggers whose filter the record passes; 0 if one of them wants it dropped."""
    keep = 1
    for i in range(0, u64(table + 8)):
        trigger = u64(table + TABLE_HEAD + i * 8)
        match = u64(trigger + Trigger.FILTER)
        if match != 0 and call(u64(match), env, match, record) == 0:
            continue
        action = u32(trigger + Trigger.ACTION)
        if action == Action.TRACEON or action == Action.TRACEOFF:
            switch_recording(trigger, action == Action.TRACEON)
        elif action == Action.CALL:
            if call(u64(trigger + Trigger.FUNCTION), env, record, u64(trigger + Trigger.TARGET)) == 0:
                keep = 0
        else:
            switch_event(trigger, action == Action.ENABLE_EVENT)
    return keep
