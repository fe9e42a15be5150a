"""Commands on one element of a map (kernel/bpf/syscall.c).

+0 map_fd   +8 key   +16 value (or next_key)   +24 flags
"""

import errno
import struct

from engine.abi.bpf import MapType, UpdateFlag
from engine.errors import KernelError
from engine.machine import Machine
from engine.maps import Map
from engine.maps.bloom import BloomFilterMap
from engine.maps.devmap_hash import DevHashMap
from engine.maps.hash_of_maps import HashOfMaps
from engine.maps.objects import ObjectArray
from engine.maps.redirect import RedirectArray
from engine.maps.xskmap import XskMap
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller
from engine.syscall.mapcmds import get_map

__all__ = [
    "access",
    "delete_elem",
    "get_next_key",
    "lookup_and_delete_elem",
    "lookup_elem",
    "put_elem",
    "update_elem",
]

_LOCK = int(UpdateFlag.F_LOCK)
_KEY, _VALUE, _FLAGS = 8, 16, 24
_QUEUES = (MapType.QUEUE, MapType.STACK)
_PUSHED = (*_QUEUES, MapType.BLOOM_FILTER)


def access(caller: BpfCaller, fd: int, *, read: bool = False, write: bool = False) -> Map:
    """The map of a call that reads or writes it. EPERM where descriptor or freezing forbid it."""
    found, file = get_map(caller, fd)
    if read and not file.readable:
        raise KernelError(errno.EPERM, "the descriptor is write-only")
    if write and (not file.writable or found.frozen):
        raise KernelError(errno.EPERM, "the descriptor is read-only, or the map frozen")
    return found


def _key(caller: BpfCaller, used: Map, address: int) -> bytes:
    """The key in the caller's memory. A map without keys takes none: EINVAL."""
    if used.key_size == 0:
        if address:
            raise KernelError(errno.EINVAL, "this map has no keys")
        return b""
    return caller.memory.read(address, used.key_size)


def _refuse_lock(used: Map, flags: int) -> None:
    if flags & UpdateFlag.F_LOCK and used.spec.lock_off is None:
        raise KernelError(errno.EINVAL, "no spin lock in the value")


def lookup_elem(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_LOOKUP_ELEM: writes the value. ENOENT."""
    attr.check_end(32)
    flags = attr.u64(_FLAGS)
    if flags & ~_LOCK:
        raise KernelError(errno.EINVAL, f"bad flags {flags:#x}")
    used = access(caller, attr.s32(0), read=True)
    _refuse_lock(used, flags)
    key = _key(caller, used, attr.u64(_KEY))
    if isinstance(used, BloomFilterMap):
        if not used.contains(caller.memory.read(attr.u64(_VALUE), used.value_size)):
            raise KernelError(errno.ENOENT)
        return 0
    value = used.peek() if used.type in _QUEUES else used.lookup(key, flags)
    caller.memory.write(attr.u64(_VALUE), value)
    return 0


def put_elem(caller: BpfCaller, used: Map, key: bytes, value: bytes, flags: int) -> None:
    """`bpf_map_update_value`: the value may be a descriptor."""
    if isinstance(used, ObjectArray | HashOfMaps):
        if isinstance(used, ObjectArray):
            used.refuse_update(key, flags)
        item = caller.fds.get(struct.unpack("<i", value)[0]).object
        used.update_object(key, item, flags)
    elif isinstance(used, RedirectArray | DevHashMap | XskMap):
        used.put(key, value, flags, lambda fd: caller.fds.get(fd).object)
    elif used.type in _PUSHED:
        used.push(value, flags)
    else:
        used.update(key, value, flags)


def update_elem(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_UPDATE_ELEM. EEXIST, ENOENT, E2BIG, EINVAL, EPERM."""
    attr.check_end(32)
    flags = attr.u64(_FLAGS)
    used = access(caller, attr.s32(0), write=True)
    _refuse_lock(used, flags)
    key = _key(caller, used, attr.u64(_KEY))
    put_elem(caller, used, key, caller.memory.read(attr.u64(_VALUE), used.user_value_size), flags)
    return 0


def delete_elem(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_DELETE_ELEM. ENOENT, EINVAL."""
    attr.check_end(16)
    used = access(caller, attr.s32(0), write=True)
    used.delete(_key(caller, used, attr.u64(_KEY)))
    return 0


def get_next_key(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_GET_NEXT_KEY: writes the key after `key`, the first one where that is null. ENOENT."""
    attr.check_end(24)
    used = access(caller, attr.s32(0), read=True)
    address = attr.u64(_KEY)
    key = _key(caller, used, address) if address else None
    caller.memory.write(attr.u64(_VALUE), used.next_key(key))
    return 0


def lookup_and_delete_elem(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM: writes the value and removes it. ENOENT, ENOTSUPP."""
    attr.check_end(32)
    flags = attr.u64(_FLAGS)
    if flags & ~_LOCK:
        raise KernelError(errno.EINVAL, f"bad flags {flags:#x}")
    used = access(caller, attr.s32(0), read=True, write=True)
    if flags and used.type in _QUEUES:
        raise KernelError(errno.EINVAL, "queues take no flags")
    _refuse_lock(used, flags)
    key = _key(caller, used, attr.u64(_KEY))
    value = used.pop() if used.type in _QUEUES else used.lookup_and_delete(key, flags)
    caller.memory.write(attr.u64(_VALUE), value)
    return 0
