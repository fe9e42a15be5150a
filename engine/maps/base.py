"""A map as Python sees it: its header, its memory, and the operations of bpf(2)."""

import ctypes
import errno
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

from engine.abi.bpf import MapCreateFlag, MapType, UpdateFlag
from engine.env import peek32, poke32, poke64
from engine.errors import KernelError
from engine.jit.lang import Native, compile_native
from engine.maps.header import ENOTSUPP, MAP_HDR_SIZE, NO_LOCK, MapHdr, MapOps
from engine.maps.spec import MapHost, MapSpec, refuse_unless
from engine.maps.values import copy_value, read_locked
from engine.memory import Region

__all__ = ["BATCH_BYTES", "Batch", "Buffer", "Map", "address_of_buffer", "check_result", "to_buffer"]

_LOCK = int(UpdateFlag.F_LOCK)
_OF_DESCRIPTOR = MapCreateFlag.RDONLY | MapCreateFlag.WRONLY
"""Flags of the descriptor that a map is created with, not of the map (`bpf_map_flags_retain_permanent`)."""
Buffer = ctypes.Array[ctypes.c_char]
Batch = tuple[int, list[tuple[bytes, bytes]]]
"""Where to go on, and elements."""
BATCH_BYTES = 64 * 1024


def to_buffer(data: bytes) -> Buffer:
    """A writable copy of `data` that native code can be given."""
    return (ctypes.c_char * len(data)).from_buffer_copy(data)


def address_of_buffer(buffer: Buffer) -> int:
    """Where a buffer is; it must outlive the call."""
    return ctypes.addressof(buffer)


def check_result(result: int) -> int:
    """`result`, or KernelError where it is a negative errno."""
    if result < 0:
        raise KernelError(-result)
    return result


def _release(host: MapHost, blocks: list[int], region: Region | None) -> None:
    """Give memory back after a grace period. Holds no reference to the map."""

    def reclaim() -> None:
        if region is not None:
            region.close()
        for block in blocks:
            host.heap.free(block)

    host.retire(reclaim)


class Map:
    """A map. `address` is its native header, `region` its memory (None for maps without any).

    Methods take and give keys and values as bytes of exactly the map's sizes, and raise KernelError with
    the errno that bpf(2) gives. Values of per-CPU maps are those of all CPUs, each rounded up to 8 bytes.
    Thread-safe. Programs, pins and descriptors hold references; the memory goes with the last, or at `close`.
    """

    ops: ClassVar[MapOps] = MapOps()
    extra_natives: ClassVar[tuple[Native, ...]] = ()
    """Further native functions of the family, compiled with `ops`."""

    def __init__(self, spec: MapSpec, host: MapHost) -> None:
        self.spec = spec
        self.type = MapType(spec.type)
        self.key_size = spec.key_size
        self.value_size = spec.value_size
        self.max_entries = spec.max_entries
        self.flags = spec.flags & ~int(_OF_DESCRIPTOR)
        self.name = spec.name
        self.map_extra = spec.map_extra
        self.btf: Any = spec.btf
        self.btf_key_type_id = spec.btf_key_type_id
        self.btf_value_type_id = spec.btf_value_type_id
        self.inner = spec.inner
        self.frozen = False
        self.host = host
        self._compile()
        self.address = host.heap.alloc(MAP_HDR_SIZE, 64)
        try:
            self.region = self.allocate()
        except KernelError:
            host.heap.free(self.address)
            raise
        self.owned_blocks = [self.address]
        self._finalizer = weakref.finalize(self, _release, host, self.owned_blocks, self.region)
        self._finalizer.atexit = False
        self._fill_header()
        self.setup()

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """The family's `map_alloc_check`. Raises KernelError EINVAL, E2BIG, EPERM or ENOTSUPP."""
        raise NotImplementedError

    def allocate(self) -> Region | None:
        """The memory of a new map; may adjust `max_entries`, as the kernel does."""
        return None

    def setup(self) -> None:
        """Fill the family's fields of the header."""

    @classmethod
    def _compile(cls) -> None:
        wanted = {*cls.ops.table().values(), *cls.extra_natives, copy_value, read_locked}
        missing = [f for f in wanted if not f.compiled]
        if missing:
            compile_native(sorted(missing, key=repr))

    def _fill_header(self) -> None:
        words = {
            MapHdr.TYPE: self.type,
            MapHdr.KEY_SIZE: self.key_size,
            MapHdr.VALUE_SIZE: self.value_size,
            MapHdr.MAX_ENTRIES: self.max_entries,
            MapHdr.FLAGS: self.flags,
            MapHdr.ELEM_SIZE: self.spec.value_stride,
            MapHdr.NR_CPUS: self.host.nr_cpus,
            MapHdr.STRIDE: self.spec.value_stride,
            MapHdr.LOCK_OFF: NO_LOCK if self.spec.lock_off is None else self.spec.lock_off,
        }
        for offset, value in words.items():
            poke32(self.address + offset, value)
        if self.region is not None:
            poke64(self.address + MapHdr.DATA, self.region.address)
        for offset, function in self.ops.table().items():
            poke64(self.address + offset, function.address)

    def poke(self, field: int, value: int) -> None:
        """Store a u64 field of the header."""
        poke64(self.address + field, value)

    @property
    def id(self) -> int:
        """Number of the map in its machine; 0 without one."""
        return peek32(self.address + MapHdr.ID)

    @id.setter
    def id(self, number: int) -> None:
        poke32(self.address + MapHdr.ID, number)

    @property
    def user_value_size(self) -> int:
        """Bytes of a value in bpf(2) (`bpf_map_value_size`)."""
        return self.value_size

    @property
    def shape(self) -> tuple[int, ...]:
        """Further arguments of `ops.lookup_shaped`; those of `update_shaped` follow with the value's size."""
        return ()

    def close(self) -> None:
        """Give the memory back after a grace period. Nothing may use the map any more."""
        self._finalizer()

    def find(self, key: int) -> int:
        """Host address of the value for a key at host address `key`, or 0: what bpf(2) copies out."""
        raise KernelError(ENOTSUPP)

    def lookup(self, key: bytes, flags: int = 0) -> bytes:
        """The value at `key`. ENOENT."""
        self.refuse_bad_lookup(flags)
        buffer = self.key_buffer(key)
        value = self.find(ctypes.addressof(buffer))
        if not value:
            raise KernelError(errno.ENOENT)
        return self.copy_out(value, bool(flags & UpdateFlag.F_LOCK))

    def copy_out(self, value: int, locked: bool = False) -> bytes:
        """The bytes of the value at a host address."""
        if self.spec.lock_off is None:
            return ctypes.string_at(value, self.user_value_size)
        out = ctypes.create_string_buffer(self.value_size)
        if locked:
            read_locked(self.address, ctypes.addressof(out), value)
        else:
            copy_value(self.address, ctypes.addressof(out), value, self.value_size)
        return out.raw

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set the value at `key`. EEXIST, ENOENT, E2BIG, EINVAL; EPERM when frozen."""
        self.refuse_frozen()
        self._refuse_lock(flags)
        key_buffer, value_buffer = self.key_buffer(key), self.value_buffer(value)
        check_result(self.store(ctypes.addressof(key_buffer), ctypes.addressof(value_buffer), flags))

    def store(self, key: int, value: int, flags: int) -> int:
        """`update` with host addresses: 0 or a negative errno."""
        return self.ops.update(0, self.address, key, value, flags)

    def delete(self, key: bytes) -> None:
        """Remove `key`. ENOENT; EINVAL where elements cannot go; EPERM when frozen."""
        self.refuse_frozen()
        buffer = self.key_buffer(key)
        check_result(self.ops.delete(0, self.address, ctypes.addressof(buffer)))

    def next_key(self, key: bytes | None) -> bytes:
        """The key after `key`; the first one for None or a key that is not there. ENOENT after the last."""
        raise KernelError(ENOTSUPP)

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes:
        """The value at `key`, which is removed in the same step. ENOENT, ENOTSUPP."""
        raise KernelError(ENOTSUPP)

    def push(self, value: bytes, flags: int = 0) -> None:
        """Put a value into a queue or stack. E2BIG when full and `flags` is not EXIST."""
        raise KernelError(ENOTSUPP)

    def pop(self) -> bytes:
        """Take the next value out of a queue or stack. ENOENT when empty."""
        raise KernelError(ENOTSUPP)

    def peek(self) -> bytes:
        """The next value of a queue or stack. ENOENT when empty."""
        raise KernelError(ENOTSUPP)

    def freeze(self) -> None:
        """Refuse further writes through bpf(2), not those of programs. EPERM the second time."""
        self.refuse_frozen()
        self.frozen = True

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """Elements in batches of about `room` bytes: (cursor to go on at, [(key, value)]).

        Each batch is read when it is asked for; updates in between are seen or not, as in the kernel.
        """
        raise KernelError(ENOTSUPP)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All elements, in bounded batches."""
        for _, batch in self.batches():
            yield from batch

    def key_buffer(self, key: bytes) -> Buffer:
        """A copy of `key`; EINVAL for another size."""
        refuse_unless(len(key) == self.key_size, f"a key has {self.key_size} bytes, not {len(key)}")
        return to_buffer(key)

    def value_buffer(self, value: bytes) -> Buffer:
        """A copy of `value`; EINVAL for another size."""
        size = self.user_value_size
        refuse_unless(len(value) == size, f"a value has {size} bytes, not {len(value)}")
        return to_buffer(value)

    def refuse_frozen(self) -> None:
        """EPERM for a write to a frozen map."""
        refuse_unless(not self.frozen, "the map is frozen", errno.EPERM)

    def refuse_bad_lookup(self, flags: int) -> None:
        """EINVAL for flags that a lookup does not take."""
        refuse_unless(not flags & ~_LOCK, f"bad lookup flags {flags:#x}")
        self._refuse_lock(flags)

    def _refuse_lock(self, flags: int) -> None:
        has_lock = self.spec.lock_off is not None
        refuse_unless(has_lock or not flags & UpdateFlag.F_LOCK, "no spin lock in the value")

    def __repr__(self) -> str:
        return f"<map {self.id} {self.type.name} {self.name!r} {self.key_size}/{self.value_size}>"
