"""BPF_MAP_TYPE_QUEUE and STACK: what bpf(2) sees of them (kernel/bpf/queue_stack_maps.c)."""

import ctypes
import errno

from engine.abi.bpf import MapCreateFlag
from engine.errors import KernelError
from engine.maps.base import Map, check_result
from engine.maps.header import MapOps
from engine.maps.queue_ops import (
    queue_delete,
    queue_peek,
    queue_pop,
    queue_push,
    queue_update,
    stack_peek,
    stack_pop,
)
from engine.maps.spec import ACCESS_FLAGS, KMALLOC_MAX_SIZE, MapSpec, refuse_flags, refuse_unless
from engine.memory import Region

__all__ = ["QueueMap", "StackMap"]

_CREATE_FLAGS = ACCESS_FLAGS | MapCreateFlag.NUMA_NODE


class QueueMap(Map):
    """First in, first out. No keys: push, pop and peek."""

    ops = MapOps(update=queue_update, delete=queue_delete, push=queue_push, pop=queue_pop, peek=queue_peek)

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`queue_stack_map_alloc_check`."""
        refuse_unless(spec.max_entries and not spec.key_size and spec.value_size, "bad sizes for a queue")
        refuse_flags(spec, _CREATE_FLAGS)
        refuse_unless(spec.value_size <= KMALLOC_MAX_SIZE, "value too large", errno.E2BIG)

    def allocate(self) -> Region:
        """See `Map.allocate`."""
        return Region(f"bpf-map:{self.name}", (self.max_entries + 1) * self.spec.value_stride)

    def next_key(self, key: bytes | None) -> bytes:
        """Queues have no keys: EINVAL."""
        raise KernelError(errno.EINVAL, "queues have no keys")

    def find(self, key: int) -> int:
        """Queues have no keys: nothing is found."""
        return 0

    def push(self, value: bytes, flags: int = 0) -> None:
        """See `Map.push`."""
        self.refuse_frozen()
        buffer = self.value_buffer(value)
        check_result(self.ops.push(0, self.address, ctypes.addressof(buffer), flags))

    def pop(self) -> bytes:
        """See `Map.pop`."""
        self.refuse_frozen()
        out = ctypes.create_string_buffer(self.value_size)
        check_result(self.ops.pop(0, self.address, ctypes.addressof(out)))
        return out.raw

    def peek(self) -> bytes:
        """See `Map.peek`."""
        out = ctypes.create_string_buffer(self.value_size)
        check_result(self.ops.peek(0, self.address, ctypes.addressof(out)))
        return out.raw


class StackMap(QueueMap):
    """Last in, first out."""

    ops = MapOps(update=queue_update, delete=queue_delete, push=queue_push, pop=stack_pop, peek=stack_peek)
