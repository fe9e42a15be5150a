"""Commands that make, find and freeze maps (kernel/bpf/syscall.c).

MAP_CREATE     +0 map_type +4 key_size +8 value_size +12 max_entries +16 map_flags +20 inner_map_fd
               +24 numa_node +28 map_name[16] +44 map_ifindex +48 btf_fd +52 btf_key_type_id
               +56 btf_value_type_id +60 btf_vmlinux_value_type_id +64 map_extra
MAP_FREEZE     +0 map_fd
GET_NEXT_ID    +0 start_id +4 next_id
GET_FD_BY_ID   +0 id +4 - +8 open_flags
"""

import errno

from engine.abi.bpf import MapCreateFlag, MapType
from engine.btf import Btf
from engine.btf.fields import spin_lock_offset
from engine.errors import KernelError
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.maps.spec import BPF_OBJ_NAME_LEN, check_name
from engine.syscall.attr import Attr
from engine.syscall.btfcmds import get_btf
from engine.syscall.caller import BpfCaller, BpfFile
from engine.syscall.ids import write_next_id

__all__ = [
    "access_of",
    "get_map",
    "map_create",
    "map_freeze",
    "map_get_fd_by_id",
    "map_get_next_id",
    "object_name",
]

_WITH_INNER = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)


def access_of(flags: int) -> tuple[bool, bool]:
    """Whether BPF_F_RDONLY and BPF_F_WRONLY leave (reading, writing). EINVAL for both at once."""
    rdonly, wronly = bool(flags & MapCreateFlag.RDONLY), bool(flags & MapCreateFlag.WRONLY)
    if rdonly and wronly:
        raise KernelError(errno.EINVAL, "read-only and write-only at once")
    return not wronly, not rdonly


def get_map(caller: BpfCaller, fd: int) -> tuple[Map, BpfFile]:
    """The map behind a descriptor. EBADF; EINVAL where it is another object's."""
    file = caller.fds.get(fd)
    if not isinstance(file.object, Map):
        raise KernelError(errno.EINVAL, f"descriptor {fd} is no map")
    return file.object, file


def object_name(raw: bytes) -> str:
    """`bpf_obj_name_cpy`: the name up to its NUL, in the kernel's Latin-1. EINVAL for what is none."""
    text, found, _ = raw.partition(b"\0")
    if not found:
        raise KernelError(errno.EINVAL, "object name without end")
    name = text.decode("latin-1")
    check_name(name)
    return name


def _inner(caller: BpfCaller, attr: Attr) -> Map | None:
    """The template of a map of maps; None where there is none, which `create_map` refuses in its turn."""
    try:
        return get_map(caller, attr.s32(20))[0]
    except KernelError:
        return None


def map_create(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_CREATE: a descriptor of a new map."""
    attr.check_end(72)
    kind, flags = attr.u32(0), attr.u32(16)
    if attr.u32(60) or attr.u32(44):
        raise KernelError(errno.EINVAL, "neither struct_ops nor offloaded maps")
    if kind not in MapType.__members__.values():
        raise KernelError(errno.EINVAL, f"no map type {kind}")
    name = object_name(attr.text(28, BPF_OBJ_NAME_LEN))
    readable, writable = access_of(flags)
    spec = MapSpec(
        MapType(kind),
        attr.u32(4),
        attr.u32(8),
        attr.u32(12),
        flags,
        name,
        btf=_btf(caller, attr),
        btf_key_type_id=attr.u32(52),
        btf_value_type_id=attr.u32(56),
        inner=_inner(caller, attr) if kind in _WITH_INNER else None,
        numa_node=attr.u32(24),
        map_extra=attr.u64(64),
    )
    if spec.btf is not None and spec.btf_value_type_id:
        spec.lock_off = spin_lock_offset(spec.btf, spec.btf.skip(spec.btf_value_type_id))
    return caller.fds.install(BpfFile(create_map(spec, machine), readable, writable))


def _btf(caller: BpfCaller, attr: Attr) -> Btf | None:
    """The BTF object that a map's types are of, if any. EBADF, EINVAL; EACCES for the kernel's own."""
    if not attr.u32(56):
        if attr.u32(52):
            raise KernelError(errno.EINVAL, "a type of keys without one of values")
        return None
    found = get_btf(caller, attr.s32(48))
    if found.name:
        raise KernelError(errno.EACCES, "types of the kernel")
    return found


def map_freeze(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_FREEZE. EPERM without write access, which freezing takes away."""
    attr.check_end(4)
    frozen, file = get_map(caller, attr.s32(0))
    if not file.writable:
        raise KernelError(errno.EPERM, "the descriptor is read-only")
    frozen.freeze()
    return 0


def map_get_next_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_GET_NEXT_ID: writes the least id above start_id. ENOENT after the last."""
    return write_next_id(caller, attr, machine.maps)


def map_get_fd_by_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_MAP_GET_FD_BY_ID: a descriptor of the map with that id. ENOENT."""
    attr.check_end(12)
    flags = attr.u32(8)
    if flags & ~int(MapCreateFlag.RDONLY | MapCreateFlag.WRONLY):
        raise KernelError(errno.EINVAL, f"bad open flags {flags:#x}")
    readable, writable = access_of(flags)
    return caller.fds.install(BpfFile(machine.maps.get(attr.u32(0)), readable, writable))
