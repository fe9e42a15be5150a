"""Native operations of BPF_MAP_TYPE_HASH (kernel/bpf/hashtab.c, htab_map_*)."""

import errno

from engine.abi.bpf import UpdateFlag
from engine.jit.lang import memcpy, native, put32, u32, u64, ugt
from engine.maps.bucket import (
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
from engine.maps.keys import hash_key
from engine.maps.pool import Elem, pool_give, pool_take, spare_give, spare_take
from engine.maps.values import copy_value, init_value, update_locked

__all__ = ["htab_delete", "htab_lookup", "htab_take", "htab_update", "value_off"]

_EXISTS = errno.EEXIST
_MISSING = errno.ENOENT
_INVALID = errno.EINVAL
_FULL = errno.E2BIG


@native(inline=True)
def value_off(key_size: int) -> int:
    """Where an element's value starts."""
    return Elem.KEY + ((key_size + 7) & ~7)


@native(inline=True)
def htab_lookup_shaped(env: int, map: int, key: int, key_size: int, mask: int) -> int:
    """`htab_lookup` with the map's shape as arguments."""
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    index = hash & mask
    elem = find_elem(u64(map + Table.BUCKETS) + index * 8, index, hash, key, key_size)
    return elem + value_off(key_size) if elem != 0 else 0


@native
def htab_lookup(env: int, map: int, key: int) -> int:
    """Address of the value at `key`, or 0."""
    key_size = u32(map + MapHdr.KEY_SIZE)
    mask = u64(map + Table.MASK)
    if key_size == 4:
        return htab_lookup_shaped(env, map, key, 4, mask)
    if key_size == 8:
        return htab_lookup_shaped(env, map, key, 8, mask)
    return htab_lookup_shaped(env, map, key, key_size, mask)


@native(inline=True)
def htab_update_shaped(
    env: int, map: int, key: int, value: int, flags: int, key_size: int, mask: int, value_size: int
) -> int:
    """`htab_update` with the map's shape as arguments; for values without a spin lock."""
    if ugt(flags, UpdateFlag.EXIST):
        return -_INVALID
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    index = hash & mask
    bucket = u64(map + Table.BUCKETS) + index * 8
    first = bucket_lock(bucket)
    prev = bucket_prev(bucket, first, hash, key, key_size)
    if prev != 0:
        if flags == UpdateFlag.NOEXIST:
            bucket_unlock(bucket, first)
            return -_EXISTS
        elem = spare_take(map, index)
        put32(elem + Elem.HASH, hash)
        memcpy(elem + Elem.KEY, key, key_size)
        memcpy(elem + value_off(key_size), value, value_size)
        spare_give(map, index, bucket_replace(bucket, first, prev, elem))
        return 0
    if flags == UpdateFlag.EXIST:
        bucket_unlock(bucket, first)
        return -_MISSING
    elem = pool_take(map)
    if elem == 0:
        bucket_unlock(bucket, first)
        return -_FULL
    put32(elem + Elem.HASH, hash)
    memcpy(elem + Elem.KEY, key, key_size)
    memcpy(elem + value_off(key_size), value, value_size)
    bucket_insert(map, bucket, first, index, elem)
    return 0


@native
def _update_with_lock(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Update of a map whose values have a spin lock, which is never copied (`copy_map_value`)."""
    if ugt(flags & ~UpdateFlag.F_LOCK, UpdateFlag.EXIST):
        return -_INVALID
    key_size = u32(map + MapHdr.KEY_SIZE)
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    index = hash & u64(map + Table.MASK)
    bucket = u64(map + Table.BUCKETS) + index * 8
    first = bucket_lock(bucket)
    prev = bucket_prev(bucket, first, hash, key, key_size)
    wanted = flags & ~UpdateFlag.F_LOCK
    result = 0
    if prev != 0:
        old = (first if prev == bucket else u64(prev)) & ~7
        if wanted == UpdateFlag.NOEXIST:
            result = -_EXISTS
        elif flags & UpdateFlag.F_LOCK:
            update_locked(map, old + value_off(key_size), value)
        else:
            elem = spare_take(map, index)
            put32(elem + Elem.HASH, hash)
            memcpy(elem + Elem.KEY, key, key_size)
            init_value(map, elem + value_off(key_size), value)
            spare_give(map, index, bucket_replace(bucket, first, prev, elem))
            return 0
    elif wanted == UpdateFlag.EXIST:
        result = -_MISSING
    else:
        elem = pool_take(map)
        if elem != 0:
            put32(elem + Elem.HASH, hash)
            memcpy(elem + Elem.KEY, key, key_size)
            init_value(map, elem + value_off(key_size), value)
            bucket_insert(map, bucket, first, index, elem)
            return 0
        result = -_FULL
    bucket_unlock(bucket, first)
    return result


@native
def htab_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Set the value at `key`. -EEXIST, -ENOENT, -E2BIG (full) or -EINVAL (flags)."""
    if u32(map + MapHdr.LOCK_OFF) != NO_LOCK:
        return _update_with_lock(env, map, key, value, flags)
    key_size = u32(map + MapHdr.KEY_SIZE)
    value_size = u32(map + MapHdr.VALUE_SIZE)
    mask = u64(map + Table.MASK)
    if key_size == 4 and value_size == 8:
        return htab_update_shaped(env, map, key, value, flags, 4, mask, 8)
    if key_size == 8 and value_size == 8:
        return htab_update_shaped(env, map, key, value, flags, 8, mask, 8)
    return htab_update_shaped(env, map, key, value, flags, key_size, mask, value_size)


@native(inline=True)
def htab_delete_shaped(env: int, map: int, key: int, key_size: int, mask: int) -> int:
    """`htab_delete` with the map's shape as arguments."""
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    index = hash & mask
    bucket = u64(map + Table.BUCKETS) + index * 8
    first = bucket_lock(bucket)
    prev = bucket_prev(bucket, first, hash, key, key_size)
    if prev == 0:
        bucket_unlock(bucket, first)
        return -_MISSING
    pool_give(map, bucket_remove(bucket, first, prev))
    return 0


@native
def htab_delete(env: int, map: int, key: int) -> int:
    """Remove `key`. -ENOENT."""
    key_size = u32(map + MapHdr.KEY_SIZE)
    mask = u64(map + Table.MASK)
    if key_size == 4:
        return htab_delete_shaped(env, map, key, 4, mask)
    if key_size == 8:
        return htab_delete_shaped(env, map, key, 8, mask)
    return htab_delete_shaped(env, map, key, key_size, mask)


@native
def htab_take(map: int, key: int, out: int, size: int) -> int:
    """Copy the `size` bytes at `key` to `out` and remove it, as one step. -ENOENT."""
    key_size = u32(map + MapHdr.KEY_SIZE)
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    index = hash & u64(map + Table.MASK)
    bucket = u64(map + Table.BUCKETS) + index * 8
    first = bucket_lock(bucket)
    prev = bucket_prev(bucket, first, hash, key, key_size)
    if prev == 0:
        bucket_unlock(bucket, first)
        return -_MISSING
    elem = (first if prev == bucket else u64(prev)) & ~7
    copy_value(map, out, elem + value_off(key_size), size)
    pool_give(map, bucket_remove(bucket, first, prev))
    return 0
