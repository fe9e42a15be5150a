"""BPF_MAP_TYPE_LPM_TRIE: what bpf(2) sees of it, and its order of keys (kernel/bpf/lpm_trie.c)."""

import ctypes
import errno
from collections.abc import Iterator

from engine.abi.bpf import MapCreateFlag
from engine.env import poke32
from engine.errors import KernelError
from engine.jit.lang import local, memcpy, native, put32, put64, u32, u64, ugt
from engine.maps.base import BATCH_BYTES, Batch, Map, check_result
from engine.maps.header import MapHdr, MapOps
from engine.maps.lpm_ops import (
    NO_VALUE,
    LpmHdr,
    Node,
    child_of,
    lpm_delete,
    lpm_lookup,
    lpm_update,
    match_bits,
    next_bit,
)
from engine.maps.pool import Pool
from engine.maps.spec import ACCESS_FLAGS, KMALLOC_MAX_SIZE, MapSpec, refuse_flags, refuse_unless
from engine.memory import Region, round_up
from engine.spin import spin_lock, spin_unlock

__all__ = ["LpmTrieMap"]

_CREATE_FLAGS = ACCESS_FLAGS | MapCreateFlag.NO_PREALLOC | MapCreateFlag.NUMA_NODE
_MIN_KEY, _MAX_KEY = 5, 4 + 256
_MAX_VALUE = KMALLOC_MAX_SIZE - _MAX_KEY - 40
"""The last term is sizeof(struct lpm_trie_node)."""


@native
def _leftmost(node: int) -> int:
    """The first node in post-order below and including `node` that has a value."""
    found = 0
    while node != 0:
        if not u32(node + Node.FLAGS) & NO_VALUE:
            found = node
        following = u64(child_of(node, 0))
        node = following if following != 0 else u64(child_of(node, 1))
    return found


@native
def _after(map: int, key: int) -> int:
    """The node after `key` in post-order, the first one where `key` is 0 or not there; 0 at the end."""
    root = u64(map + LpmHdr.ROOT)
    if key == 0 or ugt(u32(key), u64(map + LpmHdr.MAX_PREFIX)):
        return _leftmost(root)
    path = local(2064)
    depth = 0
    node = root
    while node != 0:
        put64(path + depth * 8, node)
        depth += 1
        here = u32(node + Node.PREFIX)
        if match_bits(node, key, 0) != here or here == u32(key):
            break
        node = u64(child_of(node, next_bit(key + 4, here)))
    if node == 0 or u32(node + Node.PREFIX) != u32(key) or match_bits(node, key, 0) != u32(key):
        return _leftmost(root)
    if u32(node + Node.FLAGS) & NO_VALUE:
        return _leftmost(root)
    while depth > 1:
        depth -= 1
        parent = u64(path + (depth - 1) * 8)
        if u64(child_of(parent, 0)) == node and u64(child_of(parent, 1)) != 0:
            return _leftmost(u64(child_of(parent, 1)))
        if not u32(parent + Node.FLAGS) & NO_VALUE:
            return parent
        node = parent
    return 0


@native
def lpm_next_key(map: int, key: int, out: int) -> int:
    """Copy the key after `key` to `out`: longer prefixes come before the ones they extend. -ENOENT."""
    spin_lock(map + LpmHdr.LOCK)
    node = _after(map, key)
    if node != 0:
        put32(out, u32(node + Node.PREFIX))
        memcpy(out + 4, node + Node.BITS, u32(map + MapHdr.KEY_SIZE) - 4)
    spin_unlock(map + LpmHdr.LOCK)
    return 0 if node != 0 else -2


class LpmTrieMap(Map):
    """Values by prefix; a lookup finds the longest prefix of what is looked up."""

    ops = MapOps(lookup=lpm_lookup, update=lpm_update, delete=lpm_delete)
    extra_natives = (lpm_next_key,)

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`trie_alloc`."""
        refuse_flags(spec, _CREATE_FLAGS)
        refuse_unless(spec.flags & MapCreateFlag.NO_PREALLOC, "tries are not preallocated")
        refuse_unless(spec.max_entries, "no entries")
        refuse_unless(_MIN_KEY <= spec.key_size <= _MAX_KEY, "bad key size for a trie")
        refuse_unless(1 <= spec.value_size <= _MAX_VALUE, "bad value size for a trie")

    def allocate(self) -> Region:
        """See `Map.allocate`. n values need at most n - 1 forks; one node more is there to overwrite."""
        self.value_off = Node.BITS + round_up(self.key_size - 4, 8)
        self.node_size = round_up(self.value_off + self.spec.value_stride, 16)
        return Region(f"bpf-map:{self.spec.name}", 2 * self.max_entries * self.node_size)

    def setup(self) -> None:
        """See `Map.setup`."""
        poke32(self.address + MapHdr.ELEM_SIZE, self.node_size)
        self.poke(Pool.CAPACITY, 2 * self.max_entries)
        self.poke(LpmHdr.MAX_PREFIX, (self.key_size - 4) * 8)
        self.poke(LpmHdr.VALUE_OFF, self.value_off)

    def find(self, key: int) -> int:
        """See `Map.find`."""
        return lpm_lookup(0, self.address, key)

    def next_key(self, key: bytes | None) -> bytes:
        """See `Map.next_key`."""
        out = ctypes.create_string_buffer(self.key_size)
        buffer = None if key is None else self.key_buffer(key)
        at = 0 if buffer is None else ctypes.addressof(buffer)
        check_result(lpm_next_key(self.address, at, ctypes.addressof(out)))
        return out.raw

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """See `Map.batches`; the cursor counts elements."""
        step = max(1, room // (self.key_size + self.value_size))
        batch: list[tuple[bytes, bytes]] = []
        key: bytes | None = None
        seen = 0
        while (key := self._following(key)) is not None:
            seen += 1
            if seen > cursor:
                batch.append((key, self.lookup(key)))
            if len(batch) >= step:
                yield seen, batch
                batch = []
        yield seen, batch

    def _following(self, key: bytes | None) -> bytes | None:
        try:
            return self.next_key(key)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
