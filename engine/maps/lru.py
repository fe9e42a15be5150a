"""Native operations of the LRU hashes: a full map forgets what was not used lately (bpf_lru_list.c).

Every lookup by a program marks its element. An update that finds no free element sends a hand around the
elements (the clock algorithm): marked ones lose their mark, the first unmarked one is taken out of its bucket
and used again. After SCANS marked ones the next is taken all the same, so no update takes long.

    state  0 free   LIVE in a bucket   LIVE | USED in a bucket and looked up since the hand passed
"""

import errno

from engine.abi.bpf import UpdateFlag
from engine.env import Env
from engine.jit.lang import atomic_add64, cas32, memcpy, native, put32, u32, u64, ugt, urem
from engine.maps.bucket import (
    LINK,
    Table,
    bucket_insert,
    bucket_lock,
    bucket_prev,
    bucket_remove,
    bucket_replace,
    bucket_unlock,
    find_elem,
)
from engine.maps.header import NO_LOCK, MapHdr
from engine.maps.htab import value_off
from engine.maps.htab_percpu import percpu_fill
from engine.maps.keys import hash_key
from engine.maps.pool import Elem, Pool, pool_give, pool_take
from engine.maps.values import copy_value, init_value

__all__ = [
    "lru_delete",
    "lru_lookup",
    "lru_lookup_shaped",
    "lru_percpu_lookup",
    "lru_percpu_lookup_shaped",
    "lru_percpu_store",
    "lru_percpu_update",
    "lru_take",
    "lru_update",
]

_LIVE = 0x8000_0000
_USED = 0x4000_0000
_SCANS = 64
_EXISTS = errno.EEXIST
_MISSING = errno.ENOENT
_INVALID = errno.EINVAL
_NO_MEMORY = errno.ENOMEM


@native(inline=True)
def _touch(elem: int) -> int:
    """Mark an element as used, unless it has just been freed."""
    if u32(elem + Elem.STATE) == _LIVE:
        cas32(elem + Elem.STATE, _LIVE, _LIVE | _USED)
    return 0


@native
def _evict(map: int, elem: int) -> int:
    """Take a live element out of its bucket; 0 if somebody else just did."""
    hash = u32(elem + Elem.HASH)
    bucket = u64(map + Table.BUCKETS) + (hash & u64(map + Table.MASK)) * 8
    first = bucket_lock(bucket)
    prev = bucket
    link = first
    while link & LINK and (link & ~7) != elem:
        prev = link & ~7
        link = u64(prev + Elem.NEXT)
    if not link & LINK:
        bucket_unlock(bucket, first)
        return 0
    put32(elem + Elem.STATE, 0)
    bucket_remove(bucket, first, prev)
    return elem


@native
def _reclaim(map: int) -> int:
    """An element taken from the least recently used; 0 when other threads hold them all."""
    total = u64(map + Pool.CAPACITY)
    spared = 0
    for _ in range(2 * total + _SCANS):
        at = urem(atomic_add64(map + Table.HAND, 1), total)
        elem = u64(map + MapHdr.DATA) + at * u32(map + MapHdr.ELEM_SIZE)
        state = u32(elem + Elem.STATE)
        if state == _LIVE | _USED and spared < _SCANS:
            cas32(elem + Elem.STATE, _LIVE | _USED, _LIVE)
            spared += 1
        elif state & _LIVE and _evict(map, elem):
            return elem
    return 0


@native
def _take(map: int) -> int:
    """A free element, by eviction if need be."""
    elem = pool_take(map)
    if elem == 0:
        elem = _reclaim(map)
    if elem == 0:
        elem = pool_take(map)
    return elem


@native
def _drop(map: int, elem: int) -> int:
    """Free an element that is in no bucket."""
    put32(elem + Elem.STATE, 0)
    pool_give(map, elem)
    return 0


@native(inline=True)
def lru_lookup_shaped(env: int, map: int, key: int, key_size: int, mask: int) -> int:
    """`lru_lookup` with the map's shape as arguments."""
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    index = hash & mask
    elem = find_elem(u64(map + Table.BUCKETS) + index * 8, index, hash, key, key_size)
    if elem == 0:
        return 0
    _touch(elem)
    return elem + value_off(key_size)


@native
def lru_lookup(env: int, map: int, key: int) -> int:
    """Address of the value at `key`, or 0; marks the element as used."""
    key_size = u32(map + MapHdr.KEY_SIZE)
    if key_size == 4:
        return lru_lookup_shaped(env, map, key, 4, u64(map + Table.MASK))
    if key_size == 8:
        return lru_lookup_shaped(env, map, key, 8, u64(map + Table.MASK))
    return lru_lookup_shaped(env, map, key, key_size, u64(map + Table.MASK))


@native(inline=True)
def lru_percpu_lookup_shaped(env: int, map: int, key: int, key_size: int, mask: int, stride: int) -> int:
    """`lru_percpu_lookup` with the map's shape as arguments."""
    values = lru_lookup_shaped(env, map, key, key_size, mask)
    return values + u32(env + Env.CPU) * stride if values != 0 else 0


@native
def lru_percpu_lookup(env: int, map: int, key: int) -> int:
    """Address of this CPU's value at `key`, or 0; marks the element as used."""
    values = lru_lookup(env, map, key)
    return values + u32(env + Env.CPU) * u32(map + MapHdr.STRIDE) if values != 0 else 0


@native
def lru_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Set the value at `key`. -EEXIST, -ENOENT, -EINVAL (flags), -ENOMEM (every element is being moved).

    The element is taken before the bucket is locked, because eviction locks buckets too.
    """
    if ugt(flags, UpdateFlag.EXIST):
        return -_INVALID
    elem = _take(map)
    if elem == 0:
        return -_NO_MEMORY
    key_size = u32(map + MapHdr.KEY_SIZE)
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    put32(elem + Elem.HASH, hash)
    memcpy(elem + Elem.KEY, key, key_size)
    if u32(map + MapHdr.LOCK_OFF) != NO_LOCK:
        init_value(map, elem + value_off(key_size), value)
    else:
        memcpy(elem + value_off(key_size), value, u32(map + MapHdr.VALUE_SIZE))
    index = hash & u64(map + Table.MASK)
    bucket = u64(map + Table.BUCKETS) + index * 8
    first = bucket_lock(bucket)
    prev = bucket_prev(bucket, first, hash, key, key_size)
    result = 0
    if prev != 0 and flags == UpdateFlag.NOEXIST:
        result = -_EXISTS
    elif prev == 0 and flags == UpdateFlag.EXIST:
        result = -_MISSING
    elif prev != 0:
        put32(elem + Elem.STATE, _LIVE | _USED)
        elem = bucket_replace(bucket, first, prev, elem)
        _drop(map, elem)
        return 0
    else:
        put32(elem + Elem.STATE, _LIVE)
        bucket_insert(map, bucket, first, index, elem)
        return 0
    bucket_unlock(bucket, first)
    _drop(map, elem)
    return result


@native
def lru_percpu_store(map: int, key: int, value: int, flags: int, cpu: int) -> int:
    """Set the value at `key` of one CPU, or of all; errors as `lru_update`."""
    if ugt(flags, UpdateFlag.EXIST):
        return -_INVALID
    elem = 0
    if flags != UpdateFlag.EXIST:
        elem = _take(map)
        if elem == 0:
            return -_NO_MEMORY
    key_size = u32(map + MapHdr.KEY_SIZE)
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    index = hash & u64(map + Table.MASK)
    bucket = u64(map + Table.BUCKETS) + index * 8
    first = bucket_lock(bucket)
    prev = bucket_prev(bucket, first, hash, key, key_size)
    result = 0
    if prev != 0 and flags == UpdateFlag.NOEXIST:
        result = -_EXISTS
    elif prev != 0:
        old = (first if prev == bucket else u64(prev)) & ~7
        _touch(old)
        percpu_fill(map, old + value_off(key_size), value, cpu, 0)
    elif flags == UpdateFlag.EXIST:
        result = -_MISSING
    else:
        put32(elem + Elem.HASH, hash)
        put32(elem + Elem.STATE, _LIVE)
        memcpy(elem + Elem.KEY, key, key_size)
        percpu_fill(map, elem + value_off(key_size), value, cpu, 1)
        bucket_insert(map, bucket, first, index, elem)
        return 0
    bucket_unlock(bucket, first)
    if elem != 0:
        _drop(map, elem)
    return result


@native
def lru_percpu_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Set this CPU's value at `key`; see `lru_percpu_store`."""
    return lru_percpu_store(map, key, value, flags, u32(env + Env.CPU))


@native
def lru_delete(env: int, map: int, key: int) -> int:
    """Remove `key`. -ENOENT."""
    key_size = u32(map + MapHdr.KEY_SIZE)
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    bucket = u64(map + Table.BUCKETS) + (hash & u64(map + Table.MASK)) * 8
    first = bucket_lock(bucket)
    prev = bucket_prev(bucket, first, hash, key, key_size)
    if prev == 0:
        bucket_unlock(bucket, first)
        return -_MISSING
    _drop(map, bucket_remove(bucket, first, prev))
    return 0


@native
def lru_take(map: int, key: int, out: int, size: int) -> int:
    """Copy the `size` bytes at `key` to `out` and remove it, as one step. -ENOENT."""
    key_size = u32(map + MapHdr.KEY_SIZE)
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    bucket = u64(map + Table.BUCKETS) + (hash & u64(map + Table.MASK)) * 8
    first = bucket_lock(bucket)
    prev = bucket_prev(bucket, first, hash, key, key_size)
    if prev == 0:
        bucket_unlock(bucket, first)
        return -_MISSING
    elem = (first if prev == bucket else u64(prev)) & ~7
    copy_value(map, out, elem + value_off(key_size), size)
    _drop(map, bucket_remove(bucket, first, prev))
    return 0
