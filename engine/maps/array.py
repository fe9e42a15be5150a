"""BPF_MAP_TYPE_ARRAY and PERCPU_ARRAY: what bpf(2) sees of them (kernel/bpf/arraymap.c)."""

import ctypes
import errno
import struct
from collections.abc import Iterator

from engine.abi.bpf import MapCreateFlag, MapType, UpdateFlag
from engine.errors import KernelError
from engine.maps.array_ops import (
    ArrayHdr,
    array_delete,
    array_for_each,
    array_lookup,
    array_lookup_shaped,
    array_update,
    percpu_array_for_each,
    percpu_array_lookup,
    percpu_array_lookup_percpu,
    percpu_array_lookup_shaped,
    percpu_array_update,
)
from engine.maps.base import BATCH_BYTES, Batch, Map
from engine.maps.header import MapOps
from engine.maps.spec import ACCESS_FLAGS, PCPU_MIN_UNIT_SIZE, MapSpec, refuse_flags, refuse_unless
from engine.memory import PAGE_SIZE, Region, round_up

__all__ = ["ArrayMap", "PercpuArrayMap", "check_array", "next_index"]

_INT_MAX = 2**31 - 1
_CREATE_FLAGS = (
    ACCESS_FLAGS
    | MapCreateFlag.NUMA_NODE
    | MapCreateFlag.MMAPABLE
    | MapCreateFlag.PRESERVE_ELEMS
    | MapCreateFlag.INNER_MAP
)


def check_array(spec: MapSpec) -> None:
    """`array_map_alloc_check`, shared by everything that is indexed by a u32."""
    percpu = spec.type == MapType.PERCPU_ARRAY
    refuse_unless(spec.max_entries and spec.key_size == 4 and spec.value_size, "bad sizes for an array")
    refuse_flags(spec, _CREATE_FLAGS)
    refuse_unless(not (percpu and spec.flags & MapCreateFlag.NUMA_NODE), "no NUMA node for per-CPU memory")
    array_only = MapCreateFlag.MMAPABLE | MapCreateFlag.INNER_MAP
    refuse_unless(spec.type == MapType.ARRAY or not spec.flags & array_only, "a flag of plain arrays")
    preserve = spec.flags & MapCreateFlag.PRESERVE_ELEMS
    refuse_unless(not preserve or spec.type == MapType.PERF_EVENT_ARRAY, "a flag of perf event arrays")
    refuse_unless(spec.value_size <= _INT_MAX, "value too large", errno.E2BIG)
    if percpu:
        refuse_unless(spec.value_stride <= PCPU_MIN_UNIT_SIZE, "value too large", errno.E2BIG)


def next_index(key: bytes | None, max_entries: int) -> bytes:
    """`array_map_get_next_key`. ENOENT after the last index."""
    index = 0xFFFF_FFFF if key is None else struct.unpack("<I", key)[0]
    if index >= max_entries:
        return struct.pack("<I", 0)
    if index == max_entries - 1:
        raise KernelError(errno.ENOENT)
    return struct.pack("<I", index + 1)


class ArrayMap(Map):
    """All elements exist, zeroed, from the start. With BPF_F_MMAPABLE the region is what mmap(2) shows."""

    ops = MapOps(
        lookup=array_lookup,
        update=array_update,
        delete=array_delete,
        for_each=array_for_each,
        lookup_shaped=array_lookup_shaped,
    )

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """See `Map.check`."""
        check_array(spec)

    def allocate(self) -> Region:
        """See `Map.allocate`."""
        return Region(f"bpf-map:{self.spec.name}", self.max_entries * self.spec.value_stride)

    @property
    def shape(self) -> tuple[int, ...]:
        """(max_entries, element size)"""
        return self.max_entries, self.spec.value_stride

    def find(self, key: int) -> int:
        """See `Map.find`."""
        return self.ops.lookup(0, self.address, key)

    def next_key(self, key: bytes | None) -> bytes:
        """See `Map.next_key`."""
        if key is not None:
            self.key_buffer(key)
        return next_index(key, self.max_entries)

    def value_at(self, index: int) -> bytes:
        """The value at `index`, which is below max_entries, as bpf(2) shows it."""
        return self.copy_out(self.address_of(index))

    def address_of(self, index: int) -> int:
        """Host address of the value at `index` (of the first CPU)."""
        assert self.region is not None
        return self.region.address + index * self.spec.value_stride

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """See `Map.batches`; the cursor is an index."""
        step = max(1, room // (4 + self.user_value_size))
        for start in range(cursor, self.max_entries, step):
            stop = min(start + step, self.max_entries)
            yield stop, [(struct.pack("<I", i), self.value_at(i)) for i in range(start, stop)]


class PercpuArrayMap(ArrayMap):
    """An array for each CPU. A program sees its own CPU's; bpf(2) sees those of all CPUs together."""

    ops = MapOps(
        lookup=percpu_array_lookup,
        update=percpu_array_update,
        delete=array_delete,
        lookup_percpu=percpu_array_lookup_percpu,
        for_each=percpu_array_for_each,
        lookup_shaped=percpu_array_lookup_shaped,
    )

    def allocate(self) -> Region:
        """See `Map.allocate`."""
        self.cpu_stride = round_up(self.max_entries * self.spec.value_stride, PAGE_SIZE)
        return Region(f"bpf-map:{self.spec.name}", self.cpu_stride * self.host.nr_cpus)

    def setup(self) -> None:
        """See `Map.setup`."""
        self.poke(ArrayHdr.CPU_STRIDE, self.cpu_stride)

    @property
    def user_value_size(self) -> int:
        """See `Map.user_value_size`."""
        return self.spec.value_stride * self.host.nr_cpus

    @property
    def shape(self) -> tuple[int, ...]:
        """(max_entries, element size, bytes from one CPU's array to the next)"""
        return self.max_entries, self.spec.value_stride, self.cpu_stride

    def find(self, key: int) -> int:
        """See `Map.find`: the first CPU's value."""
        return self.ops.lookup_percpu(0, self.address, key, 0)

    def copy_out(self, value: int, locked: bool = False) -> bytes:
        """See `Map.copy_out`."""
        stride = self.spec.value_stride
        return b"".join(
            ctypes.string_at(value + cpu * self.cpu_stride, stride) for cpu in range(self.host.nr_cpus)
        )

    def store(self, key: int, value: int, flags: int) -> int:
        """See `Map.store`: `value` holds one value for each CPU."""
        if flags > UpdateFlag.EXIST:
            return -errno.EINVAL
        at = self.find(key)
        if not at:
            return -errno.E2BIG
        if flags == UpdateFlag.NOEXIST:
            return -errno.EEXIST
        stride = self.spec.value_stride
        for cpu in range(self.host.nr_cpus):
            ctypes.memmove(at + cpu * self.cpu_stride, value + cpu * stride, stride)
        return 0
