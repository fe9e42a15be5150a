"""The native header of a map: what programs, helpers and generated code know of it.

      +0 TYPE   +4 KEY_SIZE  +8 VALUE_SIZE  +12 MAX_ENTRIES
     +16 FLAGS +20 ID       +24 ELEM_SIZE   +28 LOCK_OFF
     +32 DATA               +40 NR_CPUS     +44 STRIDE
     +48 LOOKUP +56 UPDATE +64 DELETE +72 PUSH +80 POP +88 PEEK +96 LOOKUP_PERCPU +104 FOR_EACH
    +112 .. +255 private to the family, read-mostly
    +256 .. +511 private to the family, written by every operation

A function that a map does not have answers -ENOTSUPP (lookups answer 0), so callers never test for it.
"""

from dataclasses import dataclass, fields
from enum import IntEnum

from engine.jit.lang import Native, native

__all__ = ["ENOTSUPP", "MAP_HDR_SIZE", "NO_LOCK", "MapHdr", "MapOps"]

MAP_HDR_SIZE = 512
ENOTSUPP = 524
"""Errno of an operation that a map has not (include/linux/errno.h); it has no name in errno(3)."""
NO_LOCK = 0xFFFF_FFFF
"""`LOCK_OFF` of a map whose values have no `struct bpf_spin_lock`."""


class MapHdr(IntEnum):
    """Offsets in a map's header."""

    TYPE = 0
    KEY_SIZE = 4
    VALUE_SIZE = 8
    MAX_ENTRIES = 12
    FLAGS = 16
    ID = 20
    ELEM_SIZE = 24
    """u32, bytes from one element to the next."""
    LOCK_OFF = 28
    """u32, offset of the bpf_spin_lock in a value, or NO_LOCK."""
    DATA = 32
    """u64, first element."""
    NR_CPUS = 40
    STRIDE = 44
    """u32, bytes from one CPU's value to the next in per-CPU hashes."""
    LOOKUP = 48
    """u64, fn(env, map, key): address of the value, or 0."""
    UPDATE = 56
    """u64, fn(env, map, key, value, flags)."""
    DELETE = 64
    """u64, fn(env, map, key)."""
    PUSH = 72
    """u64, fn(env, map, value, flags)."""
    POP = 80
    """u64, fn(env, map, value)."""
    PEEK = 88
    """u64, fn(env, map, value)."""
    LOOKUP_PERCPU = 96
    """u64, fn(env, map, key, cpu): address of that CPU's value, or 0."""
    FOR_EACH = 104
    """u64, fn(env, map, callback, ctx): number of elements visited."""


@native
def _no_lookup(env: int, map: int, key: int) -> int:
    """Lookup in a map that programs cannot look into."""
    return 0


@native
def _no_update(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Update of a map that has none."""
    return -ENOTSUPP


@native
def _no_delete(env: int, map: int, key: int) -> int:
    """Delete, pop or peek of a map that has none."""
    return -ENOTSUPP


@native
def _no_push(env: int, map: int, value: int, flags: int) -> int:
    """Push to a map that has none."""
    return -ENOTSUPP


@native
def _no_lookup_percpu(env: int, map: int, key: int, cpu: int) -> int:
    """Per-CPU lookup in a map that has one value for all."""
    return 0


@native
def _no_for_each(env: int, map: int, callback: int, ctx: int) -> int:
    """Iteration over a map that cannot be iterated (-EINVAL)."""
    return -22


@dataclass(frozen=True, slots=True)
class MapOps:
    """The native operations of a family. Named as the header's fields, in their order.

    `*_shaped` take the map's `shape` as further arguments: constants that generated code knows, so that
    sizes and masks fold when they are inlined. None where there is nothing to gain.
    """

    lookup: Native = _no_lookup
    update: Native = _no_update
    delete: Native = _no_delete
    push: Native = _no_push
    pop: Native = _no_delete
    peek: Native = _no_delete
    lookup_percpu: Native = _no_lookup_percpu
    for_each: Native = _no_for_each
    lookup_shaped: Native | None = None
    update_shaped: Native | None = None
    delete_shaped: Native | None = None

    def table(self) -> dict[MapHdr, Native]:
        """What goes into the header's function fields."""
        names = [f.name for f in fields(self) if not f.name.endswith("_shaped")]
        return {MapHdr[name.upper()]: getattr(self, name) for name in names}
