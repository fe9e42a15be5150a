"""Going over a hash table: next_key, for_each, and copies of whole buckets (kernel/bpf/hashtab.c)."""

import errno

from engine.env import Env
from engine.jit.lang import call, load_acquire64, memcpy, native, put32, put64, u8, u32, u64
from engine.maps.bucket import (
    BUCKETS_PER_PAGE_SHIFT,
    LINK,
    Table,
    bucket_lock,
    bucket_unlock,
    find_elem,
)
from engine.maps.header import MapHdr
from engine.maps.htab import value_off
from engine.maps.keys import hash_key
from engine.maps.pool import Elem, pool_give
from engine.maps.values import copy_value

__all__ = ["htab_for_each", "htab_next_key", "htab_snapshot", "next_used_bucket", "percpu_htab_for_each"]

_MISSING = errno.ENOENT
_NO_SPACE = errno.ENOSPC
_IN_PAGE = (1 << BUCKETS_PER_PAGE_SHIFT) - 1


@native
def next_used_bucket(map: int, index: int) -> int:
    """The first bucket from `index` on that has ever had an element nearby; past the end if none."""
    total = u64(map + Table.MASK) + 1
    at = index
    while at < total and u8(u64(map + Table.PAGES) + (at >> BUCKETS_PER_PAGE_SHIFT)) == 0:
        at = (at | _IN_PAGE) + 1
    return at if at < total else total


@native
def _first_from(map: int, index: int) -> int:
    """The first element of the first non-empty bucket from `index` on, or 0."""
    total = u64(map + Table.MASK) + 1
    at = next_used_bucket(map, index)
    while at < total:
        link = load_acquire64(u64(map + Table.BUCKETS) + at * 8)
        if link & LINK:
            return link & ~7
        at = next_used_bucket(map, at + 1)
    return 0


@native
def htab_next_key(map: int, key: int, out: int) -> int:
    """Copy the key after `key` to `out`; the first where `key` is 0 or not there. -ENOENT after the last."""
    key_size = u32(map + MapHdr.KEY_SIZE)
    start = 0
    elem = 0
    if key != 0:
        hash = hash_key(key, key_size, u64(map + Table.SEED))
        index = hash & u64(map + Table.MASK)
        elem = find_elem(u64(map + Table.BUCKETS) + index * 8, index, hash, key, key_size)
        if elem != 0:
            start = index + 1
            link = load_acquire64(elem + Elem.NEXT)
            elem = link & ~7 if link & LINK else 0
    if elem == 0:
        elem = _first_from(map, start)
    if elem == 0:
        return -_MISSING
    memcpy(out, elem + Elem.KEY, key_size)
    return 0


@native
def _for_each(env: int, map: int, callback: int, ctx: int, offset: int) -> int:
    """`htab_for_each` with the value at `offset` in an element."""
    total = u64(map + Table.MASK) + 1
    count = 0
    at = next_used_bucket(map, 0)
    while at < total:
        link = load_acquire64(u64(map + Table.BUCKETS) + at * 8)
        while link & LINK:
            elem = link & ~7
            following = load_acquire64(elem + Elem.NEXT)
            count += 1
            if call(callback, map, elem + Elem.KEY, elem + offset, ctx, 0, env) != 0:
                return count
            link = following
        at = next_used_bucket(map, at + 1)
    return count


@native
def htab_for_each(env: int, map: int, callback: int, ctx: int) -> int:
    """Call callback(map, key, value, ctx, 0, env) for each element until it returns not 0; how many calls.

    Without locks: the callback may update and delete.
    """
    return _for_each(env, map, callback, ctx, value_off(u32(map + MapHdr.KEY_SIZE)))


@native
def percpu_htab_for_each(env: int, map: int, callback: int, ctx: int) -> int:
    """As `htab_for_each`, with this CPU's values."""
    offset = value_off(u32(map + MapHdr.KEY_SIZE)) + u32(env + Env.CPU) * u32(map + MapHdr.STRIDE)
    return _for_each(env, map, callback, ctx, offset)


@native
def htab_snapshot(map: int, cursor: int, out: int, room: int, value_size: int, take: int) -> int:
    """Copy whole buckets from the u64 at `cursor` on into `out`, and move it on; how many elements.

    Each is its key rounded up to words and `value_size` bytes, which is in whole words too. Each bucket is
    copied, and with `take` emptied, under its lock. Stops when the next one does not fit into `room` bytes
    (-ENOSPC if that is the first) and after at most 65536 buckets; the cursor is the number of buckets at the
    end.
    """
    key_size = u32(map + MapHdr.KEY_SIZE)
    offset = value_off(key_size)
    record = offset - Elem.KEY + value_size
    total = u64(map + Table.MASK) + 1
    at = next_used_bucket(map, u64(cursor))
    count = 0
    budget = 1 << 16
    while at < total and budget > 0:
        bucket = u64(map + Table.BUCKETS) + at * 8
        first = bucket_lock(bucket)
        length = 0
        link = first
        while link & LINK:
            length += 1
            link = u64((link & ~7) + Elem.NEXT)
        if (count + length) * record > room:
            bucket_unlock(bucket, first)
            put64(cursor, at)
            return count if count else -_NO_SPACE
        link = first
        while link & LINK:
            elem = link & ~7
            link = u64(elem + Elem.NEXT)
            to = out + count * record
            memcpy(to, elem + Elem.KEY, offset - Elem.KEY)
            copy_value(map, to + offset - Elem.KEY, elem + offset, value_size)
            count += 1
            if take:
                put32(elem + Elem.STATE, 0)
                pool_give(map, elem)
        bucket_unlock(bucket, 0 if take else first)
        budget -= 1
        at = next_used_bucket(map, at + 1)
    put64(cursor, at)
    return count
