"""Buckets of a hash table: chains that readers walk without locks (kernel/bpf/hashtab.c, list_nulls).

A bucket is one word: the first element's link, with bit 0 as its lock. A link is an element's address with
bit 2 set. A chain ends in a marker that names its bucket (`index << 3 | 2`), or in 0 where it has
never had an element: a reader who ends in another bucket's marker was carried there by an element that
was deleted and used again, and starts over. Elements stay mapped, so whatever a reader holds is valid memory.

Writers hold the bucket's lock for a few instructions. They publish an element only when it is complete, and
replace one by its successor in place, so that a reader never misses a key that is being overwritten.
"""

from enum import IntEnum

from engine.jit.lang import (
    cas64,
    load_acquire64,
    native,
    put8,
    put64,
    store_release64,
    u8,
    u32,
    u64,
)
from engine.maps.keys import keys_equal
from engine.maps.pool import Elem
from engine.spin import relax

__all__ = [
    "BUCKETS_PER_PAGE_SHIFT",
    "LINK",
    "Table",
    "bucket_insert",
    "bucket_lock",
    "bucket_prev",
    "bucket_remove",
    "bucket_replace",
    "bucket_unlock",
    "find_elem",
]

LINK = 4
"""Set in links to elements, clear in markers."""
_LOCKED = 1
BUCKETS_PER_PAGE_SHIFT = 9
"""Buckets are marked in use by the page, so that iteration skips untouched memory."""


class Table(IntEnum):
    """Offsets in the map's header."""

    BUCKETS = 128
    """u64, array of bucket words."""
    PAGES = 136
    """u64, one byte for each page of buckets, not 0 once it has had an element."""
    SEED = 144
    MASK = 152
    """u64, number of buckets less one."""
    HAND = 384
    """u64, where the next eviction of an LRU map looks."""


@native(inline=True)
def find_elem(bucket: int, index: int, hash: int, key: int, key_size: int) -> int:
    """The element with that key in a bucket, or 0. Without locks."""
    while 1:
        link = load_acquire64(bucket)
        while link & LINK:
            elem = link - LINK & ~_LOCKED
            if u32(elem + Elem.HASH) == hash and keys_equal(elem + Elem.KEY, key, key_size):
                return elem
            link = load_acquire64(elem + Elem.NEXT)
        if (link & ~_LOCKED) == 0 or link >> 3 == index:
            return 0


@native
def _bucket_wait(bucket: int) -> int:
    """Wait for a bucket that was found locked; then it is ours."""
    spins = 0
    while 1:
        seen = u64(bucket)
        if not seen & _LOCKED and cas64(bucket, seen, seen | _LOCKED) == seen:
            return seen
        spins += 1
        relax(spins)


@native(inline=True)
def bucket_lock(bucket: int) -> int:
    """Lock a bucket; returns its first link, without the lock bit."""
    seen = u64(bucket)
    if seen & _LOCKED or cas64(bucket, seen, seen | _LOCKED) != seen:
        seen = _bucket_wait(bucket)
    return seen


@native(inline=True)
def bucket_unlock(bucket: int, first: int) -> int:
    """Store the first link and release the lock."""
    store_release64(bucket, first)
    return 0


@native(inline=True)
def bucket_prev(bucket: int, first: int, hash: int, key: int, key_size: int) -> int:
    """Where the link to the key's element is: the bucket itself, or an element; 0 if there is none."""
    prev = bucket
    link = first
    while link & LINK:
        elem = link - LINK
        if u32(elem + Elem.HASH) == hash and keys_equal(elem + Elem.KEY, key, key_size):
            return prev
        prev = elem
        link = u64(elem + Elem.NEXT)
    return 0


@native(inline=True)
def bucket_insert(map: int, bucket: int, first: int, index: int, elem: int) -> int:
    """Put a complete element at the front of a locked bucket, and unlock it."""
    put64(elem + Elem.NEXT, first if first != 0 else index << 3 | 2)
    used = u64(map + Table.PAGES) + (index >> BUCKETS_PER_PAGE_SHIFT)
    if u8(used) == 0:
        put8(used, 1)
    store_release64(bucket, elem + LINK)
    return 0


@native(inline=True)
def bucket_remove(bucket: int, first: int, prev: int) -> int:
    """Unlink the element that `prev` links to, unlock, and return it. Its own `next` stays as it is."""
    if prev == bucket:
        elem = first - LINK
        store_release64(bucket, u64(elem + Elem.NEXT))
        return elem
    elem = u64(prev) - LINK
    store_release64(prev, u64(elem + Elem.NEXT))
    store_release64(bucket, first)
    return elem


@native(inline=True)
def bucket_replace(bucket: int, first: int, prev: int, elem: int) -> int:
    """Put a complete element in the place of the one that `prev` links to, unlock, return the old one."""
    if prev == bucket:
        old = first - LINK
        put64(elem + Elem.NEXT, u64(old + Elem.NEXT))
        store_release64(bucket, elem + LINK)
        return old
    old = u64(prev) - LINK
    put64(elem + Elem.NEXT, u64(old + Elem.NEXT))
    store_release64(prev, elem + LINK)
    store_release64(bucket, first)
    return old
