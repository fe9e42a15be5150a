"""Elements of a hash table: handed out, taken back, never unmapped while the map lives.

    element  +0 next (chain)   +8 hash u32, +12 state u32 | while free: link   +16 key   +VALUE value

Fresh elements come in order from a sparse array, so a large map costs nothing at creation. Freed ones form
a lock-free stack: a word of tag (28 bits) and position (36 bits, in units of 16 bytes, plus one), whose
tag changes at every step (as `kernel/bpf/percpu_freelist.c` keeps lists, but without one per CPU). `next`
survives in a freed element, so that a reader who stands on it still finds its way out of the chain.

Overwriting an element takes a spare and leaves the old one in its place (the kernel's `extra_elems`), so
that a full map can be updated: a spare slot is empty while somebody is between the two.
"""

from enum import IntEnum

from engine.jit.lang import (
    atomic_add64,
    cas64,
    load_acquire64,
    native,
    put64,
    store_release64,
    u32,
    u64,
    uge,
    xchg64,
)
from engine.maps.header import MapHdr
from engine.spin import relax

__all__ = ["NR_SPARES", "Elem", "Pool", "pool_give", "pool_take", "spare_give", "spare_take"]

NR_SPARES = 64
_POSITION = (1 << 36) - 1
_TAG = 1 << 36


class Elem(IntEnum):
    """Offsets in an element."""

    NEXT = 0
    HASH = 8
    STATE = 12
    LINK = 8
    KEY = 16


class Pool(IntEnum):
    """Offsets in the map's header."""

    CAPACITY = 112
    """u64, elements that `pool_take` may hand out at once."""
    SPARES = 120
    """u64, address of NR_SPARES words, each an element or 0."""
    FREE = 256
    """u64, tag and position of the free stack's top; position 0: empty."""
    FRESH = 320
    """u64, elements handed out for the first time so far."""


@native(inline=True)
def pool_take(map: int) -> int:
    """An element nobody uses, or 0 when all are in use."""
    head = load_acquire64(map + Pool.FREE)
    while head & _POSITION:
        elem = u64(map + MapHdr.DATA) + ((head & _POSITION) - 1) * 16
        rest = u64(elem + Elem.LINK) & _POSITION
        seen = cas64(map + Pool.FREE, head, ((head & ~_POSITION) + _TAG) | rest)
        if seen == head:
            return elem
        head = seen
    if uge(u64(map + Pool.FRESH), u64(map + Pool.CAPACITY)):
        return 0
    fresh = atomic_add64(map + Pool.FRESH, 1)
    if uge(fresh, u64(map + Pool.CAPACITY)):
        atomic_add64(map + Pool.FRESH, -1)
        return 0
    return u64(map + MapHdr.DATA) + fresh * u32(map + MapHdr.ELEM_SIZE)


@native(inline=True)
def pool_give(map: int, elem: int) -> int:
    """Take an unlinked element back."""
    position = ((elem - u64(map + MapHdr.DATA)) >> 4) + 1
    head = load_acquire64(map + Pool.FREE)
    while 1:
        put64(elem + Elem.LINK, head & _POSITION)
        seen = cas64(map + Pool.FREE, head, ((head & ~_POSITION) + _TAG) | position)
        if seen == head:
            return 0
        head = seen


@native
def _spare_wait(slot: int) -> int:
    """The element of a slot that another thread is overwriting with; it comes back soon."""
    spins = 0
    elem = 0
    while elem == 0:
        spins += 1
        relax(spins)
        elem = xchg64(slot, 0)
    return elem


@native(inline=True)
def spare_take(map: int, index: int) -> int:
    """The spare element of slot `index` (any number). The slot stays empty until `spare_give`."""
    slot = u64(map + Pool.SPARES) + (index & (NR_SPARES - 1)) * 8
    elem = xchg64(slot, 0)
    if elem == 0:
        elem = _spare_wait(slot)
    return elem


@native(inline=True)
def spare_give(map: int, index: int, elem: int) -> int:
    """Leave an unlinked element in the slot that `spare_take` emptied."""
    store_release64(u64(map + Pool.SPARES) + (index & (NR_SPARES - 1)) * 8, elem)
    return 0
