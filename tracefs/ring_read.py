"""Reading rings: consuming whole records merged by time over CPUs, cloning, resizing. All native."""

from engine.jit.lang import load_acquire64, local, memcpy, native, put32, put64, u32, u64, ult, urem
from tracefs.ring import page_of, ring_lock, ring_of, ring_unlock
from tracefs.ring_layout import (
    DELTA_BITS,
    MAX_CPUS,
    PAGE_HEADER,
    RECORD_HEADER,
    SUBBUF,
    TYPE_LEN_PADDING,
    TYPE_LEN_TIME_EXTEND,
    Meta,
    Out,
    Ring,
)

__all__ = [
    "buffer_consume",
    "buffer_entries",
    "ring_clone",
    "ring_counters",
    "ring_replace",
    "ring_reset",
]

_NEVER = (1 << 64) - 1
_LOST_MAX = (1 << 32) - 1
_WORK = MAX_CPUS * 8


@native
def reader_page(ring: int) -> int:
    """The reader's sub-buffer if it has an unread event, after taking the oldest one if need be; else 0.

    The lock is held (`rb_get_reader_page`).
    """
    reader = u64(ring + Ring.READER)
    page = page_of(ring, reader)
    if ult(u64(ring + Ring.READ), u64(page + 8)):
        return page
    if u64(ring + Ring.WRITER) == reader:
        return 0
    head = u64(ring + Ring.HEAD)
    slot = u64(ring + Ring.TABLE) + head * 8
    number = u64(slot)
    taken = page_of(ring, number)
    if u64(taken + 8) == 0:
        return 0
    put64(page + 8, 0)
    put64(u64(ring + Ring.META) + reader * Meta.SIZE + Meta.SEQUENCE, 0)
    put64(slot, reader)
    put64(ring + Ring.READER, number)
    put64(ring + Ring.HEAD, urem(head + 1, u64(ring + Ring.NR_PAGES)))
    put64(ring + Ring.COUNT, u64(ring + Ring.COUNT) - 1)
    put64(ring + Ring.READ, 0)
    put64(ring + Ring.READ_TS, u64(taken))
    overrun = u64(ring + Ring.OVERRUN)
    put64(ring + Ring.LOST, overrun - u64(ring + Ring.LAST_OVERRUN))
    put64(ring + Ring.LAST_OVERRUN, overrun)
    return taken


@native(inline=True)
def pass_bytes(ring: int, size: int) -> int:
    """Move on by `size` bytes in the reader's sub-buffer."""
    put64(ring + Ring.READ, u64(ring + Ring.READ) + size)
    put64(ring + Ring.BYTES, u64(ring + Ring.BYTES) - size)
    return 0


@native
def ring_next(ring: int) -> int:
    """Address of the next unread event with READ_TS moved to its time, or 0. The lock is held."""
    page = reader_page(ring)
    while page != 0:
        event = page + PAGE_HEADER + u64(ring + Ring.READ)
        kind = u32(event) & 31
        if kind == TYPE_LEN_TIME_EXTEND:
            delta = u32(event) >> 5 | u32(event + 4) << DELTA_BITS
            put64(ring + Ring.READ_TS, u64(ring + Ring.READ_TS) + delta)
            pass_bytes(ring, 8)
        elif kind == TYPE_LEN_PADDING:
            pass_bytes(ring, u32(event + 4) + 4)
            page = reader_page(ring)
        else:
            return event
    return 0


@native
def ring_peek(ring: int) -> int:
    """Time of the next unread event; all bits set if there is none."""
    if load_acquire64(ring + Ring.ENTRIES) == 0:
        return _NEVER
    ring_lock(ring)
    event = ring_next(ring)
    time = _NEVER
    if event != 0:
        time = u64(ring + Ring.READ_TS) + (u32(event) >> 5)
    ring_unlock(ring)
    return time


@native
def ring_take(ring: int, cpu: int, out: int, room: int) -> int:
    """Consume the next event to `out`; bytes put there, 0 if there is none, -1 if `room` is too small."""
    ring_lock(ring)
    event = ring_next(ring)
    if event == 0:
        ring_unlock(ring)
        return 0
    header = u32(event)
    data = event + 4
    length = (header & 31) << 2
    size = length + 4
    if length == 0:
        length = u32(data) - 4
        data += 4
        size = length + 8
    total = (RECORD_HEADER + length + 7) & ~7
    if total > room:
        ring_unlock(ring)
        return -1
    time = u64(ring + Ring.READ_TS) + (header >> 5)
    lost = u64(ring + Ring.LOST)
    put32(out + Out.SIZE, total)
    put32(out + Out.CPU, cpu)
    put64(out + Out.TIME, time)
    put32(out + Out.LOST, lost if lost < _LOST_MAX else _LOST_MAX)
    put32(out + Out.DATA_SIZE, length)
    memcpy(out + RECORD_HEADER, data, length)
    put64(ring + Ring.LOST, 0)
    put64(ring + Ring.READ_TS, time)
    put64(ring + Ring.READ_EVENTS, u64(ring + Ring.READ_EVENTS) + 1)
    put64(ring + Ring.ENTRIES, u64(ring + Ring.ENTRIES) - 1)
    pass_bytes(ring, size)
    ring_unlock(ring)
    return total


@native
def buffer_consume(buffer: int, first: int, last: int, out: int, room: int, limit: int) -> int:
    """Consume at most `limit` records of CPUs `first` to `last - 1`, oldest first; bytes put at `out`.

    One consumer at a time. `room` must hold any single record (a sub-buffer and a header).
    """
    times = local(_WORK)
    for cpu in range(first, last):
        put64(times + cpu * 8, ring_peek(ring_of(buffer, cpu)))
    used = 0
    while limit > 0:
        best = -1
        time = _NEVER
        for cpu in range(first, last):
            if ult(u64(times + cpu * 8), time):
                time = u64(times + cpu * 8)
                best = cpu
        if best < 0:
            break
        ring = ring_of(buffer, best)
        got = ring_take(ring, best, out + used, room - used)
        if got < 0:
            break
        put64(times + best * 8, ring_peek(ring))
        used += got
        limit -= 1
    return used


@native
def buffer_entries(buffer: int, first: int, last: int) -> int:
    """Unread events of CPUs `first` to `last - 1`."""
    total = 0
    for cpu in range(first, last):
        total += load_acquire64(ring_of(buffer, cpu) + Ring.ENTRIES)
    return total


@native
def ring_counters(ring: int, out: int) -> int:
    """Copy the counters from ENTRIES on to `out`, with the time of the oldest event in place of LOST.

    Its time is that of the oldest sub-buffer of the ring; the reader's counts only while it is being
    written (`ring_buffer_oldest_event_ts`).
    """
    ring_lock(ring)
    memcpy(out, ring + Ring.ENTRIES, Ring.LOST - Ring.ENTRIES)
    page = page_of(ring, u64(ring + Ring.READER))
    if u64(ring + Ring.COUNT) != 0:
        page = page_of(ring, u64(u64(ring + Ring.TABLE) + u64(ring + Ring.HEAD) * 8))
    put64(out + Ring.LOST - Ring.ENTRIES, u64(page))
    ring_unlock(ring)
    return 0


@native
def page_after(ring: int, sequence: int) -> int:
    """Number of the oldest sub-buffer with data whose sequence number is above `sequence`; -1 if none."""
    metas = u64(ring + Ring.META)
    reader = u64(ring + Ring.READER)
    if ult(sequence, u64(metas + reader * Meta.SIZE + Meta.SEQUENCE)) and ult(
        u64(ring + Ring.READ), u64(page_of(ring, reader) + 8)
    ):
        return reader
    count = u64(ring + Ring.COUNT)
    size = u64(ring + Ring.NR_PAGES)
    for i in range(0, count):
        number = u64(u64(ring + Ring.TABLE) + urem(u64(ring + Ring.HEAD) + i, size) * 8)
        if ult(sequence, u64(metas + number * Meta.SIZE + Meta.SEQUENCE)) and u64(page_of(ring, number) + 8):
            return number
    return -1


@native
def ring_clone(target: int, source: int) -> int:
    """Copy all unread events to `target`, an initialised empty ring with at least as many sub-buffers.

    The source's lock is held for one sub-buffer at a time, so a writer never waits long. Number of events.
    """
    sequence = 0
    copied = 0
    entries = 0
    room = u64(target + Ring.NR_PAGES) + 1
    while copied < room:
        ring_lock(source)
        number = page_after(source, sequence)
        if number < 0:
            ring_unlock(source)
            break
        page = page_of(target, copied)
        memcpy(page, page_of(source, number), SUBBUF)
        meta = u64(source + Ring.META) + number * Meta.SIZE
        sequence = u64(meta + Meta.SEQUENCE)
        unread = u64(meta + Meta.ENTRIES)
        if number == u64(source + Ring.READER):
            put64(target + Ring.READ, u64(source + Ring.READ))
            put64(target + Ring.READ_TS, u64(source + Ring.READ_TS))
        elif copied == 0:
            put64(target + Ring.READ, 0)
            put64(target + Ring.READ_TS, u64(page))
        ring_unlock(source)
        meta = u64(target + Ring.META) + copied * Meta.SIZE
        put64(meta + Meta.SEQUENCE, sequence)
        put64(meta + Meta.ENTRIES, unread)
        entries += unread
        copied += 1
    if copied > 0:
        put64(target + Ring.WRITER, copied - 1)
        put64(target + Ring.COUNT, copied - 1)
        put64(target + Ring.SEQUENCE, sequence)
        put64(target + Ring.ENTRIES, entries)
    return entries


@native
def ring_reset(ring: int) -> int:
    """Empty a ring and its counters (`ring_buffer_reset_cpu`).

    Only the two sub-buffers in use are touched: memory of the others stays unallocated until it is needed.
    """
    ring_lock(ring)
    put64(ring + Ring.HEAD, 0)
    put64(ring + Ring.COUNT, 1)
    put64(ring + Ring.READ, 0)
    for field in range(Ring.LAST_TS, Ring.SEQUENCE, 8):
        put64(ring + field, 0)
    size = u64(ring + Ring.NR_PAGES)
    for slot in range(0, size):
        put64(u64(ring + Ring.TABLE) + slot * 8, slot + 1)
    put64(page_of(ring, 0) + 8, 0)
    put64(page_of(ring, 1) + 8, 0)
    for number in range(0, size + 1):
        put64(u64(ring + Ring.META) + number * Meta.SIZE + Meta.SEQUENCE, 0)
    put64(ring + Ring.READER, 0)
    put64(ring + Ring.WRITER, 1)
    put64(ring + Ring.SEQUENCE, u64(ring + Ring.SEQUENCE) + 1)
    meta = u64(ring + Ring.META) + Meta.SIZE
    put64(meta + Meta.SEQUENCE, u64(ring + Ring.SEQUENCE))
    put64(meta + Meta.ENTRIES, 0)
    ring_unlock(ring)
    return 0


@native
def ring_replace(ring: int, pages: int, table: int, meta: int, size: int) -> int:
    """Move a ring to `size` + 1 new, empty sub-buffers; the oldest events go if there are too many.

    Returns the number of events lost. What was unread on the reader's sub-buffer stays readable.
    """
    ring_lock(ring)
    old = u64(ring + Ring.NR_PAGES)
    count = u64(ring + Ring.COUNT)
    head = u64(ring + Ring.HEAD)
    lost = 0
    skip = count - size if count > size else 0
    reader = u64(ring + Ring.READER)
    writer = u64(ring + Ring.WRITER)
    memcpy(pages, page_of(ring, reader), SUBBUF)
    memcpy(meta, u64(ring + Ring.META) + reader * Meta.SIZE, Meta.SIZE)
    new_writer = 0
    for i in range(0, count):
        number = u64(u64(ring + Ring.TABLE) + urem(head + i, old) * 8)
        from_meta = u64(ring + Ring.META) + number * Meta.SIZE
        if i < skip:
            lost += u64(from_meta + Meta.ENTRIES)
            put64(ring + Ring.BYTES, u64(ring + Ring.BYTES) - u64(page_of(ring, number) + 8))
        else:
            to = i - skip + 1
            memcpy(pages + to * SUBBUF, page_of(ring, number), SUBBUF)
            memcpy(meta + to * Meta.SIZE, from_meta, Meta.SIZE)
            if number == writer:
                new_writer = to
    for slot in range(0, size):
        put64(table + slot * 8, slot + 1)
    put64(ring + Ring.PAGES, pages)
    put64(ring + Ring.TABLE, table)
    put64(ring + Ring.META, meta)
    put64(ring + Ring.NR_PAGES, size)
    put64(ring + Ring.HEAD, 0)
    put64(ring + Ring.COUNT, count - skip)
    put64(ring + Ring.READER, 0)
    put64(ring + Ring.WRITER, new_writer)
    put64(ring + Ring.ENTRIES, u64(ring + Ring.ENTRIES) - lost)
    put64(ring + Ring.OVERRUN, u64(ring + Ring.OVERRUN) + lost)
    ring_unlock(ring)
    return lost
