"""Native operations of BPF_MAP_TYPE_STACK_TRACE: call stacks by a hash of addresses (kernel/bpf/stackmap.c).

Ids are bucket numbers; a bucket is a u64, the trace in it or 0. Traces come from the element pool.

    trace  +0 number of addresses u32   +4 hash u32   +8 the pool's   +16 addresses
"""

import errno
from enum import IntEnum

from engine.jit.lang import (
    load_acquire64,
    memcmp,
    memcpy,
    memset,
    native,
    put32,
    store_release32,
    u32,
    u64,
    xchg64,
)
from engine.maps.header import MapHdr
from engine.maps.keys import hash_key
from engine.maps.pool import Elem, pool_give, pool_take

__all__ = [
    "StackFlag",
    "StackHdr",
    "stack_copy",
    "stack_delete",
    "stack_id",
    "stack_next",
    "stack_trace_update",
]

_COUNT, _HASH, _IPS = 0, 4, int(Elem.KEY)
_INVALID = errno.EINVAL
_MISSING = errno.ENOENT
_EXISTS = errno.EEXIST
_NO_MEMORY = errno.ENOMEM
_BEYOND = errno.E2BIG


class StackHdr(IntEnum):
    """Offsets in the map's header; the pool's come before."""

    BUCKETS = 128
    MASK = 136
    """u64, number of buckets less one."""


class StackFlag(IntEnum):
    """Flags of bpf_get_stackid and bpf_get_stack."""

    SKIP_MASK = 0xFF
    USER_STACK = 1 << 8
    FAST_STACK_CMP = 1 << 9
    REUSE_STACKID = 1 << 10
    USER_BUILD_ID = 1 << 11


@native
def stack_id(map: int, ips: int, count: int, flags: int) -> int:
    """The id of a trace of `count` addresses. -EEXIST: another trace has it, and REUSE_STACKID is not set."""
    size = count * 8
    hash = hash_key(ips, size, count)
    index = hash & u64(map + StackHdr.MASK)
    slot = u64(map + StackHdr.BUCKETS) + index * 8
    there = load_acquire64(slot)
    same_hash = there != 0 and u32(there + _HASH) == hash
    if same_hash and flags & StackFlag.FAST_STACK_CMP:
        return index
    if same_hash and u32(there + _COUNT) == count and memcmp(there + _IPS, ips, size) == 0:
        return index
    if there != 0 and not flags & StackFlag.REUSE_STACKID:
        return -_EXISTS
    trace = pool_take(map)
    if trace == 0:
        return -_NO_MEMORY
    put32(trace + _HASH, hash)
    memcpy(trace + _IPS, ips, size)
    store_release32(trace + _COUNT, count)
    old = xchg64(slot, trace)
    if old != 0:
        pool_give(map, old)
    return index


@native
def stack_copy(map: int, index: int, out: int, take: int) -> int:
    """Copy trace `index`, zeros after it, to `out` (value_size bytes); `take` forgets it. -ENOENT."""
    if index > u64(map + StackHdr.MASK):
        return -_MISSING
    slot = u64(map + StackHdr.BUCKETS) + index * 8
    # Nobody can free the trace while it is out of its bucket.
    trace = xchg64(slot, 0)
    if trace == 0:
        return -_MISSING
    size = u32(trace + _COUNT) * 8
    memcpy(out, trace + _IPS, size)
    memset(out + size, 0, u32(map + MapHdr.VALUE_SIZE) - size)
    newer = trace if take else xchg64(slot, trace)
    if newer != 0:
        pool_give(map, newer)
    return 0


@native
def stack_delete(env: int, map: int, key: int) -> int:
    """Forget the trace with id `key`. -ENOENT, -E2BIG."""
    index = u32(key)
    if index > u64(map + StackHdr.MASK):
        return -_BEYOND
    trace = xchg64(u64(map + StackHdr.BUCKETS) + index * 8, 0)
    if trace == 0:
        return -_MISSING
    pool_give(map, trace)
    return 0


@native
def stack_trace_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Only bpf_get_stackid adds traces: -EINVAL."""
    return -_INVALID


@native
def stack_next(map: int, index: int) -> int:
    """The first id from `index` on that is used. -ENOENT."""
    for at in range(index, u64(map + StackHdr.MASK) + 1):
        if load_acquire64(u64(map + StackHdr.BUCKETS) + at * 8) != 0:
            return at
    return -_MISSING
