"""BPF_MAP_TYPE_HASH and its per-CPU and LRU kin: what bpf(2) sees of them (kernel/bpf/hashtab.c).

One region: buckets, one byte for each page of buckets, elements.
"""

import ctypes
import errno
import secrets
from collections.abc import Iterator
from typing import ClassVar

from engine.abi.bpf import MapCreateFlag, MapType
from engine.env import poke32, poke64
from engine.errors import KernelError
from engine.jit.lang import Native
from engine.maps.base import BATCH_BYTES, Batch, Map, check_result
from engine.maps.bucket import BUCKETS_PER_PAGE_SHIFT, Table
from engine.maps.header import ENOTSUPP, MapHdr, MapOps
from engine.maps.htab import (
    htab_delete,
    htab_delete_shaped,
    htab_lookup,
    htab_lookup_shaped,
    htab_take,
    htab_update,
    htab_update_shaped,
)
from engine.maps.htab_iter import htab_for_each, htab_next_key, htab_snapshot, percpu_htab_for_each
from engine.maps.htab_percpu import (
    ALL_CPUS,
    percpu_htab_lookup,
    percpu_htab_lookup_percpu,
    percpu_htab_lookup_shaped,
    percpu_htab_store,
    percpu_htab_update,
)
from engine.maps.lru import (
    lru_delete,
    lru_lookup,
    lru_lookup_shaped,
    lru_percpu_lookup,
    lru_percpu_lookup_shaped,
    lru_percpu_store,
    lru_percpu_update,
    lru_take,
    lru_update,
)
from engine.maps.pool import NR_SPARES, Elem, Pool
from engine.maps.spec import (
    ACCESS_FLAGS,
    KMALLOC_MAX_SIZE,
    PCPU_MIN_UNIT_SIZE,
    MapSpec,
    refuse_flags,
    refuse_unless,
)
from engine.memory import Region, round_up

__all__ = ["HashMap", "LruHashMap", "LruPercpuHashMap", "PercpuHashMap", "check_hash"]

_CREATE_FLAGS = (
    ACCESS_FLAGS
    | MapCreateFlag.NO_PREALLOC
    | MapCreateFlag.NO_COMMON_LRU
    | MapCreateFlag.NUMA_NODE
    | MapCreateFlag.ZERO_SEED
)
_LRU = (MapType.LRU_HASH, MapType.LRU_PERCPU_HASH)
_PERCPU = (MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH)
_HTAB_ELEM_SIZE = 48
"""sizeof(struct htab_elem): part of the limit on keys and values together."""
_MAX_BUCKETS = 1 << 27


def check_hash(spec: MapSpec) -> None:
    """`htab_map_alloc_check`, and what `htab_map_alloc` refuses."""
    lru, percpu = spec.type in _LRU, spec.type in _PERCPU
    percpu_lru = bool(spec.flags & MapCreateFlag.NO_COMMON_LRU)
    refuse_flags(spec, _CREATE_FLAGS)
    refuse_unless(lru or not percpu_lru, "BPF_F_NO_COMMON_LRU is for LRU maps")
    no_prealloc = spec.flags & MapCreateFlag.NO_PREALLOC
    refuse_unless(not (lru and no_prealloc), "LRU maps are preallocated", ENOTSUPP)
    numa = spec.flags & MapCreateFlag.NUMA_NODE
    refuse_unless(not (numa and (percpu or percpu_lru)), "no NUMA node for per-CPU memory")
    refuse_unless(spec.max_entries and spec.key_size and spec.value_size, "bad sizes for a hash")
    limit = KMALLOC_MAX_SIZE - _HTAB_ELEM_SIZE
    refuse_unless(spec.key_size + spec.value_size < limit, "key and value too large", errno.E2BIG)
    if percpu:
        refuse_unless(spec.value_stride <= PCPU_MIN_UNIT_SIZE, "value too large", errno.E2BIG)
    refuse_unless(spec.max_entries <= _MAX_BUCKETS, "too many entries", errno.E2BIG)


class HashMap(Map):
    """Keys in no order, up to max_entries of them."""

    ops = MapOps(
        lookup=htab_lookup,
        update=htab_update,
        delete=htab_delete,
        for_each=htab_for_each,
        lookup_shaped=htab_lookup_shaped,
        update_shaped=htab_update_shaped,
        delete_shaped=htab_delete_shaped,
    )
    extra_natives: ClassVar[tuple[Native, ...]] = (htab_next_key, htab_snapshot, htab_take)
    _spares = NR_SPARES
    """Elements beyond max_entries, for overwriting."""

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """See `Map.check`."""
        check_hash(spec)

    @property
    def memory_value_size(self) -> int:
        """Bytes of value in an element, in whole words."""
        return self.spec.value_stride

    @property
    def value_off(self) -> int:
        """Where an element's value starts."""
        return Elem.KEY + round_up(self.key_size, 8)

    def allocate(self) -> Region:
        """See `Map.allocate`."""
        self.elem_size = round_up(self.value_off + self.memory_value_size, 16)
        self.nr_buckets = 1 << (self.max_entries - 1).bit_length()
        self.pages_at = self.nr_buckets * 8
        self.elems_at = round_up(self.pages_at + (self.nr_buckets >> BUCKETS_PER_PAGE_SHIFT) + 1, 64)
        count = self.max_entries + self._spares
        return Region(f"bpf-map:{self.spec.name}", self.elems_at + count * self.elem_size)

    def setup(self) -> None:
        """See `Map.setup`."""
        assert self.region is not None
        base = self.region.address
        elems = base + self.elems_at
        poke32(self.address + MapHdr.ELEM_SIZE, self.elem_size)
        poke32(self.address + MapHdr.MAX_ENTRIES, self.max_entries)
        seed = 0 if self.flags & MapCreateFlag.ZERO_SEED else secrets.randbits(64)
        spares = self.host.heap.alloc(NR_SPARES * 8, 64) if self._spares else 0
        fields = {
            MapHdr.DATA: elems,
            Table.BUCKETS: base,
            Table.PAGES: base + self.pages_at,
            Table.SEED: seed,
            Table.MASK: self.nr_buckets - 1,
            Pool.CAPACITY: self.max_entries,
            Pool.SPARES: spares,
        }
        for offset, value in fields.items():
            self.poke(offset, value)
        for i in range(self._spares):
            poke64(spares + i * 8, elems + (self.max_entries + i) * self.elem_size)
        if spares:
            self.owned_blocks.append(spares)

    @property
    def shape(self) -> tuple[int, ...]:
        """(key size, number of buckets less one)"""
        return self.key_size, self.nr_buckets - 1

    def find(self, key: int) -> int:
        """See `Map.find`."""
        return htab_lookup(0, self.address, key)

    def next_key(self, key: bytes | None) -> bytes:
        """See `Map.next_key`."""
        out = ctypes.create_string_buffer(self.key_size)
        buffer = None if key is None else self.key_buffer(key)
        at = 0 if buffer is None else ctypes.addressof(buffer)
        check_result(htab_next_key(self.address, at, ctypes.addressof(out)))
        return out.raw

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes:
        """See `Map.lookup_and_delete`."""
        self.refuse_frozen()
        self.refuse_bad_lookup(flags)
        buffer, out = self.key_buffer(key), ctypes.create_string_buffer(self.memory_value_size)
        size = self.value_size if self.spec.lock_off is not None else self.memory_value_size
        take = lru_take if self.type in _LRU else htab_take
        check_result(take(self.address, ctypes.addressof(buffer), ctypes.addressof(out), size))
        return out.raw[: self.user_value_size]

    def collect(self, cursor: int, room: int, *, take: bool = False) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Whole buckets from `cursor` on that fit into `room` bytes, and where to go on; `take` removes them.

        Raises KernelError ENOSPC when the first that has elements does not fit.
        """
        key_room, size = round_up(self.key_size, 8), self.memory_value_size
        record = key_room + size
        at = ctypes.c_uint64(cursor)
        out = ctypes.create_string_buffer(max(room, 1))
        count = htab_snapshot(
            self.address, ctypes.addressof(at), ctypes.addressof(out), room, size, int(take)
        )
        raw = out.raw[: check_result(count) * record]
        return at.value, [
            (raw[i : i + self.key_size], raw[i + key_room : i + key_room + self.user_value_size])
            for i in range(0, len(raw), record)
        ]

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """See `Map.batches`; the cursor is a bucket, and no bucket is cut."""
        while cursor < self.nr_buckets:
            try:
                cursor, batch = self.collect(cursor, room)
            except KernelError as error:
                if error.errno != errno.ENOSPC:
                    raise
                room *= 2
                continue
            yield cursor, batch

    @property
    def record_room(self) -> int:
        """Bytes that one element takes in `collect`."""
        return round_up(self.key_size, 8) + self.memory_value_size


class PercpuHashMap(HashMap):
    """A hash whose values are one for each CPU."""

    ops = MapOps(
        lookup=percpu_htab_lookup,
        update=percpu_htab_update,
        delete=htab_delete,
        lookup_percpu=percpu_htab_lookup_percpu,
        for_each=percpu_htab_for_each,
        lookup_shaped=percpu_htab_lookup_shaped,
        delete_shaped=htab_delete_shaped,
    )
    extra_natives = (*HashMap.extra_natives, htab_lookup, percpu_htab_store)
    _spares = 0

    @property
    def memory_value_size(self) -> int:
        """See `HashMap.memory_value_size`."""
        return self.spec.value_stride * self.host.nr_cpus

    @property
    def user_value_size(self) -> int:
        """See `Map.user_value_size`."""
        return self.memory_value_size

    @property
    def shape(self) -> tuple[int, ...]:
        """(key size, number of buckets less one, bytes from one CPU's value to the next)"""
        return self.key_size, self.nr_buckets - 1, self.spec.value_stride

    def store(self, key: int, value: int, flags: int) -> int:
        """See `Map.store`: `value` holds one value for each CPU."""
        return percpu_htab_store(self.address, key, value, flags, ALL_CPUS)


class LruHashMap(HashMap):
    """A hash that makes room by forgetting what was not used lately."""

    ops = MapOps(
        lookup=lru_lookup,
        update=lru_update,
        delete=lru_delete,
        for_each=htab_for_each,
        lookup_shaped=lru_lookup_shaped,
    )
    extra_natives: ClassVar[tuple[Native, ...]] = (htab_next_key, htab_snapshot, htab_lookup, lru_take)
    _spares = 0

    def allocate(self) -> Region:
        """See `Map.allocate`. Lists of each CPU (BPF_F_NO_COMMON_LRU) round max_entries up to a multiple."""
        if self.flags & MapCreateFlag.NO_COMMON_LRU:
            self.max_entries = round_up(self.max_entries, self.host.nr_cpus)
        return super().allocate()


class LruPercpuHashMap(PercpuHashMap):
    """An LRU hash whose values are one for each CPU."""

    ops = MapOps(
        lookup=lru_percpu_lookup,
        update=lru_percpu_update,
        delete=lru_delete,
        lookup_percpu=percpu_htab_lookup_percpu,
        for_each=percpu_htab_for_each,
        lookup_shaped=lru_percpu_lookup_shaped,
    )
    extra_natives = (*LruHashMap.extra_natives, lru_percpu_store)

    def store(self, key: int, value: int, flags: int) -> int:
        """See `Map.store`: `value` holds one value for each CPU."""
        return lru_percpu_store(self.address, key, value, flags, ALL_CPUS)

    def allocate(self) -> Region:
        """See `LruHashMap.allocate`."""
        if self.flags & MapCreateFlag.NO_COMMON_LRU:
            self.max_entries = round_up(self.max_entries, self.host.nr_cpus)
        return super().allocate()
