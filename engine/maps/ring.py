"""BPF_MAP_TYPE_RINGBUF: its memory, and reading it in this process (kernel/bpf/ringbuf.c)."""

import ctypes
import os
import weakref

from engine.abi.bpf import MapCreateFlag
from engine.env import peek64
from engine.jit.lang import load_acquire32, load_acquire64, store_release64
from engine.maps.base import Map
from engine.maps.header import MapHdr
from engine.maps.ring_ops import RingHdr, ring_commit, ring_output, ring_query, ring_reserve
from engine.maps.spec import MapSpec, refuse_unless
from engine.memory import PAGE_SIZE, Region, round_up

__all__ = ["RingMap"]

_BUSY = 1 << 31
_DISCARD = 1 << 30


class RingMap(Map):
    """One stream of records from all CPUs. `region` is what a client maps: libbpf's layout."""

    extra_natives = (ring_reserve, ring_commit, ring_output, ring_query)

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`ringbuf_map_alloc`."""
        refuse_unless(not spec.flags & ~int(MapCreateFlag.NUMA_NODE), f"bad flags {spec.flags:#x}")
        size = spec.max_entries
        refuse_unless(not spec.key_size and not spec.value_size, "ring buffers have no keys and values")
        aligned = size and not size & (size - 1) and not size % PAGE_SIZE
        refuse_unless(aligned, "the size is a power of two pages")

    def allocate(self) -> Region:
        """See `Map.allocate`."""
        return Region(f"bpf-map:{self.spec.name}", 2 * PAGE_SIZE + 2 * self.max_entries)

    def setup(self) -> None:
        """See `Map.setup`."""
        assert self.region is not None
        self.notify_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self.notify_fd)
        self.poke(RingHdr.MASK, self.max_entries - 1)
        self.poke(RingHdr.CONSUMER, self.region.address)
        self.poke(RingHdr.NOTIFY_FD, self.notify_fd)
        self.data = self.region.address + 2 * PAGE_SIZE
        self.poke(MapHdr.DATA, self.data)

    @property
    def positions(self) -> tuple[int, int]:
        """(consumer, producer)"""
        assert self.region is not None
        return peek64(self.region.address), peek64(self.address + RingHdr.PRODUCER)

    def consume(self, limit: int = 1 << 16) -> list[bytes]:
        """Up to `limit` records, in order, as a client's ring_buffer__consume takes them."""
        assert self.region is not None
        found: list[bytes] = []
        consumer, end = self.positions[0], load_acquire64(self.address + RingHdr.PRODUCER)
        while consumer < end and len(found) < limit:
            record = self.data + (consumer & (self.max_entries - 1))
            word = load_acquire32(record)
            if word & _BUSY:
                break
            length = word & ~_DISCARD
            if not word & _DISCARD:
                found.append(ctypes.string_at(record + 8, length))
            consumer += round_up(length + 8, 8)
            store_release64(self.region.address, consumer)
        return found
