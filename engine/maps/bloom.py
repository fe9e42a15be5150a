"""BPF_MAP_TYPE_BLOOM_FILTER: whether a value may have been pushed (kernel/bpf/bloom_filter.c)."""

import ctypes
import errno
import secrets
from enum import IntEnum

from engine.abi.bpf import MapCreateFlag
from engine.errors import KernelError
from engine.jit.lang import atomic_or64, native, u32, u64
from engine.maps.base import Map, check_result
from engine.maps.header import MapHdr, MapOps
from engine.maps.keys import hash_key
from engine.maps.spec import ACCESS_FLAGS, KMALLOC_MAX_SIZE, MapSpec, refuse_flags, refuse_unless
from engine.memory import Region

__all__ = ["BloomFilterMap"]

_CREATE_FLAGS = ACCESS_FLAGS | MapCreateFlag.NUMA_NODE | MapCreateFlag.ZERO_SEED
_MAX_HASHES = 15
_DEFAULT_HASHES = 5
_MAX_BITS = 1 << 31
_INVALID = errno.EINVAL
_MISSING = errno.ENOENT
_UNSUPPORTED = errno.EOPNOTSUPP


class BloomHdr(IntEnum):
    """Offsets in the map's header."""

    HASHES = 112
    """u64, number of hash functions."""
    MASK = 120
    """u64, number of bits less one."""
    SEED = 128


@native(inline=True)
def _bit(map: int, value: int, number: int) -> int:
    """Which bit hash function `number` picks for a value."""
    seed = u64(map + BloomHdr.SEED) + number
    return hash_key(value, u32(map + MapHdr.VALUE_SIZE), seed) & u64(map + BloomHdr.MASK)


@native
def bloom_push(env: int, map: int, value: int, flags: int) -> int:
    """Add a value. -EINVAL (flags)."""
    if flags != 0:
        return -_INVALID
    for i in range(u64(map + BloomHdr.HASHES)):
        bit = _bit(map, value, i)
        atomic_or64(u64(map + MapHdr.DATA) + (bit >> 6) * 8, 1 << (bit & 63))
    return 0


@native
def bloom_peek(env: int, map: int, value: int) -> int:
    """0 where the value may have been added, -ENOENT where it has not."""
    for i in range(u64(map + BloomHdr.HASHES)):
        bit = _bit(map, value, i)
        if not u64(u64(map + MapHdr.DATA) + (bit >> 6) * 8) >> (bit & 63) & 1:
            return -_MISSING
    return 0


@native
def bloom_pop(env: int, map: int, value: int) -> int:
    """Values cannot be taken out again: -EOPNOTSUPP."""
    return -_UNSUPPORTED


@native
def bloom_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Filters have no keys: -EINVAL."""
    return -_INVALID


class BloomFilterMap(Map):
    """A set that never misses and sometimes finds what is not there. No keys: push and peek."""

    ops = MapOps(update=bloom_update, delete=bloom_pop, push=bloom_push, pop=bloom_pop, peek=bloom_peek)

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`bloom_map_alloc_check`."""
        refuse_unless(spec.value_size <= KMALLOC_MAX_SIZE, "value too large", errno.E2BIG)
        refuse_unless(spec.max_entries and not spec.key_size and spec.value_size, "bad sizes for a filter")
        refuse_flags(spec, _CREATE_FLAGS)
        refuse_unless(spec.map_extra <= _MAX_HASHES, "map_extra is a number of hash functions up to 15")

    def allocate(self) -> Region:
        """See `Map.allocate`. About 7/5 bits for each value and hash function, 1 / ln 2 in whole numbers."""
        self.hashes = self.map_extra or _DEFAULT_HASHES
        bits = self.max_entries * self.hashes // 5 * 7
        self.nr_bits = min(1 << max(6, (bits - 1).bit_length()), _MAX_BITS)
        return Region(f"bpf-map:{self.spec.name}", self.nr_bits // 8)

    def setup(self) -> None:
        """See `Map.setup`."""
        self.poke(BloomHdr.HASHES, self.hashes)
        self.poke(BloomHdr.MASK, self.nr_bits - 1)
        self.poke(BloomHdr.SEED, 0 if self.flags & MapCreateFlag.ZERO_SEED else secrets.randbits(63))

    def push(self, value: bytes, flags: int = 0) -> None:
        """See `Map.push`."""
        self.refuse_frozen()
        buffer = self.value_buffer(value)
        check_result(self.ops.push(0, self.address, ctypes.addressof(buffer), flags))

    def contains(self, value: bytes) -> bool:
        """Whether a value may have been pushed."""
        buffer = self.value_buffer(value)
        return self.ops.peek(0, self.address, ctypes.addressof(buffer)) == 0

    def next_key(self, key: bytes | None) -> bytes:
        """Filters have no keys: EOPNOTSUPP."""
        raise KernelError(_UNSUPPORTED, "filters have no keys")

    def pop(self) -> bytes:
        """Values cannot be taken out again: EOPNOTSUPP."""
        raise KernelError(_UNSUPPORTED, "filters give nothing back")
