"""Values with a spin lock inside: copied around the lock (include/linux/bpf.h, copy_map_value)."""

from engine.jit.lang import memcpy, memset, native, put32, u32
from engine.maps.header import NO_LOCK, MapHdr
from engine.spin import spin_lock, spin_unlock

__all__ = ["copy_around", "copy_value", "init_value", "read_locked", "update_locked"]


@native
def copy_around(map: int, d: int, s: int, size: int) -> int:
    """Copy a value without the four bytes of its lock."""
    lock = u32(map + MapHdr.LOCK_OFF)
    memcpy(d, s, lock)
    memcpy(d + lock + 4, s + lock + 4, size - lock - 4)
    return 0


@native
def copy_value(map: int, d: int, s: int, size: int) -> int:
    """Copy `size` bytes of a value out; a lock reads as 0."""
    if u32(map + MapHdr.LOCK_OFF) == NO_LOCK:
        memcpy(d, s, size)
        return 0
    copy_around(map, d, s, size)
    put32(d + u32(map + MapHdr.LOCK_OFF), 0)
    return 0


@native
def init_value(map: int, d: int, s: int) -> int:
    """Fill the value of an element that nobody sees yet; its lock is free."""
    memset(d, 0, u32(map + MapHdr.VALUE_SIZE))
    copy_around(map, d, s, u32(map + MapHdr.VALUE_SIZE))
    return 0


@native
def update_locked(map: int, d: int, s: int) -> int:
    """Overwrite a live value while holding its lock (BPF_F_LOCK)."""
    lock = d + u32(map + MapHdr.LOCK_OFF)
    spin_lock(lock)
    copy_around(map, d, s, u32(map + MapHdr.VALUE_SIZE))
    spin_unlock(lock)
    return 0


@native
def read_locked(map: int, d: int, s: int) -> int:
    """Copy a live value out while holding its lock (BPF_F_LOCK)."""
    lock = s + u32(map + MapHdr.LOCK_OFF)
    spin_lock(lock)
    copy_value(map, d, s, u32(map + MapHdr.VALUE_SIZE))
    spin_unlock(lock)
    return 0
