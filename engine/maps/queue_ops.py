"""Native operations of BPF_MAP_TYPE_QUEUE and STACK (kernel/bpf/queue_stack_maps.c).

A ring of max_entries + 1 values under one lock: HEAD is where the next value goes, TAIL the oldest.
"""

import errno
from enum import IntEnum

from engine.abi.bpf import UpdateFlag
from engine.jit.lang import memcpy, memset, native, put32, u32, u64, ugt
from engine.maps.header import MapHdr
from engine.spin import spin_lock, spin_unlock

__all__ = [
    "QueueHdr",
    "queue_delete",
    "queue_peek",
    "queue_pop",
    "queue_push",
    "queue_update",
    "stack_peek",
    "stack_pop",
]

_INVALID = errno.EINVAL
_FULL = errno.E2BIG
_EMPTY = errno.ENOENT


class QueueHdr(IntEnum):
    """Offsets in the map's header."""

    HEAD = 256
    TAIL = 260
    LOCK = 264


@native(inline=True)
def _at(map: int, index: int) -> int:
    """Address of a slot."""
    return u64(map + MapHdr.DATA) + index * u32(map + MapHdr.ELEM_SIZE)


@native(inline=True)
def _after(map: int, index: int) -> int:
    """The slot after a slot."""
    return 0 if index == u32(map + MapHdr.MAX_ENTRIES) else index + 1


@native
def queue_push(env: int, map: int, value: int, flags: int) -> int:
    """Add a value; with EXIST the oldest makes room. -E2BIG (full), -EINVAL (flags)."""
    if flags & UpdateFlag.NOEXIST or ugt(flags, UpdateFlag.EXIST):
        return -_INVALID
    spin_lock(map + QueueHdr.LOCK)
    head = u32(map + QueueHdr.HEAD)
    following = _after(map, head)
    if following == u32(map + QueueHdr.TAIL):
        if flags != UpdateFlag.EXIST:
            spin_unlock(map + QueueHdr.LOCK)
            return -_FULL
        put32(map + QueueHdr.TAIL, _after(map, following))
    memcpy(_at(map, head), value, u32(map + MapHdr.VALUE_SIZE))
    put32(map + QueueHdr.HEAD, following)
    spin_unlock(map + QueueHdr.LOCK)
    return 0


@native
def _queue_get(map: int, value: int, take: int) -> int:
    """The oldest value. -ENOENT, with zeros."""
    spin_lock(map + QueueHdr.LOCK)
    tail = u32(map + QueueHdr.TAIL)
    result = 0
    if tail == u32(map + QueueHdr.HEAD):
        memset(value, 0, u32(map + MapHdr.VALUE_SIZE))
        result = -_EMPTY
    else:
        memcpy(value, _at(map, tail), u32(map + MapHdr.VALUE_SIZE))
        if take:
            put32(map + QueueHdr.TAIL, _after(map, tail))
    spin_unlock(map + QueueHdr.LOCK)
    return result


@native
def _stack_get(map: int, value: int, take: int) -> int:
    """The newest value. -ENOENT, with zeros."""
    spin_lock(map + QueueHdr.LOCK)
    head = u32(map + QueueHdr.HEAD)
    result = 0
    if head == u32(map + QueueHdr.TAIL):
        memset(value, 0, u32(map + MapHdr.VALUE_SIZE))
        result = -_EMPTY
    else:
        top = u32(map + MapHdr.MAX_ENTRIES) if head == 0 else head - 1
        memcpy(value, _at(map, top), u32(map + MapHdr.VALUE_SIZE))
        if take:
            put32(map + QueueHdr.HEAD, top)
    spin_unlock(map + QueueHdr.LOCK)
    return result


@native
def queue_pop(env: int, map: int, value: int) -> int:
    """Take the oldest value. -ENOENT."""
    return _queue_get(map, value, 1)


@native
def queue_peek(env: int, map: int, value: int) -> int:
    """Copy the oldest value. -ENOENT."""
    return _queue_get(map, value, 0)


@native
def stack_pop(env: int, map: int, value: int) -> int:
    """Take the newest value. -ENOENT."""
    return _stack_get(map, value, 1)


@native
def stack_peek(env: int, map: int, value: int) -> int:
    """Copy the newest value. -ENOENT."""
    return _stack_get(map, value, 0)


@native
def queue_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Queues have no keys: -EINVAL."""
    return -_INVALID


@native
def queue_delete(env: int, map: int, key: int) -> int:
    """Queues have no keys: -EINVAL."""
    return -_INVALID
