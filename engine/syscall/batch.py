"""Commands on many elements at once (kernel/bpf/syscall.c, generic_map_*_batch; hashtab.c).

    +0 in_batch   +8 out_batch   +16 keys   +24 values   +32 count   +36 map_fd   +40 elem_flags   +48 flags

`count` is how many there may be, and is overwritten with how many there were. A hash goes on at a bucket
number (u32) in in_batch, other maps at a key.
"""

import errno
import struct
from collections.abc import Callable

from engine.abi.bpf import MapType, UpdateFlag
from engine.errors import KernelError
from engine.machine import Machine
from engine.maps import ENOTSUPP, Map
from engine.maps.hash import HashMap
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller
from engine.syscall.elems import access, put_elem
from engine.syscall.mapcmds import get_map

__all__ = ["delete_batch", "lookup_and_delete_batch", "lookup_batch", "update_batch"]

_IN, _OUT, _KEYS, _VALUES, _COUNT, _FD, _ELEM_FLAGS, _FLAGS, _END = 0, 8, 16, 24, 32, 36, 40, 48, 56
_CHUNK = 1 << 20
"""Bytes that are collected at once; more only where a bucket is larger."""
_LOCK = int(UpdateFlag.F_LOCK)
_HASHES = frozenset(
    {MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH, MapType.HASH_OF_MAPS}
)
_ARRAYS = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.ARRAY_OF_MAPS})
_DELETE = _HASHES | {MapType.LPM_TRIE}
_LOOKUP = _UPDATE = _DELETE | _ARRAYS


def _begin(
    caller: BpfCaller, attr: Attr, types: frozenset[MapType], *, read: bool = False, write: bool = False
) -> Map:
    """The map of a call, with what every batch checks. ENOTSUPP, EPERM, EINVAL (flags)."""
    attr.check_end(_END)
    get_map(caller, attr.s32(_FD))
    used = access(caller, attr.s32(_FD), read=read, write=write)
    if used.type not in types:
        raise KernelError(ENOTSUPP)
    flags = attr.u64(_ELEM_FLAGS)
    if flags & ~_LOCK or (flags & _LOCK and used.spec.lock_off is None):
        raise KernelError(errno.EINVAL, f"bad flags {flags:#x}")
    return used


def _tell(caller: BpfCaller, attr: Attr, count: int) -> None:
    """Write how many elements there were."""
    caller.memory.write(attr.address + _COUNT, struct.pack("<I", count))


def _hash_batch(caller: BpfCaller, attr: Attr, used: HashMap, take: bool) -> int:
    """`__htab_map_lookup_and_delete_batch`: whole buckets. ENOSPC where no bucket fits, ENOENT at the end."""
    if attr.u64(_FLAGS):
        raise KernelError(errno.EINVAL, "bad flags")
    most = attr.u32(_COUNT)
    if not most:
        return 0
    _tell(caller, attr, 0)
    cursor = 0
    if attr.u64(_IN):
        (cursor,) = struct.unpack("<I", caller.memory.read(attr.u64(_IN), 4))
    if cursor >= used.nr_buckets:
        raise KernelError(errno.ENOENT)
    total, failed, chunk = 0, 0, _CHUNK
    while cursor < used.nr_buckets:
        left = (most - total) * used.record_room
        try:
            cursor, batch = used.collect(cursor, min(left, chunk), take=take)
        except KernelError as error:
            if chunk < left:
                chunk *= 2
                continue
            failed = error.errno if not total else 0
            break
        _put(caller, attr, used, batch, total)
        total += len(batch)
    else:
        failed = errno.ENOENT
    caller.memory.write(attr.u64(_OUT), struct.pack("<I", cursor))
    _tell(caller, attr, total)
    if failed:
        raise KernelError(failed)
    return 0


def _put(caller: BpfCaller, attr: Attr, used: Map, batch: list[tuple[bytes, bytes]], start: int) -> None:
    """Write elements from number `start` on."""
    if batch:
        caller.memory.write(attr.u64(_KEYS) + start * used.key_size, b"".join(key for key, _ in batch))
        values = b"".join(value for _, value in batch)
        caller.memory.write(attr.u64(_VALUES) + start * used.user_value_size, values)


def _generic_batch(caller: BpfCaller, attr: Attr, used: Map) -> int:
    """`generic_map_lookup_batch`: key by key. ENOENT at the end."""
    most = attr.u32(_COUNT)
    if not most:
        return 0
    _tell(caller, attr, 0)
    key = caller.memory.read(attr.u64(_IN), used.key_size) if attr.u64(_IN) else None
    batch: list[tuple[bytes, bytes]] = []
    failed = 0
    while len(batch) < most:
        try:
            key = used.next_key(key)
        except KernelError as error:
            failed = error.errno
            break
        try:
            batch.append((key, used.lookup(key, attr.u64(_ELEM_FLAGS))))
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
    _put(caller, attr, used, batch, 0)
    _tell(caller, attr, len(batch))
    if batch and key is not None:
        caller.memory.write(attr.u64(_OUT), key)
    if failed:
        raise KernelError(failed)
    return 0


def lookup_batch(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_LOOKUP_BATCH: writes keys, values, count and where to go on. ENOENT at the end."""
    used = _begin(caller, attr, _LOOKUP, read=True)
    if isinstance(used, HashMap):
        return _hash_batch(caller, attr, used, take=False)
    return _generic_batch(caller, attr, used)


def lookup_and_delete_batch(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_LOOKUP_AND_DELETE_BATCH: as `lookup_batch`, and removes what it wrote."""
    used = _begin(caller, attr, _HASHES, read=True, write=True)
    assert isinstance(used, HashMap)
    return _hash_batch(caller, attr, used, take=True)


def _each(caller: BpfCaller, attr: Attr, used: Map, change: Callable[[bytes, int], None]) -> int:
    """Call `change(key, number)` for each key until one fails; writes how many did not."""
    most = attr.u32(_COUNT)
    if not most:
        return 0
    _tell(caller, attr, 0)
    done, failed = 0, None
    try:
        while done < most:
            change(caller.memory.read(attr.u64(_KEYS) + done * used.key_size, used.key_size), done)
            done += 1
    except KernelError as error:
        failed = error
    _tell(caller, attr, done)
    if failed is not None:
        raise failed
    return 0


def update_batch(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_UPDATE_BATCH: stops at the first failure."""
    used = _begin(caller, attr, _UPDATE, write=True)
    size = used.user_value_size

    def change(key: bytes, number: int) -> None:
        value = caller.memory.read(attr.u64(_VALUES) + number * size, size)
        put_elem(caller, used, key, value, attr.u64(_ELEM_FLAGS))

    return _each(caller, attr, used, change)


def delete_batch(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_DELETE_BATCH: stops at the first failure."""
    used = _begin(caller, attr, _DELETE, write=True)
    return _each(caller, attr, used, lambda key, _: used.delete(key))
