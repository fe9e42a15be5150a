"""Writing a record to a CPU's ring: native, from any thread, with the ring's lock held only for the copy."""

from engine.jit.lang import (
    c_call,
    load_acquire32,
    local,
    memcpy,
    native,
    put32,
    put64,
    u32,
    u64,
    ugt,
    ult,
    urem,
    xchg32,
)
from engine.spin import spin_lock
from tracefs.ring_layout import (
    BUF_PAGE_SIZE,
    DELTA_BITS,
    MAX_SMALL_DATA,
    PAGE_HEADER,
    RING_SIZE,
    SUBBUF,
    TYPE_LEN_PADDING,
    TYPE_LEN_TIME_EXTEND,
    Buf,
    Meta,
    Ring,
)

__all__ = ["buffer_wake", "page_of", "ring_lock", "ring_of", "ring_put", "ring_unlock", "ring_write"]

_EBADF = -9
_E2BIG = -7


@native(inline=True)
def ring_of(buffer: int, cpu: int) -> int:
    """Header of a CPU's ring."""
    return buffer + Buf.RINGS + cpu * RING_SIZE


@native
def ring_lock(ring: int) -> int:
    """Take a ring's lock."""
    return spin_lock(ring + Ring.LOCK)


@native(inline=True)
def ring_unlock(ring: int) -> int:
    """Release a ring's lock. A full barrier: what follows sees everything stored before by others."""
    return xchg32(ring + Ring.LOCK, 0)


@native(inline=True)
def page_of(ring: int, number: int) -> int:
    """Address of a sub-buffer."""
    return u64(ring + Ring.PAGES) + number * SUBBUF


@native
def next_page(ring: int, overwrite: int) -> int:
    """Make the next slot the one being written and return its sub-buffer, empty; 0 if there is none.

    A full ring gives up its oldest sub-buffer when it may overwrite (`rb_move_tail`).
    """
    size = u64(ring + Ring.NR_PAGES)
    head = u64(ring + Ring.HEAD)
    count = u64(ring + Ring.COUNT)
    table = u64(ring + Ring.TABLE)
    if count == size:
        if overwrite == 0:
            return 0
        oldest = u64(table + head * 8)
        lost = u64(u64(ring + Ring.META) + oldest * Meta.SIZE + Meta.ENTRIES)
        put64(ring + Ring.OVERRUN, u64(ring + Ring.OVERRUN) + lost)
        put64(ring + Ring.ENTRIES, u64(ring + Ring.ENTRIES) - lost)
        put64(ring + Ring.BYTES, u64(ring + Ring.BYTES) - u64(page_of(ring, oldest) + 8))
        head = urem(head + 1, size)
        put64(ring + Ring.HEAD, head)
        count -= 1
    number = u64(table + urem(head + count, size) * 8)
    put64(ring + Ring.COUNT, count + 1)
    put64(ring + Ring.WRITER, number)
    sequence = u64(ring + Ring.SEQUENCE) + 1
    put64(ring + Ring.SEQUENCE, sequence)
    meta = u64(ring + Ring.META) + number * Meta.SIZE
    put64(meta + Meta.SEQUENCE, sequence)
    put64(meta + Meta.ENTRIES, 0)
    page = page_of(ring, number)
    put64(page + 8, 0)
    return page


@native
def fill_page(ring: int, page: int) -> int:
    """Fill the rest of a sub-buffer, where nothing more will be written, with padding if it has room for it.

    Padding counts among the bytes of the ring until it is passed (`rb_reset_tail`).
    """
    commit = u64(page + 8)
    rest = BUF_PAGE_SIZE - commit
    if rest >= 8:
        put32(page + PAGE_HEADER + commit, TYPE_LEN_PADDING | 1 << 5)
        put32(page + PAGE_HEADER + commit + 4, rest - 4)
        put64(page + 8, BUF_PAGE_SIZE)
        put64(ring + Ring.BYTES, u64(ring + Ring.BYTES) + rest)
    return 0


@native
def ring_insert(ring: int, overwrite: int, time: int, data: int, length: int) -> int:
    """Add an event of `length` bytes; the lock is held. 0, or -EBADF when there is no room for it."""
    size = (length + 4 + 3) & ~3
    if length > MAX_SMALL_DATA:
        size += 4
    if size == 12:
        size = 16
    page = page_of(ring, u64(ring + Ring.WRITER))
    commit = u64(page + 8)
    last = u64(ring + Ring.LAST_TS)
    if ult(time, last):
        time = last
    delta = time - last
    extend = 8 if delta >> DELTA_BITS else 0
    if commit != 0 and commit + extend + size > BUF_PAGE_SIZE:
        fill_page(ring, page)
        page = next_page(ring, overwrite)
        if page == 0:
            put64(ring + Ring.DROPPED, u64(ring + Ring.DROPPED) + 1)
            return _EBADF
        commit = 0
    if commit == 0:
        put64(page, time)
        delta = 0
        extend = 0
    event = page + PAGE_HEADER + commit
    if extend:
        put32(event, TYPE_LEN_TIME_EXTEND | delta << 5)
        put32(event + 4, delta >> DELTA_BITS)
        event += 8
        delta = 0
    if length > MAX_SMALL_DATA:
        put32(event, delta << 5)
        put32(event + 4, size - 4)
        memcpy(event + 8, data, length)
    else:
        put32(event, (size - 4) >> 2 | delta << 5)
        memcpy(event + 4, data, length)
    put64(page + 8, commit + extend + size)
    put64(ring + Ring.LAST_TS, time)
    entries = u64(ring + Ring.META) + u64(ring + Ring.WRITER) * Meta.SIZE + Meta.ENTRIES
    put64(entries, u64(entries) + 1)
    put64(ring + Ring.ENTRIES, u64(ring + Ring.ENTRIES) + 1)
    put64(ring + Ring.BYTES, u64(ring + Ring.BYTES) + extend + size)
    return 0


@native
def buffer_wake(buffer: int) -> int:
    """Wake parked readers through the machine's eventfd, if there are any."""
    if xchg32(buffer + Buf.WAITERS, 0) != 0:
        one = local(8)
        put64(one, 1)
        c_call("write", u64(buffer + Buf.WAKE_FD), one, 8)
    return 0


@native
def ring_put(buffer: int, cpu: int, time: int, data: int, length: int) -> int:
    """Write a record of `length` bytes at `data`, its padding included up to a multiple of 4.

    0; -EBADF when this CPU is masked out or there is no room; -E2BIG when no sub-buffer could hold it.
    """
    ring = ring_of(buffer, cpu)
    if u32(ring + Ring.DISABLED) != 0:
        return _EBADF
    if ugt(length, BUF_PAGE_SIZE - 8):
        return _E2BIG
    ring_lock(ring)
    result = ring_insert(ring, u32(buffer + Buf.OVERWRITE), time, data, length)
    ring_unlock(ring)
    if load_acquire32(buffer + Buf.WAITERS) != 0:
        buffer_wake(buffer)
    return result


@native
def ring_write(buffer: int, cpu: int, time: int, data: int, length: int) -> int:
    """`ring_put` if recording is on; -EBADF otherwise."""
    if u32(buffer + Buf.RECORDING) == 0:
        return _EBADF
    return ring_put(buffer, cpu, time, data, length)
