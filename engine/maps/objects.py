"""Arrays of kernel objects: programs, perf events, control groups, maps (kernel/bpf/arraymap.c).

A slot is a u64: the native header of what is in it, or 0. bpf(2) puts descriptors in and gets ids out; the
map keeps what it holds alive. A program that loaded a slot may go on using the object until its grace period
ends, which each object's own `close` waits for.
"""

import errno
import struct
import threading
from collections.abc import Iterator
from typing import ClassVar, Protocol

from engine.abi.bpf import MapCreateFlag
from engine.errors import KernelError
from engine.jit.lang import load_acquire64, native, u32, u64, xchg64
from engine.maps.array import check_array, next_index
from engine.maps.array_ops import array_delete
from engine.maps.base import BATCH_BYTES, Batch, Map
from engine.maps.cgroup import Cgroup
from engine.maps.header import ENOTSUPP, MapHdr, MapOps
from engine.maps.meta import check_inner, same_meta
from engine.maps.owner import ProgHolder
from engine.maps.spec import MapSpec, refuse_unless
from engine.memory import Region

__all__ = ["ArrayOfMaps", "CgroupArrayMap", "HasHeader", "ObjectArray", "PerfEventArrayMap", "ProgArrayMap"]


class HasHeader(Protocol):
    """What can be in a slot: something with a native header."""

    address: int


@native
def slot_lookup(env: int, map: int, key: int) -> int:
    """The object's header at index `key`, or 0."""
    index = u32(key)
    if index >= u32(map + MapHdr.MAX_ENTRIES):
        return 0
    return load_acquire64(u64(map + MapHdr.DATA) + index * 8)


@native
def slot_swap(slot: int, value: int) -> int:
    """Publish what is in a slot, with a full barrier; what was there."""
    return xchg64(slot, value)


class ObjectArray(Map):
    """An array of objects. `update_object` is BPF_MAP_UPDATE_ELEM once the descriptor's object is known."""

    ops = MapOps(lookup=slot_lookup, delete=array_delete)
    extra_natives = (slot_swap,)
    shows_ids: ClassVar[bool] = True
    """Whether bpf(2) may look up: the kernel shows ids of programs and maps only."""

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`fd_array_map_alloc_check`."""
        refuse_unless(spec.value_size == 4, "the value is a descriptor")
        by_program = MapCreateFlag.RDONLY_PROG | MapCreateFlag.WRONLY_PROG
        refuse_unless(not spec.flags & by_program, "no access flags for programs")
        check_array(spec)

    def allocate(self) -> Region:
        """See `Map.allocate`."""
        return Region(f"bpf-map:{self.spec.name}", self.max_entries * 8)

    def setup(self) -> None:
        """See `Map.setup`."""
        self._lock = threading.Lock()
        self._objects: dict[int, HasHeader] = {}

    def accept(self, item: object) -> HasHeader:
        """`item`, if it may be in this map. EINVAL."""
        raise KernelError(errno.EINVAL, "not an object of this map")

    def object_at(self, index: int) -> HasHeader | None:
        """What is at `index`."""
        return self._objects.get(index)

    def update_object(self, key: bytes, item: object, flags: int = 0) -> None:
        """Put an object at index `key`. E2BIG beyond the end; EINVAL for flags and what may not be here."""
        self.refuse_update(key, flags)
        index = self._index(key)
        accepted = self.accept(item)
        with self._lock:
            self._publish(index, accepted.address)
            self._objects[index] = accepted

    def refuse_update(self, key: bytes, flags: int) -> None:
        """What can be wrong before the object is looked at: EPERM, EINVAL (flags), E2BIG."""
        self.refuse_frozen()
        refuse_unless(not flags, f"bad flags {flags:#x}")
        self._index(key)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """A number is no object: EBADF. See `update_object`."""
        raise KernelError(errno.EBADF, "put objects with update_object")

    def delete(self, key: bytes) -> None:
        """Empty the slot. ENOENT where it is empty, E2BIG beyond the end."""
        self.refuse_frozen()
        index = self._index(key)
        with self._lock:
            refuse_unless(index in self._objects, "the slot is empty", errno.ENOENT)
            self._publish(index, 0)
            del self._objects[index]

    def lookup(self, key: bytes, flags: int = 0) -> bytes:
        """The id of the object at index `key`, as a u32. ENOENT; ENOTSUPP for objects without ids."""
        refuse_unless(self.shows_ids, "this map does not show what is in it", ENOTSUPP)
        self.key_buffer(key)
        found = self._objects.get(struct.unpack("<I", key)[0])
        number = getattr(found, "id", None)
        if number is None:
            raise KernelError(errno.ENOENT)
        return struct.pack("<I", number)

    def next_key(self, key: bytes | None) -> bytes:
        """See `Map.next_key`: every index is one, empty or not."""
        if key is not None:
            self.key_buffer(key)
        return next_index(key, self.max_entries)

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """See `Map.batches`; the cursor is an index, and empty slots are left out."""
        indexes = sorted(index for index in list(self._objects) if index >= cursor)
        step = max(1, room // 8)
        for start in range(0, len(indexes), step):
            part = indexes[start : start + step]
            found = [(i, getattr(self._objects.get(i), "id", None)) for i in part]
            yield (
                part[-1] + 1,
                [(struct.pack("<I", i), struct.pack("<I", n)) for i, n in found if n is not None],
            )

    def _index(self, key: bytes) -> int:
        self.key_buffer(key)
        index: int = struct.unpack("<I", key)[0]
        refuse_unless(index < self.max_entries, "beyond the end", errno.E2BIG)
        return index

    def _publish(self, index: int, header: int) -> None:
        assert self.region is not None
        slot_swap(self.region.address + index * 8, header)


class ProgArrayMap(ObjectArray, ProgHolder):
    """Programs to tail-call."""

    def accept(self, item: object) -> HasHeader:
        """See `ObjectArray.accept`."""
        from engine.progs import Prog

        if not isinstance(item, Prog):
            raise KernelError(errno.EINVAL, "not a program")
        self.check_owner(item.spec)
        return item


class PerfEventArrayMap(ObjectArray):
    """Perf events that bpf_perf_event_output writes to, usually one for each CPU."""

    shows_ids = False

    def accept(self, item: object) -> HasHeader:
        """See `ObjectArray.accept`."""
        from engine.perf.event import PerfEvent

        if not isinstance(item, PerfEvent):
            raise KernelError(errno.EINVAL, "not a perf event")
        return item


class CgroupArrayMap(ObjectArray):
    """Control groups, for bpf_current_task_under_cgroup."""

    shows_ids = False

    def accept(self, item: object) -> HasHeader:
        """See `ObjectArray.accept`."""
        if not isinstance(item, Cgroup):
            raise KernelError(errno.EINVAL, "not a control group")
        return item


class ArrayOfMaps(ObjectArray):
    """An array of maps that all look like the template `spec.inner`. A program finds a map in it."""

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`array_of_map_alloc`, before the array itself."""
        super().check(spec, nr_cpus)
        check_inner(spec.inner)

    def accept(self, item: object) -> HasHeader:
        """See `ObjectArray.accept`."""
        assert self.inner is not None
        if not (isinstance(item, Map) and same_meta(self.inner, item)):
            raise KernelError(errno.EINVAL, "not a map like the template")
        return item
