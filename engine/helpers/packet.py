"""Helpers on packets that leave the packet where it is (net/core/filter.c).

A packet is linear: NATIVE_DATA to NATIVE_DATA_END of the context (`engine.abi.ctx`).
"""

import errno

from engine.abi.bpf import FuncId, ProgType
from engine.abi.ctx import SkBuff, XdpMd
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import memcpy, memset, native, u8, u16, u32, u64, ugt

__all__ = [
    "csum_diff",
    "skb_load_bytes",
    "skb_pull_data",
    "skb_store_bytes",
    "xdp_get_buff_len",
    "xdp_load_bytes",
    "xdp_store_bytes",
]

_EFAULT = -errno.EFAULT
_EINVAL = -errno.EINVAL
_ENOMEM = -errno.ENOMEM
_INT_MAX = 2**31 - 1
_U32_MAX = 0xFFFF_FFFF
_XDP_MAX = 0xFFFF
"""Largest offset that bpf_xdp_pointer looks at."""
_STORE_FLAGS = 3
"""BPF_F_RECOMPUTE_CSUM and BPF_F_INVALIDATE_HASH."""

_TC = frozenset({ProgType.SCHED_CLS, ProgType.SCHED_ACT})
_LWT = frozenset({ProgType.LWT_IN, ProgType.LWT_OUT, ProgType.LWT_XMIT, ProgType.LWT_SEG6LOCAL})
_READERS = frozenset(
    {
        ProgType.SOCKET_FILTER,
        ProgType.CGROUP_SKB,
        ProgType.SK_SKB,
        ProgType.SK_REUSEPORT,
        ProgType.FLOW_DISSECTOR,
    }
)
_WRITERS = _TC | {ProgType.LWT_XMIT, ProgType.SK_SKB}
_XDP = frozenset({ProgType.XDP})


@native
def _inside(start: int, end: int, offset: int, size: int) -> int:
    """Address of `size` bytes at `offset` of a packet, or 0."""
    length = end - start
    if ugt(offset, _INT_MAX) or ugt(offset, length) or ugt(size, length - offset):
        return 0
    return start + offset


@helper(
    Proto(
        FuncId.skb_load_bytes,
        "bpf_skb_load_bytes",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.CONST_SIZE),
        progs=_READERS | _TC | _LWT,
    )
)
@native
def skb_load_bytes(env: int, ctx: int, offset: int, to: int, size: int) -> int:
    """Copy packet bytes out. -EFAULT, with zeros, where the packet has not so many."""
    at = _inside(u64(ctx + SkBuff.NATIVE_DATA), u64(ctx + SkBuff.NATIVE_DATA_END), offset & _U32_MAX, size)
    if at == 0:
        memset(to, 0, size)
        return _EFAULT
    memcpy(to, at, size)
    return 0


@helper(
    Proto(
        FuncId.skb_store_bytes,
        "bpf_skb_store_bytes",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.ANYTHING, Arg.PTR_TO_MEM, Arg.CONST_SIZE, Arg.ANYTHING),
        progs=_WRITERS,
    )
)
@native
def skb_store_bytes(env: int, ctx: int, offset: int, source: int, size: int, flags: int) -> int:
    """Overwrite packet bytes. -EINVAL (flags), -EFAULT where the packet has not so many."""
    if flags & ~_STORE_FLAGS:
        return _EINVAL
    at = _inside(u64(ctx + SkBuff.NATIVE_DATA), u64(ctx + SkBuff.NATIVE_DATA_END), offset & _U32_MAX, size)
    if at == 0:
        return _EFAULT
    memcpy(at, source, size)
    return 0


@helper(
    Proto(
        FuncId.skb_pull_data,
        "bpf_skb_pull_data",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.ANYTHING),
        progs=_TC | _LWT | {ProgType.SK_SKB},
    )
)
@native
def skb_pull_data(env: int, ctx: int, size: int) -> int:
    """Make `size` bytes linear, which they are. -ENOMEM where the packet has not so many."""
    length = u64(ctx + SkBuff.NATIVE_DATA_END) - u64(ctx + SkBuff.NATIVE_DATA)
    return _ENOMEM if ugt(size & _U32_MAX, length) else 0


@helper(Proto(FuncId.xdp_get_buff_len, "bpf_xdp_get_buff_len", Ret.INTEGER, (Arg.PTR_TO_CTX,), progs=_XDP))
@native(inline=True)
def xdp_get_buff_len(env: int, ctx: int) -> int:
    """Bytes of the packet."""
    return u64(ctx + XdpMd.NATIVE_BUFF_END) - u64(ctx + XdpMd.NATIVE_DATA)


@helper(
    Proto(
        FuncId.xdp_load_bytes,
        "bpf_xdp_load_bytes",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.CONST_SIZE),
        progs=_XDP,
    )
)
@native
def xdp_load_bytes(env: int, ctx: int, offset: int, to: int, size: int) -> int:
    """Copy packet bytes out. -EINVAL where the packet has not so many, -EFAULT beyond 64 KiB."""
    if ugt(offset & _U32_MAX, _XDP_MAX) or ugt(size, _XDP_MAX):
        return _EFAULT
    at = _inside(u64(ctx + XdpMd.NATIVE_DATA), u64(ctx + XdpMd.NATIVE_BUFF_END), offset & _U32_MAX, size)
    if at == 0:
        return _EINVAL
    memcpy(to, at, size)
    return 0


@helper(
    Proto(
        FuncId.xdp_store_bytes,
        "bpf_xdp_store_bytes",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.ANYTHING, Arg.PTR_TO_MEM, Arg.CONST_SIZE),
        progs=_XDP,
    )
)
@native
def xdp_store_bytes(env: int, ctx: int, offset: int, source: int, size: int) -> int:
    """Overwrite packet bytes. -EINVAL where the packet has not so many, -EFAULT beyond 64 KiB."""
    if ugt(offset & _U32_MAX, _XDP_MAX) or ugt(size, _XDP_MAX):
        return _EFAULT
    at = _inside(u64(ctx + XdpMd.NATIVE_DATA), u64(ctx + XdpMd.NATIVE_BUFF_END), offset & _U32_MAX, size)
    if at == 0:
        return _EINVAL
    memcpy(at, source, size)
    return 0


@native
def _partial(data: int, size: int, seed: int) -> int:
    """Sum of the 32-bit words of `size` bytes and a seed, carries folded in (csum_partial)."""
    total = seed
    at = 0
    while at + 4 <= size:
        total += u32(data + at)
        at += 4
    if size & 2:
        total += u16(data + at)
        at += 2
    if size & 1:
        total += u8(data + at)
    total = (total & _U32_MAX) + (total >> 32)
    return (total & _U32_MAX) + (total >> 32)


@helper(
    Proto(
        FuncId.csum_diff,
        "bpf_csum_diff",
        Ret.INTEGER,
        (
            Arg.PTR_TO_MEM_OR_NULL,
            Arg.CONST_SIZE_OR_ZERO,
            Arg.PTR_TO_MEM_OR_NULL,
            Arg.CONST_SIZE_OR_ZERO,
            Arg.ANYTHING,
        ),
        progs=_TC | _LWT | _XDP,
        pkt_access=True,
    )
)
@native
def csum_diff(env: int, old: int, old_size: int, new: int, new_size: int, seed: int) -> int:
    """What replacing bytes adds to a checksum, folded to 16 bits."""
    total = seed & _U32_MAX
    if new_size != 0:
        total = _partial(new, new_size & _U32_MAX, total)
        if old_size != 0:
            total += _partial(old, old_size & _U32_MAX, 0) ^ _U32_MAX
            total = (total & _U32_MAX) + (total >> 32)
    elif old_size != 0:
        total = _partial(old, old_size & _U32_MAX, total ^ _U32_MAX) ^ _U32_MAX
    # csum_from32to16: both halves added, with the carry.
    swapped = (total >> 16 | total << 16) & _U32_MAX
    return ((total + swapped) & _U32_MAX) >> 16
