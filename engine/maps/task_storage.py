"""BPF_MAP_TYPE_TASK_STORAGE: a value for each thread (kernel/bpf/bpf_task_storage.c).

A value belongs to a thread of the model, known by its task_struct and start time: when the slot of a thread
that has ended is used again, the new thread has another key. Values live in a hash that forgets what was
not used lately, so those of threads that ended go in time.
"""

import errno
from collections.abc import Iterator
from dataclasses import replace
from enum import IntEnum
from typing import ClassVar

from engine.abi.bpf import MapCreateFlag, UpdateFlag
from engine.errors import KernelError
from engine.jit.lang import Native, local, native, put64, u64
from engine.maps.base import BATCH_BYTES, Batch
from engine.maps.hash import LruHashMap
from engine.maps.header import ENOTSUPP, MapOps
from engine.maps.lru import lru_delete, lru_lookup, lru_update
from engine.maps.spec import MapHost, MapSpec, refuse_unless

__all__ = ["TaskStorageMap", "task_storage_find", "task_storage_remove"]

_THREADS = 1 << 16
"""Most threads with a value at once."""
_KEY_SIZE = 16
_MAX_VALUE = 0xFFFF - 64
"""BPF_LOCAL_STORAGE_MAX_VALUE_SIZE: 64 KiB with the kernel's own element header."""
_CREATE_FLAGS = MapCreateFlag.NO_PREALLOC | MapCreateFlag.CLONE
_NO_MEMORY = errno.ENOMEM


class StorageHdr(IntEnum):
    """Offsets in the map's header; the hash's come before."""

    ZEROS = 160
    """u64, a value of zeros."""


@native
def _create(env: int, map: int, key: int, value: int) -> int:
    """Give a thread a value, zeros where `value` is 0; its address, or 0."""
    source = value if value != 0 else u64(map + StorageHdr.ZEROS)
    if lru_update(env, map, key, source, UpdateFlag.NOEXIST) == -_NO_MEMORY:
        return 0
    return lru_lookup(env, map, key)


@native
def task_storage_find(env: int, map: int, task: int, start: int, value: int, create: int) -> int:
    """Address of a thread's value, or 0. With `create` it is made from `value`, or zeros where that is 0.

    A thread is known by its task_struct and when it began.
    """
    key = local(16)
    put64(key, task)
    put64(key + 8, start)
    found = lru_lookup(env, map, key)
    if found == 0 and create:
        found = _create(env, map, key, value)
    return found


@native
def task_storage_remove(env: int, map: int, task: int, start: int) -> int:
    """Forget a thread's value. -ENOENT."""
    key = local(16)
    put64(key, task)
    put64(key + 8, start)
    return lru_delete(env, map, key)


class TaskStorageMap(LruHashMap):
    """Programs use bpf_task_storage_get. bpf(2) names threads by pidfd, and none comes here: EBADF."""

    ops = MapOps()
    extra_natives: ClassVar[tuple[Native, ...]] = (
        *LruHashMap.extra_natives,
        task_storage_find,
        task_storage_remove,
    )

    def __init__(self, spec: MapSpec, host: MapHost) -> None:
        flags = spec.flags & ~int(_CREATE_FLAGS)
        super().__init__(replace(spec, key_size=_KEY_SIZE, max_entries=_THREADS, flags=flags), host)
        self.spec = spec
        self.key_size, self.max_entries, self.flags = spec.key_size, spec.max_entries, spec.flags

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`bpf_local_storage_map_alloc_check`."""
        known = not spec.flags & ~int(_CREATE_FLAGS)
        refuse_unless(known and spec.flags & MapCreateFlag.NO_PREALLOC, f"bad flags {spec.flags:#x}")
        refuse_unless(
            not spec.max_entries and spec.key_size == 4 and spec.value_size, "bad sizes for storage"
        )
        refuse_unless(spec.btf_key_type_id and spec.btf_value_type_id, "storage needs BTF")
        refuse_unless(spec.value_size <= _MAX_VALUE, "value too large", errno.E2BIG)

    def setup(self) -> None:
        """See `Map.setup`."""
        super().setup()
        zeros = self.host.heap.alloc(self.value_size, 64)
        self.owned_blocks.append(zeros)
        self.poke(StorageHdr.ZEROS, zeros)

    def lookup(self, key: bytes, flags: int = 0) -> bytes:
        """EBADF: the key is no pidfd."""
        raise KernelError(errno.EBADF, "not a pidfd")

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """EBADF: the key is no pidfd."""
        raise KernelError(errno.EBADF, "not a pidfd")

    def delete(self, key: bytes) -> None:
        """EBADF: the key is no pidfd."""
        raise KernelError(errno.EBADF, "not a pidfd")

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes:
        """ENOTSUPP, as in the kernel."""
        raise KernelError(ENOTSUPP)

    def next_key(self, key: bytes | None) -> bytes:
        """ENOTSUPP, as in the kernel."""
        raise KernelError(ENOTSUPP)

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """ENOTSUPP: storage cannot be iterated from outside."""
        raise KernelError(ENOTSUPP)
