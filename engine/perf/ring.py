"""Records into a mapped perf ring (kernel/events/ring_buffer.c, perf_prepare_sample in core.c).

    memory  page 0: struct perf_event_mmap_page   then 2^n pages of data
    sample  type u32, misc u16, size u16; identifier, ip, pid tid, time, addr, id, stream id, cpu res, period
            (each u64, as sample_type asks); raw: size u32, data, padded to 8 bytes
    lost    header, id u64, lost u64

The memory is shared with its reader: head is kept in the native header and only copied out.
"""

import errno
from enum import IntEnum

from engine.env import Env
from engine.jit.lang import (
    c_call,
    load_acquire64,
    local,
    memcpy,
    memset,
    native,
    put32,
    put64,
    store_release64,
    u32,
    u64,
    ugt,
)
from engine.spin import spin_lock, spin_unlock

__all__ = ["PERF_HDR_SIZE", "MmapPage", "PerfHdr", "RecordType", "SampleType", "perf_output"]

PERF_HDR_SIZE = 128
_NO_SPACE = errno.ENOSPC
_TOO_BIG = errno.E2BIG
_WRONG_CPU = errno.EOPNOTSUPP
_MAX_RECORD = 0xFFFF


class PerfHdr(IntEnum):
    """Offsets in an event's native header."""

    RING = 0
    """u64, first byte of the mapped ring; 0: not mapped, everything is refused."""
    MASK = 8
    """u64, bytes of data less one."""
    HEAD = 16
    LOST = 24
    """u64, records that found no room since the last that did."""
    CPU = 32
    """u32, where the event is active; 0xffffffff while it is disabled."""
    LOCK = 36
    SAMPLE_TYPE = 40
    ID = 48
    WAKEUP_EVENTS = 56
    """u64, records from one wake-up to the next; 0: by WATERMARK."""
    WATERMARK = 64
    """u64, bytes from one wake-up to the next."""
    SINCE = 72
    """u64, records or bytes since the last wake-up."""
    NOTIFY_FD = 80
    DATA = 88
    """u64, first byte of the data."""
    TOTAL_LOST = 96
    """u64, all records that found no room (PERF_FORMAT_LOST)."""


class MmapPage(IntEnum):
    """Offsets in struct perf_event_mmap_page."""

    DATA_HEAD = 1024
    DATA_TAIL = 1032
    DATA_OFFSET = 1040
    DATA_SIZE = 1048


class SampleType(IntEnum):
    """PERF_SAMPLE_*: fields of a sample that the engine can fill."""

    IP = 1
    TID = 2
    TIME = 4
    ADDR = 8
    ID = 1 << 6
    CPU = 1 << 7
    PERIOD = 1 << 8
    STREAM_ID = 1 << 9
    RAW = 1 << 10
    IDENTIFIER = 1 << 16


class RecordType(IntEnum):
    """PERF_RECORD_*."""

    LOST = 2
    SAMPLE = 9


@native
def _copy_in(event: int, at: int, source: int, size: int) -> int:
    """Copy into the ring at position `at`, around its end."""
    mask = u64(event + PerfHdr.MASK)
    offset = at & mask
    first = mask + 1 - offset
    first = size if size < first else first
    memcpy(u64(event + PerfHdr.DATA) + offset, source, first)
    memcpy(u64(event + PerfHdr.DATA), source + first, size - first)
    return 0


@native
def _fixed_fields(env: int, event: int, to: int) -> int:
    """Write the fields of a sample before the raw data; the address after them."""
    kind = u64(event + PerfHdr.SAMPLE_TYPE)
    at = to
    if kind & SampleType.IDENTIFIER:
        put64(at, u64(event + PerfHdr.ID))
        at += 8
    if kind & SampleType.IP:
        put64(at, u64(env + Env.FUNC))
        at += 8
    if kind & SampleType.TID:
        put32(at, u32(env + Env.TGID))
        put32(at + 4, u32(env + Env.TID))
        at += 8
    if kind & SampleType.TIME:
        put64(at, u64(env + Env.TIME_NS))
        at += 8
    if kind & SampleType.ADDR:
        put64(at, 0)
        at += 8
    if kind & SampleType.ID:
        put64(at, u64(event + PerfHdr.ID))
        at += 8
    if kind & SampleType.STREAM_ID:
        put64(at, u64(event + PerfHdr.ID))
        at += 8
    if kind & SampleType.CPU:
        put64(at, u32(env + Env.CPU))
        at += 8
    if kind & SampleType.PERIOD:
        put64(at, 1)
        at += 8
    return at


@native
def _notify(event: int) -> int:
    """Wake whoever waits for records."""
    one = local(8)
    put64(one, 1)
    c_call("write", u64(event + PerfHdr.NOTIFY_FD), one, 8)
    return 0


@native
def _account(event: int, size: int) -> int:
    """Count a record towards the next wake-up; whether it is due."""
    every = u64(event + PerfHdr.WAKEUP_EVENTS)
    limit = every if every != 0 else u64(event + PerfHdr.WATERMARK)
    since = u64(event + PerfHdr.SINCE) + (1 if every != 0 else size)
    due = since >= limit if every != 0 else since > limit
    put64(event + PerfHdr.SINCE, 0 if due else since)
    return due


@native
def _append(env: int, event: int, data: int, size: int, raw: int) -> int:
    """Under the lock: a lost record if one is due, then a sample. 1: wake the reader, 0: not; -ENOSPC."""
    sample = local(128)
    end = _fixed_fields(env, event, sample + 8)
    length = end - sample
    if raw:
        put32(end, raw - 4)
        length += 4
    total = end - sample + raw
    if ugt(total, _MAX_RECORD):
        return -_TOO_BIG
    put32(sample, RecordType.SAMPLE)
    put32(sample + 4, total << 16)
    lost = u64(event + PerfHdr.LOST)
    head = u64(event + PerfHdr.HEAD)
    tail = load_acquire64(u64(event + PerfHdr.RING) + MmapPage.DATA_TAIL)
    needed = total + (24 if lost != 0 else 0)
    if ugt(head + needed - tail, u64(event + PerfHdr.MASK)):
        put64(event + PerfHdr.LOST, lost + 1)
        put64(event + PerfHdr.TOTAL_LOST, u64(event + PerfHdr.TOTAL_LOST) + 1)
        return -_NO_SPACE
    if lost != 0:
        record = local(24)
        put32(record, RecordType.LOST)
        put32(record + 4, 24 << 16)
        put64(record + 8, u64(event + PerfHdr.ID))
        put64(record + 16, lost)
        _copy_in(event, head, record, 24)
        put64(event + PerfHdr.LOST, 0)
        head += 24
    _copy_in(event, head, sample, length)
    if raw:
        _copy_in(event, head + length, data, size)
        memset(sample, 0, 8)
        _copy_in(event, head + length + size, sample, raw - 4 - size)
    put64(event + PerfHdr.HEAD, head + total)
    store_release64(u64(event + PerfHdr.RING) + MmapPage.DATA_HEAD, head + total)
    return _account(event, needed)


@native
def perf_output(env: int, event: int, data: int, size: int) -> int:
    """A sample with `size` bytes of raw data. -EOPNOTSUPP (other CPU, or disabled), -ENOSPC, -E2BIG."""
    if u32(event + PerfHdr.CPU) != u32(env + Env.CPU):
        return -_WRONG_CPU
    if ugt(size, _MAX_RECORD):
        return -_TOO_BIG
    spin_lock(event + PerfHdr.LOCK)
    if u64(event + PerfHdr.RING) == 0:
        result = -_NO_SPACE
    else:
        raw = (size + 4 + 7) & ~7 if u64(event + PerfHdr.SAMPLE_TYPE) & SampleType.RAW else 0
        result = _append(env, event, data, size, raw)
    spin_unlock(event + PerfHdr.LOCK)
    if result > 0:
        _notify(event)
        return 0
    return result
