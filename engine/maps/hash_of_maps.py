"""BPF_MAP_TYPE_HASH_OF_MAPS: a hash whose values are maps (kernel/bpf/hashtab.c, fd_htab_*)."""

import ctypes
import errno
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from engine.errors import KernelError
from engine.jit.lang import Native, native, u64
from engine.maps.base import BATCH_BYTES, Batch, Map, check_result, to_buffer
from engine.maps.hash import HashMap, check_hash
from engine.maps.header import MapOps
from engine.maps.htab import htab_delete, htab_lookup, htab_update
from engine.maps.htab_iter import htab_for_each
from engine.maps.meta import check_inner, same_meta
from engine.maps.spec import MapHost, MapSpec, refuse_unless

__all__ = ["HashOfMaps"]


@native
def map_of_htab_lookup(env: int, map: int, key: int) -> int:
    """Header of the map at `key`, or 0."""
    value = htab_lookup(env, map, key)
    return u64(value) if value != 0 else 0


class HashOfMaps(HashMap):
    """Maps by key, all like the template `spec.inner`. bpf(2) puts descriptors in and gets ids out."""

    ops = MapOps(lookup=map_of_htab_lookup, update=htab_update, delete=htab_delete, for_each=htab_for_each)
    extra_natives: ClassVar[tuple[Native, ...]] = (*HashMap.extra_natives, htab_lookup)

    def __init__(self, spec: MapSpec, host: MapHost) -> None:
        # A value is the address of the inner map's header.
        super().__init__(replace(spec, value_size=8), host)
        self.spec = spec
        self.value_size = spec.value_size
        self._lock = threading.Lock()
        self._inside: dict[bytes, Map] = {}

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`fd_htab_map_alloc_check` and `htab_of_map_alloc`."""
        refuse_unless(spec.value_size == 4, "the value is a descriptor")
        check_hash(spec)
        check_inner(spec.inner)

    def update_object(self, key: bytes, item: object, flags: int = 0) -> None:
        """Put a map at `key`. EINVAL for what is not like the template; else as a hash's update."""
        self.refuse_frozen()
        assert self.inner is not None
        if not (isinstance(item, Map) and same_meta(self.inner, item)):
            raise KernelError(errno.EINVAL, "not a map like the template")
        buffer, value = self.key_buffer(key), to_buffer(struct.pack("<Q", item.address))
        with self._lock:
            at, from_ = ctypes.addressof(buffer), ctypes.addressof(value)
            check_result(htab_update(0, self.address, at, from_, flags))
            self._inside[key] = item

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """A number is no map: EBADF. See `update_object`."""
        raise KernelError(errno.EBADF, "put maps with update_object")

    def delete(self, key: bytes) -> None:
        """See `Map.delete`."""
        with self._lock:
            super().delete(key)
            self._inside.pop(key, None)

    def lookup(self, key: bytes, flags: int = 0) -> bytes:
        """The id of the map at `key`, as a u32. ENOENT."""
        self.key_buffer(key)
        found = self._inside.get(key)
        if found is None:
            raise KernelError(errno.ENOENT)
        return struct.pack("<I", found.id)

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes:
        """Not for maps of maps: ENOTSUPP."""
        return Map.lookup_and_delete(self, key, flags)

    def collect(self, cursor: int, room: int, *, take: bool = False) -> tuple[int, list[tuple[bytes, bytes]]]:
        """See `HashMap.collect`: ids of the maps."""
        with self._lock:
            after, found = super().collect(cursor, room, take=take)
            inside = [(key, self._inside.pop(key) if take else self._inside[key]) for key, _ in found]
        return after, [(key, struct.pack("<I", each.id)) for key, each in inside]

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """See `Map.batches`; one batch."""
        yield 0, [(key, struct.pack("<I", inside.id)) for key, inside in list(self._inside.items())]
