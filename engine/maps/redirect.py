"""BPF_MAP_TYPE_DEVMAP and CPUMAP, as bpf(2) sees them (kernel/bpf/devmap.c, kernel/bpf/cpumap.c).

The modelled kernel sends no packets: what is in a map decides what bpf_redirect_map answers, and the programs
that values name are held and never run. Its devices are those of `engine.netdevs`.
"""

import errno
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.abi.bpf import AttachType, MapCreateFlag, UpdateFlag
from engine.errors import KernelError
from engine.maps.array import next_index
from engine.maps.base import BATCH_BYTES, Batch
from engine.maps.header import MapOps
from engine.maps.owner import ProgHolder
from engine.maps.redirect_ops import redirect_lookup, redirect_swap
from engine.maps.redirect_values import (
    Find,
    check_devmap,
    device_of,
    find_program,
    no_descriptors,
    split_value,
)
from engine.maps.spec import MapHost, MapSpec, refuse_unless
from engine.memory import Region

if TYPE_CHECKING:
    from engine.progs import Prog

__all__ = ["CpuMap", "DevMap", "RedirectArray"]

_MAX_QUEUE = 16384
_NR_CPUS = 8192
"""Most CPUs that a kernel of a distribution is built for (CONFIG_NR_CPUS with CONFIG_MAXSMP)."""


class RedirectArray(ProgHolder):
    """An array whose slots are empty at first; see `redirect_ops` for what is in one."""

    ops = MapOps(lookup=redirect_lookup)
    extra_natives = (redirect_swap,)

    def allocate(self) -> Region:
        """See `Map.allocate`."""
        return Region(f"bpf-map:{self.spec.name}", self.max_entries * 8)

    def setup(self) -> None:
        """See `Map.setup`."""
        self._lock = threading.Lock()
        self._slots: dict[int, tuple[int, Prog | None]] = {}

    def resolve(self, index: int, value: bytes, find: Find) -> "tuple[int, Prog | None]":
        """What an update puts into a slot; (0, None) empties it. The family's errnos."""
        raise NotImplementedError

    def put(self, key: bytes, value: bytes, flags: int, find: Find) -> None:
        """BPF_MAP_UPDATE_ELEM. EINVAL (flags), E2BIG (index), EEXIST (NOEXIST), and those of `resolve`."""
        self.refuse_frozen()
        refuse_unless(flags <= UpdateFlag.EXIST, f"bad flags {flags:#x}")
        self.key_buffer(key)
        self.value_buffer(value)
        index = struct.unpack("<I", key)[0]
        refuse_unless(index < self.max_entries, "beyond the end", errno.E2BIG)
        refuse_unless(flags != UpdateFlag.NOEXIST, "every index exists", errno.EEXIST)
        first, held = self.resolve(index, value, find)
        with self._lock:
            self._publish(index, first | (held.id if held is not None else 0) << 32)
            if first:
                self._slots[index] = first, held
            else:
                self._slots.pop(index, None)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """`put` of values without programs."""
        self.put(key, value, flags, no_descriptors)

    def delete(self, key: bytes) -> None:
        """Empty a slot, which may be empty. EINVAL beyond the end."""
        self.refuse_frozen()
        self.key_buffer(key)
        index = struct.unpack("<I", key)[0]
        refuse_unless(index < self.max_entries, "beyond the end")
        with self._lock:
            self._publish(index, 0)
            self._slots.pop(index, None)

    def lookup(self, key: bytes, flags: int = 0) -> bytes:
        """What packets go to, and the id of the program there. ENOENT where the slot is empty."""
        self.refuse_bad_lookup(flags)
        self.key_buffer(key)
        found = self._slots.get(struct.unpack("<I", key)[0])
        if found is None:
            raise KernelError(errno.ENOENT)
        first, held = found
        return struct.pack("<II", first, held.id if held is not None else 0)[: self.value_size]

    def next_key(self, key: bytes | None) -> bytes:
        """See `Map.next_key`: every index is one, empty or not."""
        if key is not None:
            self.key_buffer(key)
        return next_index(key, self.max_entries)

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """See `Map.batches`; the cursor is an index, and empty slots are left out."""
        indexes = sorted(index for index in list(self._slots) if index >= cursor)
        step = max(1, room // 12)
        for start in range(0, len(indexes), step):
            batch = []
            for index in indexes[start : start + step]:
                key = struct.pack("<I", index)
                if index in self._slots:
                    batch.append((key, self.lookup(key)))
            yield indexes[min(start + step, len(indexes)) - 1] + 1, batch

    def _publish(self, index: int, word: int) -> None:
        assert self.region is not None
        redirect_swap(self.region.address + index * 8, word)


class DevMap(RedirectArray):
    """Devices by index. Programs may look at values, not change them."""

    def __init__(self, spec: MapSpec, host: MapHost) -> None:
        super().__init__(replace(spec, flags=spec.flags | MapCreateFlag.RDONLY_PROG), host)

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """See `Map.check`."""
        check_devmap(spec)

    def resolve(self, index: int, value: bytes, find: Find) -> "tuple[int, Prog | None]":
        """`__dev_map_update_elem`: ifindex 0 empties the slot."""
        ifindex, fd = split_value(value)
        if not ifindex:
            refuse_unless(fd <= 0, "a program without a device")
            return 0, None
        return ifindex, device_of(self, value, find)


class CpuMap(RedirectArray):
    """Queues of CPUs by their numbers."""

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`cpu_map_alloc`."""
        refuse_unless(spec.max_entries and spec.key_size == 4, "bad sizes for a map of CPUs")
        refuse_unless(spec.value_size in (4, 8), "a value is the size of a queue, or that and a program")
        refuse_unless(not spec.flags & ~int(MapCreateFlag.NUMA_NODE), f"bad flags {spec.flags:#x}")
        refuse_unless(spec.max_entries <= _NR_CPUS, "more than there can be CPUs", errno.E2BIG)

    def resolve(self, index: int, value: bytes, find: Find) -> "tuple[int, Prog | None]":
        """`cpu_map_update_elem`: EOVERFLOW (queue), ENODEV (no such CPU), ENOMEM for a program, as there."""
        size, fd = split_value(value)
        refuse_unless(size <= _MAX_QUEUE, "queue too long", errno.EOVERFLOW)
        refuse_unless(index < self.host.nr_cpus, f"no CPU {index}", errno.ENODEV)
        if not size:
            return 0, None
        try:
            return size, find_program(self, AttachType.XDP_CPUMAP, fd, find)
        except KernelError as error:
            raise KernelError(errno.ENOMEM, error.message) from None
