"""Native operations of the arrays that packets are redirected through (kernel/bpf/devmap.c, cpumap.c).

A slot is one word, as bpf(2) shows it: what packets go to (a device's ifindex, or the size of a CPU's queue),
+4 the id of the program that they go through there, or 0. A slot whose first half is 0 is empty.
"""

from engine.jit.lang import native, u32, u64, xchg64
from engine.maps.header import MapHdr

__all__ = ["redirect_lookup", "redirect_swap"]


@native
def redirect_lookup(env: int, map: int, key: int) -> int:
    """Address of the slot at index `key`; 0 where it is empty or beyond the end."""
    index = u32(key)
    if index >= u32(map + MapHdr.MAX_ENTRIES):
        return 0
    slot = u64(map + MapHdr.DATA) + index * 8
    return slot if u32(slot) != 0 else 0


@native
def redirect_swap(slot: int, value: int) -> int:
    """Publish a whole slot; what was there."""
    return xchg64(slot, value)
