"""Whether key and value types fit a map (`map_check_btf`, kernel/bpf/syscall.c, and each map's own check)."""

import errno

from engine.abi.bpf import MapType
from engine.btf.btf import Btf
from engine.btf.membercheck import is_regular_int
from engine.btf.types import Composite, DataSec, Int, Kind
from engine.errors import KernelError

__all__ = ["ENOTSUPP", "check_map_types"]

ENOTSUPP = 524
_NEVER = frozenset(
    (
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.STACK_TRACE,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
    )
)
"""Maps whose elements have no types (`map_check_no_btf`)."""
_ARRAYS = frozenset((MapType.ARRAY, MapType.PERCPU_ARRAY))
_STORAGES = frozenset((MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE))


def check_map_types(
    map_type: int, btf: Btf, type_ids: tuple[int, int], sizes: tuple[int, int], max_entries: int
) -> None:
    """`type_ids` and `sizes` are those of key and value; a key may be void in maps of global variables.

    Raises KernelError: EINVAL for types that do not fit, ENOTSUPP for maps that take none.
    """
    key_id, value_id = type_ids
    if key_id and _size(btf, key_id) != sizes[0]:
        raise KernelError(errno.EINVAL, f"type of the key is not of {sizes[0]} bytes")
    if not value_id or _size(btf, value_id) != sizes[1]:
        raise KernelError(errno.EINVAL, f"type of the value is not of {sizes[1]} bytes")
    if map_type in _NEVER:
        raise KernelError(ENOTSUPP, "maps of this type have no key and value types")
    if map_type in _ARRAYS:
        _array(map_type, btf, type_ids, max_entries)
    elif not key_id and map_type != MapType.BLOOM_FILTER:
        raise KernelError(errno.EINVAL, "the key has no type")
    elif map_type == MapType.LPM_TRIE:
        key = btf.resolve(key_id)
        if not isinstance(key, Composite) or key.kind is not Kind.STRUCT:
            raise KernelError(errno.EINVAL, "the key of a trie is a struct")
    elif map_type in _STORAGES:
        _index(btf, key_id)


def _size(btf: Btf, type_id: int) -> int:
    try:
        return btf.size_of(type_id)
    except KernelError:
        return -1


def _array(map_type: int, btf: Btf, type_ids: tuple[int, int], max_entries: int) -> None:
    """`array_map_check_btf`: an index of 32 bits; no key for one element that is a section of variables."""
    key_id, value_id = type_ids
    if not key_id:
        section = isinstance(btf.type(value_id), DataSec)
        if map_type != MapType.ARRAY or max_entries != 1 or not section:
            raise KernelError(errno.EINVAL, "the key has no type")
        return
    _index(btf, key_id)


def _index(btf: Btf, key_id: int) -> None:
    key = btf.resolve(key_id)
    if not isinstance(key, Int) or key.bits != 32 or not is_regular_int(key):
        raise KernelError(errno.EINVAL, "the key is no integer of 32 bits")
