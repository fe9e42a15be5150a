"""What a map is before it exists, and the rules of all families (kernel/bpf/syscall.c, map_create)."""

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from engine.abi.bpf import MapCreateFlag, MapType
from engine.btf.mapcheck import check_map_types
from engine.cpus import possible_cpus
from engine.errors import KernelError
from engine.memory import Heap, round_up

if TYPE_CHECKING:
    from engine.maps.base import Map

__all__ = [
    "ACCESS_FLAGS",
    "BPF_OBJ_NAME_LEN",
    "KMALLOC_MAX_SIZE",
    "PCPU_MIN_UNIT_SIZE",
    "MapHost",
    "MapSpec",
    "access_ok",
    "check_common",
    "check_name",
    "refuse_flags",
    "refuse_unless",
]

BPF_OBJ_NAME_LEN = 16
KMALLOC_MAX_SIZE = 1 << 22
"""Largest single allocation of the kernel, which bounds keys and values."""
PCPU_MIN_UNIT_SIZE = 32 << 10
"""Largest per-CPU value (include/linux/percpu.h)."""
ACCESS_FLAGS = (
    MapCreateFlag.RDONLY | MapCreateFlag.WRONLY | MapCreateFlag.RDONLY_PROG | MapCreateFlag.WRONLY_PROG
)
_NAME = re.compile(r"[A-Za-z0-9_.\xc0-\xd6\xd8-\xf6\xf8-\xff]*")
"""What `bpf_obj_name_cpy` takes: letters are those of lib/ctype.c, which is Latin-1."""


@dataclass(slots=True)
class MapSpec:
    """A map to create: the fields of `union bpf_attr` for BPF_MAP_CREATE, descriptors turned into objects.

    `inner` is the template of a map-in-map. `lock_off` is the offset of a `struct bpf_spin_lock` in the
    value, found in the BTF of the value's type; None without one.
    """

    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    name: str = ""
    btf: Any = None
    btf_key_type_id: int = 0
    btf_value_type_id: int = 0
    inner: "Map | None" = None
    numa_node: int = 0
    map_extra: int = 0
    lock_off: int | None = None

    @property
    def value_stride(self) -> int:
        """Bytes of a value in memory: rounded up to whole words."""
        return round_up(self.value_size, 8)


def _at_once(reclaim: Callable[[], None]) -> None:
    reclaim()


@dataclass(frozen=True, slots=True)
class MapHost:
    """Where a map lives: the heap of its header, the CPUs it serves, what delays reclaiming its memory."""

    heap: Heap
    nr_cpus: int
    retire: Callable[[Callable[[], None]], None] = field(default=_at_once)

    @staticmethod
    @cache
    def alone() -> "MapHost":
        """For maps without a machine: a heap of their own, this machine's CPUs, no grace period."""
        return MapHost(Heap(16 << 20, "bpf-maps"), possible_cpus())


def refuse_unless(condition: object, message: str, number: int = errno.EINVAL) -> None:
    """Raise KernelError `number` unless `condition` holds."""
    if not condition:
        raise KernelError(number, message)


def access_ok(flags: int) -> bool:
    """`bpf_map_flags_access_ok`: programs may not be refused both reading and writing."""
    both = MapCreateFlag.RDONLY_PROG | MapCreateFlag.WRONLY_PROG
    return flags & both != both


def refuse_flags(spec: MapSpec, known: int) -> None:
    """EINVAL for a creation flag that is not among `known`, and where programs could do nothing."""
    refuse_unless(not spec.flags & ~int(known) and access_ok(spec.flags), f"bad flags {spec.flags:#x}")


def check_name(name: str) -> None:
    """EINVAL for what `bpf_obj_name_cpy` does not take as the name of a map or program."""
    good = len(name) < BPF_OBJ_NAME_LEN and _NAME.fullmatch(name)
    refuse_unless(good, f"bad object name {name!r}")


def check_common(spec: MapSpec) -> None:
    """What `map_create` checks before it asks the family. Raises KernelError EINVAL."""
    check_name(spec.name)
    refuse_unless(not spec.btf_key_type_id or spec.btf_value_type_id, "BTF of the key without the value's")
    refuse_unless(
        not spec.map_extra or spec.type == MapType.BLOOM_FILTER, "map_extra is not used by this type"
    )
    if spec.btf is not None and spec.btf_value_type_id:
        ids, sizes = (spec.btf_key_type_id, spec.btf_value_type_id), (spec.key_size, spec.value_size)
        check_map_types(spec.type, spec.btf, ids, sizes, spec.max_entries)
    closed = MapCreateFlag.RDONLY | MapCreateFlag.WRONLY
    refuse_unless(spec.flags & closed != closed, "read-only and write-only at once")
    if spec.flags & MapCreateFlag.NUMA_NODE:
        refuse_unless(spec.numa_node == 0, f"no NUMA node {spec.numa_node}")
