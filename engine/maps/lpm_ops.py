"""Native operations of BPF_MAP_TYPE_LPM_TRIE: longest prefix match (kernel/bpf/lpm_trie.c).

A key is a u32 of prefix length in bits, then the bits, first bit highest. A node's children continue its
prefix with 0 and 1; intermediate nodes have no value, and always two children.

    node  +0 child 0   +8 child 1 (while free: the pool's link)   +16 prefix length u32   +20 flags u32
          +24 bits, in whole words   then the value

Writers hold one lock. Readers walk without it and start over when a node was freed meanwhile (SEQUENCE is
odd while one is): nodes stay mapped and prefixes only grow on the way down, so every walk ends.
"""

import errno
from enum import IntEnum

from engine.abi.bpf import UpdateFlag
from engine.jit.lang import (
    clz64,
    fence,
    load_acquire64,
    memcpy,
    native,
    put32,
    put64,
    store_release64,
    u8,
    u32,
    u64,
    ugt,
)
from engine.maps.header import MapHdr
from engine.maps.pool import pool_give, pool_take
from engine.spin import relax, spin_lock, spin_unlock

__all__ = [
    "NO_VALUE",
    "LpmHdr",
    "Node",
    "child_of",
    "lpm_delete",
    "lpm_lookup",
    "lpm_update",
    "match_bits",
    "next_bit",
    "node_value",
]

NO_VALUE = 1
"""Flag of an intermediate node."""
_INVALID = errno.EINVAL
_MISSING = errno.ENOENT
_EXISTS = errno.EEXIST
_NO_SPACE = errno.ENOSPC
_NO_MEMORY = errno.ENOMEM


class LpmHdr(IntEnum):
    """Offsets in the map's header; the pool's come before."""

    MAX_PREFIX = 128
    """u64, bits of the longest prefix."""
    VALUE_OFF = 136
    """u64, where a node's value starts."""
    LOCK = 384
    ENTRIES = 392
    """u64, nodes with a value."""
    SEQUENCE = 400
    ROOT = 408


class Node(IntEnum):
    """Offsets in a node."""

    CHILD = 0
    PREFIX = 16
    FLAGS = 20
    BITS = 24


@native(inline=True)
def next_bit(bits: int, index: int) -> int:
    """Bit number `index`, the first being the highest of the first byte."""
    return u8(bits + (index >> 3)) >> (7 - (index & 7)) & 1


@native(inline=True)
def child_of(node: int, bit: int) -> int:
    """Address of a link to a child."""
    return node + Node.CHILD + bit * 8


@native(inline=True)
def node_value(map: int, node: int) -> int:
    """Address of a node's value."""
    return node + u64(map + LpmHdr.VALUE_OFF)


@native
def match_bits(node: int, key: int, known: int) -> int:
    """How many leading bits a node's prefix and a key's have in common; `known` of them are sure."""
    a = u32(node + Node.PREFIX)
    b = u32(key)
    limit = a if a < b else b
    at = known & ~7 if known > 0 else 0
    while at < limit:
        diff = u8(node + Node.BITS + (at >> 3)) ^ u8(key + 4 + (at >> 3))
        if diff:
            at += clz64(diff) - 56
            return at if at < limit else limit
        at += 8
    return limit


@native
def _walk(map: int, key: int) -> int:
    """The node with the longest prefix of `key`, or 0; wrong where nodes are freed meanwhile."""
    found = 0
    depth = -1
    node = load_acquire64(map + LpmHdr.ROOT)
    while node != 0:
        prefix = u32(node + Node.PREFIX)
        if prefix <= depth or match_bits(node, key, depth) < prefix:
            return found
        if not u32(node + Node.FLAGS) & NO_VALUE:
            found = node
        if prefix >= u64(map + LpmHdr.MAX_PREFIX) or prefix >= u32(key):
            return found
        depth = prefix
        node = load_acquire64(child_of(node, next_bit(key + 4, prefix)))
    return found


@native
def lpm_lookup(env: int, map: int, key: int) -> int:
    """Address of the value with the longest prefix of `key`, or 0."""
    if ugt(u32(key), u64(map + LpmHdr.MAX_PREFIX)):
        return 0
    spins = 0
    while 1:
        sequence = load_acquire64(map + LpmHdr.SEQUENCE)
        found = _walk(map, key)
        fence()
        if not sequence & 1 and load_acquire64(map + LpmHdr.SEQUENCE) == sequence:
            return node_value(map, found) if found != 0 else 0
        spins += 1
        relax(spins)


@native
def _free(map: int, node: int) -> int:
    """Give an unlinked node back, so that readers who stand on it notice."""
    sequence = u64(map + LpmHdr.SEQUENCE)
    store_release64(map + LpmHdr.SEQUENCE, sequence + 1)
    fence()
    pool_give(map, node)
    store_release64(map + LpmHdr.SEQUENCE, sequence + 2)
    return 0


@native
def _place(map: int, slot: int, node: int, fresh: int, key: int) -> int:
    """Link a new node above, beside or in place of `node`, where the walk ended. 0 or -ENOMEM."""
    prefix = u32(fresh + Node.PREFIX)
    if node == 0:
        store_release64(slot, fresh)
        return 0
    common = match_bits(node, key, 0)
    if common == prefix and u32(node + Node.PREFIX) == prefix:
        memcpy(fresh + Node.CHILD, node + Node.CHILD, 16)
        store_release64(slot, fresh)
        return _free(map, node)
    if common == prefix:
        put64(child_of(fresh, next_bit(node + Node.BITS, common)), node)
        store_release64(slot, fresh)
        return 0
    fork = pool_take(map)
    if fork == 0:
        return -_NO_MEMORY
    put32(fork + Node.PREFIX, common)
    put32(fork + Node.FLAGS, NO_VALUE)
    memcpy(fork + Node.BITS, node + Node.BITS, u32(map + MapHdr.KEY_SIZE) - 4)
    bit = next_bit(key + 4, common)
    put64(child_of(fork, bit), fresh)
    put64(child_of(fork, 1 - bit), node)
    store_release64(slot, fork)
    return 0


@native
def _insert(map: int, key: int, value: int, flags: int) -> int:
    """`lpm_update` under the lock."""
    prefix = u32(key)
    slot = map + LpmHdr.ROOT
    node = u64(slot)
    while node != 0:
        here = u32(node + Node.PREFIX)
        if match_bits(node, key, 0) != here or here == prefix:
            break
        slot = child_of(node, next_bit(key + 4, here))
        node = u64(slot)
    same = 0
    if node != 0 and u32(node + Node.PREFIX) == prefix and match_bits(node, key, 0) == prefix:
        same = not u32(node + Node.FLAGS) & NO_VALUE
    if same and flags == UpdateFlag.NOEXIST:
        return -_EXISTS
    if not same and flags == UpdateFlag.EXIST:
        return -_MISSING
    if not same and u64(map + LpmHdr.ENTRIES) == u32(map + MapHdr.MAX_ENTRIES):
        return -_NO_SPACE
    fresh = pool_take(map)
    if fresh == 0:
        return -_NO_MEMORY
    put64(fresh + Node.CHILD, 0)
    put64(fresh + Node.CHILD + 8, 0)
    put32(fresh + Node.PREFIX, prefix)
    put32(fresh + Node.FLAGS, 0)
    memcpy(fresh + Node.BITS, key + 4, u32(map + MapHdr.KEY_SIZE) - 4)
    memcpy(node_value(map, fresh), value, u32(map + MapHdr.VALUE_SIZE))
    error = _place(map, slot, node, fresh, key)
    if error < 0:
        pool_give(map, fresh)
        return error
    if not same:
        put64(map + LpmHdr.ENTRIES, u64(map + LpmHdr.ENTRIES) + 1)
    return 0


@native
def lpm_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Set the value of a prefix. -EINVAL (flags, length), -EEXIST, -ENOENT, -ENOSPC (full)."""
    if ugt(flags, UpdateFlag.EXIST) or ugt(u32(key), u64(map + LpmHdr.MAX_PREFIX)):
        return -_INVALID
    spin_lock(map + LpmHdr.LOCK)
    result = _insert(map, key, value, flags)
    spin_unlock(map + LpmHdr.LOCK)
    return result


@native
def _remove(map: int, key: int) -> int:
    """`lpm_delete` under the lock."""
    prefix = u32(key)
    slot = map + LpmHdr.ROOT
    parent = 0
    parent_slot = slot
    node = u64(slot)
    while node != 0:
        here = u32(node + Node.PREFIX)
        if match_bits(node, key, 0) != here or here == prefix:
            break
        parent = node
        parent_slot = slot
        slot = child_of(node, next_bit(key + 4, here))
        node = u64(slot)
    if node == 0 or u32(node + Node.PREFIX) != prefix or match_bits(node, key, 0) != prefix:
        return -_MISSING
    if u32(node + Node.FLAGS) & NO_VALUE:
        return -_MISSING
    put64(map + LpmHdr.ENTRIES, u64(map + LpmHdr.ENTRIES) - 1)
    left = u64(node + Node.CHILD)
    right = u64(node + Node.CHILD + 8)
    if left != 0 and right != 0:
        put32(node + Node.FLAGS, NO_VALUE)
        return 0
    if parent != 0 and u32(parent + Node.FLAGS) & NO_VALUE and left == 0 and right == 0:
        other = child_of(parent, 1) if slot == child_of(parent, 0) else child_of(parent, 0)
        store_release64(parent_slot, u64(other))
        _free(map, parent)
        return _free(map, node)
    store_release64(slot, left if left != 0 else right)
    return _free(map, node)


@native
def lpm_delete(env: int, map: int, key: int) -> int:
    """Remove exactly that prefix. -EINVAL (length), -ENOENT."""
    if ugt(u32(key), u64(map + LpmHdr.MAX_PREFIX)):
        return -_INVALID
    spin_lock(map + LpmHdr.LOCK)
    result = _remove(map, key)
    spin_unlock(map + LpmHdr.LOCK)
    return result
