"""Native operations of BPF_MAP_TYPE_ARRAY and PERCPU_ARRAY (kernel/bpf/arraymap.c).

ARRAY         DATA + index * ELEM_SIZE
PERCPU_ARRAY  DATA + cpu * CPU_STRIDE + index * ELEM_SIZE; each CPU's part starts on a page
"""

import errno
from enum import IntEnum

from engine.abi.bpf import UpdateFlag
from engine.env import Env
from engine.jit.lang import call, local, memcpy, native, put32, u32, u64, uge, ugt
from engine.maps.header import NO_LOCK, MapHdr
from engine.maps.values import copy_around, update_locked

__all__ = [
    "ArrayHdr",
    "array_delete",
    "array_for_each",
    "array_lookup",
    "array_lookup_shaped",
    "array_update",
    "percpu_array_for_each",
    "percpu_array_lookup",
    "percpu_array_lookup_percpu",
    "percpu_array_lookup_shaped",
    "percpu_array_update",
]

_EXISTS = errno.EEXIST
_INVALID = errno.EINVAL
_BEYOND = errno.E2BIG


class ArrayHdr(IntEnum):
    """Offsets in the map's header."""

    CPU_STRIDE = 112
    """u64, bytes from one CPU's array to the next."""


@native(inline=True)
def array_lookup_shaped(env: int, map: int, key: int, max_entries: int, elem_size: int) -> int:
    """`array_lookup` with the map's shape as arguments."""
    index = u32(key)
    return u64(map + MapHdr.DATA) + index * elem_size if index < max_entries else 0


@native
def array_lookup(env: int, map: int, key: int) -> int:
    """Address of the value at index `key`, or 0."""
    return array_lookup_shaped(env, map, key, u32(map + MapHdr.MAX_ENTRIES), u32(map + MapHdr.ELEM_SIZE))


@native(inline=True)
def _flags_error(map: int, key: int, flags: int) -> int:
    """What is wrong with an update, as a negative errno; 0: nothing."""
    if ugt(flags & ~UpdateFlag.F_LOCK, UpdateFlag.EXIST):
        return -_INVALID
    if u32(key) >= u32(map + MapHdr.MAX_ENTRIES):
        return -_BEYOND
    if flags & UpdateFlag.NOEXIST:
        return -_EXISTS
    if flags & UpdateFlag.F_LOCK and u32(map + MapHdr.LOCK_OFF) == NO_LOCK:
        return -_INVALID
    return 0


@native
def array_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Set the value at index `key`. -EINVAL (flags), -E2BIG (beyond the end), -EEXIST (NOEXIST)."""
    error = _flags_error(map, key, flags)
    if error:
        return error
    at = u64(map + MapHdr.DATA) + u32(key) * u32(map + MapHdr.ELEM_SIZE)
    if u32(map + MapHdr.LOCK_OFF) == NO_LOCK:
        memcpy(at, value, u32(map + MapHdr.VALUE_SIZE))
    elif flags & UpdateFlag.F_LOCK:
        update_locked(map, at, value)
    else:
        copy_around(map, at, value, u32(map + MapHdr.VALUE_SIZE))
    return 0


@native
def array_delete(env: int, map: int, key: int) -> int:
    """Arrays have all their elements for ever: -EINVAL."""
    return -_INVALID


@native
def array_for_each(env: int, map: int, callback: int, ctx: int) -> int:
    """Call callback(map, &index, value, ctx, 0, env) until it returns not 0; how many calls."""
    key = local(8)
    count = u32(map + MapHdr.MAX_ENTRIES)
    for i in range(count):
        put32(key, i)
        value = u64(map + MapHdr.DATA) + i * u32(map + MapHdr.ELEM_SIZE)
        if call(callback, map, key, value, ctx, 0, env) != 0:
            return i + 1
    return count


@native(inline=True)
def percpu_array_lookup_shaped(
    env: int, map: int, key: int, max_entries: int, elem_size: int, cpu_stride: int
) -> int:
    """`percpu_array_lookup` with the map's shape as arguments."""
    index = u32(key)
    if index >= max_entries:
        return 0
    return u64(map + MapHdr.DATA) + u32(env + Env.CPU) * cpu_stride + index * elem_size


@native
def percpu_array_lookup(env: int, map: int, key: int) -> int:
    """Address of this CPU's value at index `key`, or 0."""
    entries = u32(map + MapHdr.MAX_ENTRIES)
    size = u32(map + MapHdr.ELEM_SIZE)
    return percpu_array_lookup_shaped(env, map, key, entries, size, u64(map + ArrayHdr.CPU_STRIDE))


@native
def percpu_array_lookup_percpu(env: int, map: int, key: int, cpu: int) -> int:
    """Address of the value of `cpu` at index `key`, or 0."""
    index = u32(key)
    if index >= u32(map + MapHdr.MAX_ENTRIES) or uge(cpu, u32(map + MapHdr.NR_CPUS)):
        return 0
    part = u64(map + MapHdr.DATA) + cpu * u64(map + ArrayHdr.CPU_STRIDE)
    return part + index * u32(map + MapHdr.ELEM_SIZE)


@native
def percpu_array_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Set this CPU's value at index `key`; errors as `array_update`."""
    error = _flags_error(map, key, flags)
    if error:
        return error
    memcpy(percpu_array_lookup(env, map, key), value, u32(map + MapHdr.VALUE_SIZE))
    return 0


@native
def percpu_array_for_each(env: int, map: int, callback: int, ctx: int) -> int:
    """As `array_for_each`, over this CPU's values."""
    key = local(8)
    count = u32(map + MapHdr.MAX_ENTRIES)
    for i in range(count):
        put32(key, i)
        if call(callback, map, key, percpu_array_lookup(env, map, key), ctx, 0, env) != 0:
            return i + 1
    return count
