"""BPF_MAP_TYPE_STACK_TRACE: what bpf(2) sees of it (kernel/bpf/stackmap.c)."""

import ctypes
import errno
import struct
from collections.abc import Iterator

from engine.abi.bpf import MapCreateFlag
from engine.env import poke32
from engine.errors import KernelError
from engine.maps.base import BATCH_BYTES, Batch, Map, check_result
from engine.maps.header import MapHdr, MapOps
from engine.maps.pool import Elem, Pool
from engine.maps.spec import MapSpec, refuse_unless
from engine.maps.stack_ops import (
    StackHdr,
    stack_copy,
    stack_delete,
    stack_id,
    stack_next,
    stack_trace_update,
)
from engine.memory import Region, round_up

__all__ = ["MAX_STACK", "StackTraceMap"]

MAX_STACK = 127
"""Most addresses of a stack (kernel.perf_event_max_stack)."""
_CREATE_FLAGS = (
    MapCreateFlag.NUMA_NODE | MapCreateFlag.RDONLY | MapCreateFlag.WRONLY | MapCreateFlag.STACK_BUILD_ID
)
_BUILD_ID_SIZE = 32


class StackTraceMap(Map):
    """Call stacks by id. bpf(2) reads, deletes and iterates; only bpf_get_stackid adds."""

    ops = MapOps(update=stack_trace_update, delete=stack_delete)
    extra_natives = (stack_copy, stack_id, stack_next)

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`stack_map_alloc`."""
        refuse_unless(not spec.flags & ~int(_CREATE_FLAGS), f"bad flags {spec.flags:#x}")
        whole = spec.value_size >= 8 and not spec.value_size % 8
        refuse_unless(spec.max_entries and spec.key_size == 4 and whole, "bad sizes for stacks")
        unit = _BUILD_ID_SIZE if spec.flags & MapCreateFlag.STACK_BUILD_ID else 8
        refuse_unless(not spec.value_size % unit and spec.value_size // unit <= MAX_STACK, "bad depth")
        refuse_unless(spec.max_entries <= 1 << 31, "too many entries", errno.E2BIG)

    def allocate(self) -> Region:
        """See `Map.allocate`."""
        self.nr_buckets = 1 << (self.max_entries - 1).bit_length()
        self.traces_at = round_up(self.nr_buckets * 8, 64)
        self.trace_size = round_up(Elem.KEY + self.value_size, 16)
        return Region(f"bpf-map:{self.spec.name}", self.traces_at + self.max_entries * self.trace_size)

    def setup(self) -> None:
        """See `Map.setup`."""
        assert self.region is not None
        poke32(self.address + MapHdr.ELEM_SIZE, self.trace_size)
        self.poke(MapHdr.DATA, self.region.address + self.traces_at)
        self.poke(Pool.CAPACITY, self.max_entries)
        self.poke(StackHdr.BUCKETS, self.region.address)
        self.poke(StackHdr.MASK, self.nr_buckets - 1)

    def lookup(self, key: bytes, flags: int = 0) -> bytes:
        """The addresses with that id, zeros after them. ENOENT."""
        self.refuse_bad_lookup(flags)
        return self._copy(key, 0)

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes:
        """See `Map.lookup_and_delete`."""
        self.refuse_frozen()
        self.refuse_bad_lookup(flags)
        return self._copy(key, 1)

    def _copy(self, key: bytes, take: int) -> bytes:
        self.key_buffer(key)
        out = ctypes.create_string_buffer(self.value_size)
        check_result(stack_copy(self.address, struct.unpack("<I", key)[0], ctypes.addressof(out), take))
        return out.raw

    def next_key(self, key: bytes | None) -> bytes:
        """See `Map.next_key`: ids in order."""
        start = 0
        if key is not None:
            self.key_buffer(key)
            last = struct.unpack("<I", key)[0]
            # An id that is not there starts over (`stack_map_get_next_key`).
            start = last + 1 if last < self.nr_buckets and stack_next(self.address, last) == last else 0
        return struct.pack("<I", check_result(stack_next(self.address, start)))

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """See `Map.batches`; the cursor is an id."""
        step = max(1, room // self.value_size)
        batch: list[tuple[bytes, bytes]] = []
        while (cursor := stack_next(self.address, cursor)) >= 0:
            key = struct.pack("<I", cursor)
            cursor += 1
            try:
                batch.append((key, self.lookup(key)))
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
            if len(batch) >= step:
                yield cursor, batch
                batch = []
        yield self.nr_buckets, batch
