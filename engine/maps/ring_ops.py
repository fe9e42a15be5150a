"""Native operations of BPF_MAP_TYPE_RINGBUF (kernel/bpf/ringbuf.c).

    memory  page 0: consumer position   page 1: producer position   then the data, twice as long as the ring
    record  +0 length u32 | BUSY | DISCARD   +4 page offset u32   +8 data, the whole in units of 8 bytes

Positions only grow; a record starts at position & (size - 1) and may run into the second half, where the
reader, who follows the same rule, finds it. The memory is shared with readers, so nothing in it is trusted:
the producer's position is kept in the header and only copied out, and what a program has reserved is noted
in its environment.
"""

import errno
from enum import IntEnum

from engine.env import Env
from engine.jit.lang import (
    c_call,
    load_acquire64,
    local,
    memcpy,
    native,
    put32,
    put64,
    store_release64,
    u32,
    u64,
    ugt,
    ult,
    xchg32,
)
from engine.maps.header import MapHdr
from engine.memory import PAGE_SIZE
from engine.spin import spin_lock, spin_unlock

__all__ = ["RingFlag", "RingHdr", "ring_commit", "ring_output", "ring_query", "ring_reserve"]

_BUSY = 1 << 31
_DISCARD = 1 << 30
_RECORD_HDR = 8
_MAX_RECORD = (2**32 - 1) // 4
_MAX_RESERVED = 31
_INVALID = errno.EINVAL
_AGAIN = errno.EAGAIN


class RingHdr(IntEnum):
    """Offsets in the map's header."""

    MASK = 112
    """u64, size of the ring less one."""
    CONSUMER = 120
    """u64, address of the consumer's position."""
    NOTIFY_FD = 128
    """s64, eventfd that tells readers of new records; -1: nobody waits."""
    LOCK = 256
    PRODUCER = 264
    """u64, where the next record goes; what readers see is a copy."""
    PENDING = 272
    """u64, start of the oldest record that is still reserved."""


class RingFlag(IntEnum):
    """Flags of output, submit and discard; what `query` can tell."""

    NO_WAKEUP = 1
    FORCE_WAKEUP = 2

    AVAIL_DATA = 0
    RING_SIZE = 1
    CONS_POS = 2
    PROD_POS = 3


@native
def _reserve(map: int, size: int) -> int:
    """Address of a reserved record's data, or 0 when there is no room for `size` bytes."""
    mask = u64(map + RingHdr.MASK)
    length = (size + _RECORD_HDR + 7) & ~7
    if ugt(size, _MAX_RECORD) or ugt(length, mask + 1):
        return 0
    data = u64(map + MapHdr.DATA)
    spin_lock(map + RingHdr.LOCK)
    consumer = load_acquire64(u64(map + RingHdr.CONSUMER))
    start = u64(map + RingHdr.PRODUCER)
    pending = u64(map + RingHdr.PENDING)
    if ult(pending, consumer) and not ugt(consumer, start):
        pending = consumer
    while ult(pending, start):
        word = u32(data + (pending & mask))
        if word & _BUSY:
            break
        pending += ((word & ~(_BUSY | _DISCARD)) + _RECORD_HDR + 7) & ~7
    pending = start if ugt(pending, start) else pending
    put64(map + RingHdr.PENDING, pending)
    end = start + length
    if ugt(end - consumer, mask) or ugt(end - pending, mask):
        spin_unlock(map + RingHdr.LOCK)
        return 0
    record = data + (start & mask)
    put32(record, size | _BUSY)
    put32(record + 4, (record - u64(map + RingHdr.CONSUMER)) >> 12)
    put64(map + RingHdr.PRODUCER, end)
    store_release64(u64(map + RingHdr.CONSUMER) + PAGE_SIZE, end)
    spin_unlock(map + RingHdr.LOCK)
    return record + _RECORD_HDR


@native
def _notify(map: int) -> int:
    """Wake whoever waits for records."""
    fd = u64(map + RingHdr.NOTIFY_FD)
    if fd + 1 != 0:
        one = local(8)
        put64(one, 1)
        c_call("write", fd, one, 8)
    return 0


@native
def _commit(map: int, sample: int, flags: int, discard: int) -> int:
    """Show a reserved record to readers, who skip it where it is discarded."""
    record = sample - _RECORD_HDR
    word = u32(record) & ~_BUSY
    xchg32(record, word | _DISCARD if discard else word)
    if flags & RingFlag.FORCE_WAKEUP:
        return _notify(map)
    if flags & RingFlag.NO_WAKEUP:
        return 0
    mask = u64(map + RingHdr.MASK)
    if (load_acquire64(u64(map + RingHdr.CONSUMER)) & mask) == record - u64(map + MapHdr.DATA):
        _notify(map)
    return 0


@native
def ring_reserve(env: int, map: int, size: int, flags: int) -> int:
    """bpf_ringbuf_reserve: address of `size` bytes, or 0. Noted in the environment until it is committed."""
    count = u64(env + Env.RESERVED)
    if flags != 0 or count >= _MAX_RESERVED:
        return 0
    sample = _reserve(map, size)
    if sample != 0:
        note = env + Env.RESERVED + 8 + count * 16
        put64(note, sample)
        put64(note + 8, map)
        put64(env + Env.RESERVED, count + 1)
    return sample


@native
def ring_commit(env: int, sample: int, flags: int, discard: int) -> int:
    """bpf_ringbuf_submit and _discard of what `ring_reserve` gave this program."""
    count = u64(env + Env.RESERVED)
    last = env + Env.RESERVED + 8 + (count - 1) * 16
    for i in range(count):
        note = last - i * 16
        if u64(note) == sample:
            map = u64(note + 8)
            memcpy(note, last, 16)
            put64(env + Env.RESERVED, count - 1)
            return _commit(map, sample, flags, discard)
    return 0


@native
def ring_output(env: int, map: int, data: int, size: int, flags: int) -> int:
    """bpf_ringbuf_output: a record with a copy of `data`. -EINVAL (flags), -EAGAIN (no room)."""
    if flags & ~(RingFlag.NO_WAKEUP | RingFlag.FORCE_WAKEUP):
        return -_INVALID
    sample = _reserve(map, size)
    if sample == 0:
        return -_AGAIN
    memcpy(sample, data, size)
    return _commit(map, sample, flags, 0)


@native
def ring_query(env: int, map: int, what: int) -> int:
    """bpf_ringbuf_query: bytes to read, size, consumer's or producer's position; 0 for anything else."""
    consumer = load_acquire64(u64(map + RingHdr.CONSUMER))
    producer = load_acquire64(map + RingHdr.PRODUCER)
    if what == RingFlag.AVAIL_DATA:
        return producer - consumer
    if what == RingFlag.RING_SIZE:
        return u64(map + RingHdr.MASK) + 1
    if what == RingFlag.CONS_POS:
        return consumer
    return producer if what == RingFlag.PROD_POS else 0
