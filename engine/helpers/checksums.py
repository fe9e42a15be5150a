"""Helpers that correct checksums in a packet (net/core/filter.c, net/core/utils.c, include/net/checksum.h).

A packet has no checksum of its own here (CHECKSUM_NONE), so only the field in its header changes.
"""

import errno

from engine.abi.bpf import FuncId, ProgType
from engine.abi.ctx import SkBuff
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import native, put16, u16, u64, ugt

__all__ = ["l3_csum_replace", "l4_csum_replace"]

_EFAULT = -errno.EFAULT
_EINVAL = -errno.EINVAL
_U16_MAX, _U32_MAX = 0xFFFF, 0xFFFF_FFFF
_SIZE = 0xF
"""BPF_F_HDR_FIELD_MASK: bytes of the field that was replaced, 0 for a difference."""
_MARK_MANGLED_0, _MARK_ENFORCE = 1 << 5, 1 << 6
_L4_FLAGS = _SIZE | 1 << 4 | _MARK_MANGLED_0 | _MARK_ENFORCE | 1 << 7
"""With BPF_F_PSEUDO_HDR and BPF_F_IPV6, which matter to packets with a checksum of their own."""
_WRITERS = frozenset({ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.LWT_XMIT})
_ARGS = (Arg.PTR_TO_CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING)


@native
def _add(one: int, other: int) -> int:
    """Sum of two 32-bit checksums, the carry folded in (csum_add)."""
    total = (one & _U32_MAX) + (other & _U32_MAX)
    return (total & _U32_MAX) + (total >> 32)


@native
def _fold(sum: int) -> int:
    """The complement of a sum, folded to 16 bits (csum_fold)."""
    total = (sum & _U16_MAX) + (sum >> 16)
    total = (total & _U16_MAX) + (total >> 16)
    return total ^ _U16_MAX


@native
def _field(ctx: int, offset: int) -> int:
    """Address of the checksum at `offset`, or 0."""
    data = u64(ctx + SkBuff.NATIVE_DATA)
    if ugt(offset, _U16_MAX) or offset & 1 or ugt(data + offset + 2, u64(ctx + SkBuff.NATIVE_DATA_END)):
        return 0
    return data + offset


@native
def _replace(field: int, old: int, new: int, size: int) -> int:
    """Correct the checksum at `field` for `size` bytes that were replaced. -EINVAL for another size."""
    there = u16(field) ^ _U32_MAX
    if size == 0:
        if old != 0:
            return _EINVAL
        put16(field, _fold(_add(new, there)))
        return 0
    mask = _U16_MAX if size == 2 else _U32_MAX
    if size != 2 and size != 4:
        return _EINVAL
    put16(field, _fold(_add(_add(there, (old & mask) ^ _U32_MAX), new & mask)))
    return 0


@native
def _add16(one: int, other: int) -> int:
    """Sum of two 16-bit checksums, the carry folded in (csum16_add)."""
    total = one + other
    return (total & _U16_MAX) + (total >> 16)


@native
def _replace16(field: int, old: int, new: int) -> int:
    """The same for two bytes, in 16 bits, which tells the two zeros apart otherwise (csum_replace2)."""
    there = _add16(u16(field) ^ _U16_MAX, (old & _U16_MAX) ^ _U16_MAX)
    put16(field, _add16(there, new & _U16_MAX) ^ _U16_MAX)
    return 0


@helper(Proto(FuncId.l3_csum_replace, "bpf_l3_csum_replace", Ret.INTEGER, _ARGS, progs=_WRITERS))
@native
def l3_csum_replace(env: int, ctx: int, offset: int, old: int, new: int, flags: int) -> int:
    """Correct the checksum of a network header. -EFAULT for an offset, -EINVAL for flags that cannot be."""
    if flags & ~_SIZE:
        return _EINVAL
    field = _field(ctx, offset & _U32_MAX)
    if field == 0:
        return _EFAULT
    return _replace16(field, old, new) if flags == 2 else _replace(field, old, new, flags)


@helper(Proto(FuncId.l4_csum_replace, "bpf_l4_csum_replace", Ret.INTEGER, _ARGS, progs=_WRITERS))
@native
def l4_csum_replace(env: int, ctx: int, offset: int, old: int, new: int, flags: int) -> int:
    """Correct the checksum of a transport header, in which 0 may mean none. -EFAULT, -EINVAL."""
    if flags & ~_L4_FLAGS:
        return _EINVAL
    field = _field(ctx, offset & _U32_MAX)
    if field == 0:
        return _EFAULT
    if flags & _MARK_MANGLED_0 and not flags & _MARK_ENFORCE and u16(field) == 0:
        return 0
    result = _replace(field, old, new, flags & _SIZE)
    if result == 0 and flags & _MARK_MANGLED_0 and u16(field) == 0:
        put16(field, _U16_MAX)
    return result
