"""A trace buffer: one ring per CPU in shared memory, its sizes and counters.

Threads: `write`, `consume` (one consumer of a CPU at a time), `counters` and native writers may run at any
time; `resize`, `reset` and `close` are serialised by the owner's lock.
"""

import ctypes
import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from engine.env import peek32, peek64, poke32, poke64
from engine.errors import KernelError
from engine.machine import Machine
from engine.memory import Region
from tracefs.ring import ring_write
from tracefs.ring_layout import (
    BUF_PAGE_SIZE,
    MAX_CPUS,
    RECORD_HEADER,
    RING_SIZE,
    SUBBUF,
    Buf,
    Meta,
    Ring,
)
from tracefs.ring_read import (
    buffer_consume,
    buffer_entries,
    ring_clone,
    ring_counters,
    ring_replace,
    ring_reset,
)

__all__ = ["BOOT_SIZE", "DEFAULT_SIZE", "Counters", "Record", "TraceBuffer", "pages_for"]

BOOT_SIZE = 1
"""Bytes per CPU asked for before anything is traced; rounds up to two sub-buffers."""
DEFAULT_SIZE = 1441792
"""Bytes per CPU once something is (TRACE_BUF_SIZE_DEFAULT)."""
_BATCH = 128 * 1024
"""Most bytes of records consumed at a time."""
_LARGEST = SUBBUF + RECORD_HEADER
_MAX_PAGES = 1 << 19
_HEADER = struct.Struct("<IIQII")

Record = tuple[int, int, int, bytes]
"""CPU, time in ns, events lost before it, data: `struct trace_entry` and what follows, padded to 4 bytes."""


def pages_for(size: int) -> int:
    """Sub-buffers of a ring that holds `size` bytes: at least two (`ring_buffer_resize`)."""
    return max(2, -(-size // BUF_PAGE_SIZE))


@dataclass(frozen=True, slots=True)
class Counters:
    """What per_cpu/cpuN/stats shows of one ring."""

    entries: int
    overrun: int
    commit_overrun: int
    bytes: int
    oldest_ns: int
    dropped: int
    read: int


class _Pages:
    """The memory of one ring: sub-buffers, slot table and metadata in one region."""

    def __init__(self, name: str, nr_pages: int) -> None:
        total = nr_pages + 1
        tables = total * (Meta.SIZE + 8)
        self.region = Region(name, total * SUBBUF + tables)
        self.pages = self.region.address
        self.meta = self.pages + total * SUBBUF
        self.table = self.meta + total * Meta.SIZE
        self.nr_pages = nr_pages


class TraceBuffer:
    """`nr_cpus` rings. `sizes` are bytes of data per CPU."""

    def __init__(self, machine: Machine, sizes: list[int], name: str = "trace") -> None:
        self._machine = machine
        self._name = name
        self.nr_cpus = min(len(sizes), MAX_CPUS)
        self.address = machine.heap.alloc(Buf.RINGS + self.nr_cpus * RING_SIZE, 64)
        self._pages: list[_Pages] = []
        poke32(self.address + Buf.NR_CPUS, self.nr_cpus)
        poke32(self.address + Buf.RECORDING, 1)
        poke32(self.address + Buf.OVERWRITE, 1)
        poke64(self.address + Buf.WAKE_FD, machine.wake_fd)
        for cpu in range(self.nr_cpus):
            pages = _Pages(name, pages_for(sizes[cpu]))
            ring = self.ring(cpu)
            poke64(ring + Ring.PAGES, pages.pages)
            poke64(ring + Ring.META, pages.meta)
            poke64(ring + Ring.TABLE, pages.table)
            poke64(ring + Ring.NR_PAGES, pages.nr_pages)
            ring_reset(ring)
            self._pages.append(pages)

    def ring(self, cpu: int) -> int:
        """Address of a CPU's ring."""
        return self.address + Buf.RINGS + cpu * RING_SIZE

    @property
    def recording(self) -> bool:
        """Whether records are taken (`tracing_on`)."""
        return bool(peek32(self.address + Buf.RECORDING))

    @recording.setter
    def recording(self, on: bool) -> None:
        poke32(self.address + Buf.RECORDING, on)

    def set_overwrite(self, on: bool) -> None:
        """What happens when a ring is full: overwrite the oldest, or drop the newest."""
        poke32(self.address + Buf.OVERWRITE, on)

    def set_cpu_disabled(self, cpu: int, disabled: bool) -> None:
        """Take a CPU out of the tracing_cpumask, or back in."""
        poke32(self.ring(cpu) + Ring.DISABLED, disabled)

    def size(self, cpu: int) -> int:
        """Bytes of data that a CPU's ring holds."""
        return self._pages[cpu].nr_pages * BUF_PAGE_SIZE

    def write(self, cpu: int, time_ns: int, data: bytes) -> None:
        """Write a record. EBADF when recording is off or there is no room; E2BIG when it is too long."""
        staged = bytearray(data)
        staged += bytes(-len(staged) % 4)
        place = (ctypes.c_char * len(staged)).from_buffer(staged)
        result = ring_write(self.address, cpu, time_ns, ctypes.addressof(place), len(staged))
        if result < 0:
            raise KernelError(-result)

    def resize(self, cpu: int, size: int) -> None:
        """Give a CPU's ring room for `size` bytes, keeping its newest events. ENOMEM."""
        nr_pages = pages_for(size)
        if nr_pages == self._pages[cpu].nr_pages:
            return
        if nr_pages > _MAX_PAGES:
            raise KernelError(errno.ENOMEM)
        new = _Pages(self._name, nr_pages)
        ring_replace(self.ring(cpu), new.pages, new.table, new.meta, nr_pages)
        self._pages[cpu].region.close()
        self._pages[cpu] = new

    def reset(self, cpu: int | None = None) -> None:
        """Empty one ring or all, with their counters."""
        for each in range(self.nr_cpus) if cpu is None else (cpu,):
            ring_reset(self.ring(each))

    def entries(self, cpu: int | None = None) -> int:
        """Events that wait to be read."""
        first, last = self.span(cpu)
        return buffer_entries(self.address, first, last)

    def span(self, cpu: int | None) -> tuple[int, int]:
        """The half-open range of CPUs that `cpu` names: all for None."""
        return (0, self.nr_cpus) if cpu is None else (cpu, cpu + 1)

    def written(self, cpu: int | None = None) -> int:
        """Events in the buffer and those overwritten unread (`get_total_entries`)."""
        first, last = self.span(cpu)
        overrun = sum(peek64(self.ring(each) + Ring.OVERRUN) for each in range(first, last))
        return self.entries(cpu) + overrun

    def counters(self, cpu: int) -> Counters:
        """A CPU's counters, as of one moment."""
        out = (ctypes.c_uint64 * ((Ring.LOST - Ring.ENTRIES) // 8 + 1))()
        ring_counters(self.ring(cpu), ctypes.addressof(out))
        entries, overrun, dropped, read, size, _, oldest = out
        return Counters(entries, overrun, 0, size, oldest, dropped, read)

    def consume(self, cpu: int | None, limit: int) -> Iterator[Record]:
        """Take up to `limit` records, oldest first, merged over CPUs; fewer when they fill a batch.

        All of them are consumed at once, whether they are asked for or not.
        """
        first, last = self.span(cpu)
        room = min(_BATCH, limit * _LARGEST)
        out = bytearray(room)
        address = ctypes.addressof((ctypes.c_char * room).from_buffer(out))
        used = buffer_consume(self.address, first, last, address, room, limit)
        taken = bytes(memoryview(out)[:used])
        at = 0
        while at < used:
            size, on, time_ns, lost, length = _HEADER.unpack_from(taken, at)
            yield on, time_ns, lost, taken[at + RECORD_HEADER : at + RECORD_HEADER + length]
            at += size

    def clone(self, cpu: int | None) -> "TraceBuffer":
        """A private copy of what is unread, of one CPU or all; the caller closes it."""
        first, last = self.span(cpu)
        sizes = [self.size(each) if first <= each < last else BOOT_SIZE for each in range(self.nr_cpus)]
        copy = TraceBuffer(self._machine, sizes, f"{self._name}-copy")
        for each in range(first, last):
            ring_clone(copy.ring(each), self.ring(each))
        return copy

    def close(self) -> None:
        """Give the memory back; nothing may write any more."""
        for pages in self._pages:
            pages.region.close()
        self._machine.heap.free(self.address)
