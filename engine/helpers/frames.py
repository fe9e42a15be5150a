"""Helpers that move the ends of a frame (net/core/filter.c, bpf_xdp_adjust_*).

    room ... metadata, packet (first buffer), what other buffers hold ... room

What other buffers hold lies behind the first one (`engine.testrun.xdp`), in pieces of a page each.
"""

import errno

from engine.abi.bpf import FuncId, ProgType
from engine.abi.ctx import XdpMd
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import memmove, memset, native, put64, sext32, u64, ugt, urem
from engine.memory import PAGE_SIZE

__all__ = ["xdp_adjust_head", "xdp_adjust_meta", "xdp_adjust_tail"]

_EINVAL = -errno.EINVAL
_EACCES = -errno.EACCES
_ETH_HLEN = 14
_MAX_META = 252
_XDP = frozenset({ProgType.XDP})
_CTX_AND_DELTA = (Arg.PTR_TO_CTX, Arg.ANYTHING)


@helper(Proto(FuncId.xdp_adjust_head, "bpf_xdp_adjust_head", Ret.INTEGER, _CTX_AND_DELTA, progs=_XDP))
@native
def xdp_adjust_head(env: int, ctx: int, delta: int) -> int:
    """Move the packet's beginning, and metadata with it. -EINVAL beyond the room or without a header left."""
    change = sext32(delta)
    meta = u64(ctx + XdpMd.NATIVE_DATA_META)
    data = u64(ctx + XdpMd.NATIVE_DATA)
    size = data - meta
    if ugt(u64(ctx + XdpMd.NATIVE_ROOM) + size, data + change):
        return _EINVAL
    if ugt(data + change + _ETH_HLEN, u64(ctx + XdpMd.NATIVE_DATA_END)):
        return _EINVAL
    moved = meta + change
    memmove(moved, meta, size)
    put64(ctx + XdpMd.NATIVE_DATA_META, moved)
    put64(ctx + XdpMd.NATIVE_DATA, data + change)
    return 0


@helper(Proto(FuncId.xdp_adjust_meta, "bpf_xdp_adjust_meta", Ret.INTEGER, _CTX_AND_DELTA, progs=_XDP))
@native
def xdp_adjust_meta(env: int, ctx: int, delta: int) -> int:
    """Make the metadata smaller or larger. -EINVAL beyond the room, -EACCES for a size that cannot be."""
    meta = u64(ctx + XdpMd.NATIVE_DATA_META) + sext32(delta)
    data = u64(ctx + XdpMd.NATIVE_DATA)
    if ugt(u64(ctx + XdpMd.NATIVE_ROOM), meta) or ugt(meta, data):
        return _EINVAL
    if data - meta & 3 or ugt(data - meta, _MAX_META):
        return _EACCES
    put64(ctx + XdpMd.NATIVE_DATA_META, meta)
    return 0


@native
def _adjust_last_buffer(ctx: int, change: int) -> int:
    """The same for a packet of several buffers: the last one grows within its page."""
    end = u64(ctx + XdpMd.NATIVE_BUFF_END)
    first = u64(ctx + XdpMd.NATIVE_DATA_END)
    if change > 0:
        used = urem(end - first - 1, PAGE_SIZE) + 1
        if change > PAGE_SIZE - used:
            return _EINVAL
        memset(end, 0, change)
    elif end - u64(ctx + XdpMd.NATIVE_DATA) + change < _ETH_HLEN:
        return _EINVAL
    end = end + change
    put64(ctx + XdpMd.NATIVE_BUFF_END, end)
    if ugt(first, end):
        put64(ctx + XdpMd.NATIVE_DATA_END, end)
    return 0


@helper(Proto(FuncId.xdp_adjust_tail, "bpf_xdp_adjust_tail", Ret.INTEGER, _CTX_AND_DELTA, progs=_XDP))
@native
def xdp_adjust_tail(env: int, ctx: int, delta: int) -> int:
    """Cut the packet, or add zeros. -EINVAL beyond the room, or less than a header left."""
    change = sext32(delta)
    end = u64(ctx + XdpMd.NATIVE_DATA_END)
    if u64(ctx + XdpMd.NATIVE_BUFF_END) != end:
        return _adjust_last_buffer(ctx, change)
    if ugt(end + change, u64(ctx + XdpMd.NATIVE_ROOM_END)):
        return _EINVAL
    if ugt(u64(ctx + XdpMd.NATIVE_DATA) + _ETH_HLEN, end + change):
        return _EINVAL
    if change > 0:
        memset(end, 0, change)
    put64(ctx + XdpMd.NATIVE_DATA_END, end + change)
    put64(ctx + XdpMd.NATIVE_BUFF_END, end + change)
    return 0
