"""Native operations of BPF_MAP_TYPE_PERCPU_HASH: an element holds one value for each CPU, in a row.

From kernel/bpf/hashtab.c, __htab_percpu_map_update_elem. A program updates its own CPU's value in place;
bpf(2) updates all of them.
"""

import errno

from engine.abi.bpf import UpdateFlag
from engine.env import Env
from engine.jit.lang import memcpy, memset, native, put32, u32, u64, uge, ugt
from engine.maps.bucket import Table, bucket_insert, bucket_lock, bucket_prev, bucket_unlock
from engine.maps.header import MapHdr
from engine.maps.htab import htab_lookup_shaped, value_off
from engine.maps.keys import hash_key
from engine.maps.pool import Elem, pool_take

__all__ = [
    "ALL_CPUS",
    "percpu_fill",
    "percpu_htab_lookup",
    "percpu_htab_lookup_percpu",
    "percpu_htab_lookup_shaped",
    "percpu_htab_store",
    "percpu_htab_update",
]

ALL_CPUS = -1
"""CPU number of an update that brings the values of all CPUs."""
_EXISTS = errno.EEXIST
_MISSING = errno.ENOENT
_INVALID = errno.EINVAL
_FULL = errno.E2BIG


@native(inline=True)
def percpu_htab_lookup_shaped(env: int, map: int, key: int, key_size: int, mask: int, stride: int) -> int:
    """`percpu_htab_lookup` with the map's shape as arguments."""
    values = htab_lookup_shaped(env, map, key, key_size, mask)
    return values + u32(env + Env.CPU) * stride if values != 0 else 0


@native
def percpu_htab_lookup(env: int, map: int, key: int) -> int:
    """Address of this CPU's value at `key`, or 0."""
    key_size = u32(map + MapHdr.KEY_SIZE)
    stride = u32(map + MapHdr.STRIDE)
    if key_size == 4:
        return percpu_htab_lookup_shaped(env, map, key, 4, u64(map + Table.MASK), stride)
    return percpu_htab_lookup_shaped(env, map, key, key_size, u64(map + Table.MASK), stride)


@native
def percpu_htab_lookup_percpu(env: int, map: int, key: int, cpu: int) -> int:
    """Address of the value of `cpu` at `key`, or 0."""
    if uge(cpu, u32(map + MapHdr.NR_CPUS)):
        return 0
    values = htab_lookup_shaped(env, map, key, u32(map + MapHdr.KEY_SIZE), u64(map + Table.MASK))
    return values + cpu * u32(map + MapHdr.STRIDE) if values != 0 else 0


@native
def percpu_fill(map: int, values: int, value: int, cpu: int, fresh: int) -> int:
    """Store `value` for one CPU (a `fresh` element's others become 0), or all values for ALL_CPUS."""
    stride = u32(map + MapHdr.STRIDE)
    if cpu == ALL_CPUS:
        memcpy(values, value, stride * u32(map + MapHdr.NR_CPUS))
        return 0
    if fresh:
        memset(values, 0, stride * u32(map + MapHdr.NR_CPUS))
    memcpy(values + cpu * stride, value, u32(map + MapHdr.VALUE_SIZE))
    return 0


@native
def percpu_htab_store(map: int, key: int, value: int, flags: int, cpu: int) -> int:
    """Set the value at `key` of one CPU, or of all. -EEXIST, -ENOENT, -E2BIG (full) or -EINVAL (flags)."""
    if ugt(flags, UpdateFlag.EXIST):
        return -_INVALID
    key_size = u32(map + MapHdr.KEY_SIZE)
    hash = hash_key(key, key_size, u64(map + Table.SEED))
    index = hash & u64(map + Table.MASK)
    bucket = u64(map + Table.BUCKETS) + index * 8
    first = bucket_lock(bucket)
    prev = bucket_prev(bucket, first, hash, key, key_size)
    result = 0
    if prev != 0:
        elem = (first if prev == bucket else u64(prev)) & ~7
        if flags == UpdateFlag.NOEXIST:
            result = -_EXISTS
        else:
            percpu_fill(map, elem + value_off(key_size), value, cpu, 0)
    elif flags == UpdateFlag.EXIST:
        result = -_MISSING
    else:
        elem = pool_take(map)
        if elem != 0:
            put32(elem + Elem.HASH, hash)
            memcpy(elem + Elem.KEY, key, key_size)
            percpu_fill(map, elem + value_off(key_size), value, cpu, 1)
            bucket_insert(map, bucket, first, index, elem)
            return 0
        result = -_FULL
    bucket_unlock(bucket, first)
    return result


@native
def percpu_htab_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Set this CPU's value at `key`; see `percpu_htab_store`."""
    return percpu_htab_store(map, key, value, flags, u32(env + Env.CPU))
