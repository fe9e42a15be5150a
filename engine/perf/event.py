"""The objects behind perf descriptors, and the ring that a client maps (kernel/events/core.c)."""

import errno
import functools
import operator
import os
import struct
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from engine.env import peek64, poke32, poke64
from engine.errors import KernelError
from engine.jit.lang import load_acquire64, store_release64
from engine.maps.spec import MapHost
from engine.memory import PAGE_SIZE, Heap, Region
from engine.perf.ring import PERF_HDR_SIZE, MmapPage, PerfHdr, SampleType

__all__ = ["BpfOutputEvent", "PerfEvent", "PerfEventAttr"]

_DISABLED = 0xFFFF_FFFF
_FILLED = functools.reduce(operator.or_, SampleType)
"""Fields that samples may have; behind another, a reader would find the data in the wrong place."""


@dataclass(frozen=True, slots=True)
class PerfEventAttr:
    """The fields of `struct perf_event_attr` that the engine uses. config1 and config2 as given."""

    type: int
    config: int = 0
    sample_type: int = 0
    sample_period: int = 0
    read_format: int = 0
    disabled: bool = False
    watermark: bool = False
    wakeup: int = 0
    """wakeup_events, or wakeup_watermark where `watermark`."""
    config1: int = 0
    config2: int = 0


class PerfEvent:
    """Something that counts or samples. `address` is its native header."""

    _last_id = 0
    _id_lock = threading.Lock()

    def __init__(self, attr: PerfEventAttr, cpu: int, host: MapHost | None = None) -> None:
        self.attr = attr
        self.cpu = cpu
        self.host = host or MapHost.alone()
        with PerfEvent._id_lock:
            PerfEvent._last_id += 1
            self.id = PerfEvent._last_id
        self.address = self.host.heap.alloc(PERF_HDR_SIZE, 64)
        self._lock = threading.Lock()
        self.notify_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.region: Region | None = None
        self._owned: list[Region] = []
        poke32(self.address + PerfHdr.CPU, _DISABLED)
        for offset, value in {
            PerfHdr.SAMPLE_TYPE: attr.sample_type,
            PerfHdr.ID: self.id,
            PerfHdr.WAKEUP_EVENTS: 0 if attr.watermark else attr.wakeup,
            PerfHdr.NOTIFY_FD: self.notify_fd,
        }.items():
            poke64(self.address + offset, value)
        self._finalizer = weakref.finalize(
            self, _release, self.host.heap, self.host.retire, self.address, self.notify_fd, self._owned
        )
        self._finalizer.atexit = False

    @property
    def enabled(self) -> bool:
        """Whether it is active."""
        raise NotImplementedError

    def enable(self) -> None:
        """PERF_EVENT_IOC_ENABLE."""
        raise NotImplementedError

    def disable(self) -> None:
        """PERF_EVENT_IOC_DISABLE."""
        raise NotImplementedError

    def map_ring(self, pages: int) -> Region:
        """The memory for mmap(2) of 1 + 2^n pages, `pages` in all; the same again for the same size.

        Raises KernelError EINVAL for another number.
        """
        data = pages - 1
        if data < 0 or data & (data - 1):
            raise KernelError(errno.EINVAL, f"{pages} pages are not 1 + 2^n")
        with self._lock:
            if self.region is not None:
                if self.region.size != pages * PAGE_SIZE:
                    raise KernelError(errno.EINVAL, "already mapped with another size")
                return self.region
            region = Region(f"[perf_event]:{self.id}", pages * PAGE_SIZE)
            struct.pack_into("<QQ", region.view, MmapPage.DATA_OFFSET, PAGE_SIZE, data * PAGE_SIZE)
            self.region = region
            self._owned.append(region)
            poke64(self.address + PerfHdr.MASK, data * PAGE_SIZE - 1)
            poke64(self.address + PerfHdr.DATA, region.address + PAGE_SIZE)
            half = data * PAGE_SIZE // 2
            asked = self.attr.wakeup if self.attr.watermark else 0
            poke64(self.address + PerfHdr.WATERMARK, min(asked, data * PAGE_SIZE) if asked else half)
            if data:
                store_release64(self.address + PerfHdr.RING, region.address)
            return region

    @property
    def lost(self) -> int:
        """Records that found no room."""
        return peek64(self.address + PerfHdr.TOTAL_LOST)

    def consume(self) -> list[tuple[int, bytes]]:
        """All records in the mapped ring as (type, bytes after the header), taken as a client takes them."""
        region = self.region
        if region is None:
            return []
        size = region.size - PAGE_SIZE
        tail, head = peek64(region.address + MmapPage.DATA_TAIL), load_acquire64(self.address + PerfHdr.HEAD)
        content = bytes(region.view[PAGE_SIZE:])
        found = []
        while tail < head:
            at = tail % size
            kind, _misc, length = struct.unpack_from("<IHH", content, at)
            whole = (content[at:] + content[:at])[:length]
            found.append((kind, whole[8:]))
            tail += length
        store_release64(region.address + MmapPage.DATA_TAIL, tail)
        return found

    def close(self) -> None:
        """The last descriptor is gone."""
        self.disable()
        self._finalizer()


def _release(
    heap: Heap,
    retire: Callable[[Callable[[], None]], None],
    header: int,
    notify_fd: int,
    regions: list[Region],
) -> None:
    def reclaim() -> None:
        for region in regions:
            region.close()
        heap.free(header)
        os.close(notify_fd)

    retire(reclaim)


class BpfOutputEvent(PerfEvent):
    """PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT on one CPU: what bpf_perf_event_output writes to."""

    def __init__(self, attr: PerfEventAttr, cpu: int, host: MapHost | None = None) -> None:
        if attr.sample_type & SampleType.RAW and attr.sample_type & ~_FILLED:
            raise KernelError(errno.EOPNOTSUPP, f"samples with fields {attr.sample_type & ~_FILLED:#x}")
        super().__init__(attr, cpu, host)
        if not attr.disabled:
            self.enable()

    @property
    def enabled(self) -> bool:
        """See `PerfEvent.enabled`."""
        return peek64(self.address + PerfHdr.CPU) & _DISABLED != _DISABLED

    def enable(self) -> None:
        """See `PerfEvent.enable`."""
        poke32(self.address + PerfHdr.CPU, self.cpu)

    def disable(self) -> None:
        """See `PerfEvent.disable`."""
        poke32(self.address + PerfHdr.CPU, _DISABLED)
