"""Access to a program's context, for each program type: which bytes may be read and written, and as what.

The rows say what the `is_valid_access` functions of the kernel say. A field that holds a pointer to the
packet is
narrow in the program's view and wide in the native context, so its load is rewritten to the native field.
"""

from collections.abc import Callable
from dataclasses import dataclass

from engine.abi.bpf import AttachType, ProgType
from engine.abi.ctx import SkBuff, XdpMd
from engine.progspec import ProgSpec
from engine.verifier.regs import RegType

__all__ = ["CtxField", "ctx_access"]


@dataclass(frozen=True, slots=True)
class CtxField:
    """What an access to the context gives: a type of register, and for a packet pointer its native
    offset."""

    type: RegType = RegType.SCALAR
    native_off: int = -1


_SCALAR = CtxField()
_Rule = Callable[[ProgSpec, int, int, bool], CtxField | None]


def _pt_regs(_spec: ProgSpec, off: int, size: int, write: bool) -> CtxField | None:
    """KPROBE: struct pt_regs, read only (`kprobe_prog_is_valid_access`)."""
    if off < 0 or off >= 168 or write or off % size or off + size > 168:
        return None
    return _SCALAR


def _tracepoint(_spec: ProgSpec, off: int, size: int, write: bool) -> CtxField | None:
    """TRACEPOINT: the record, without its hidden first word (`tp_prog_is_valid_access`)."""
    if off < 8 or off >= 8192 or write or off % size:
        return None
    return _SCALAR


def _raw_tracepoint(_spec: ProgSpec, off: int, size: int, write: bool) -> CtxField | None:
    """RAW_TRACEPOINT: up to twelve u64 arguments (`raw_tp_prog_is_valid_access`)."""
    if off < 0 or off >= 12 * 8 or write or off % size:
        return None
    return _SCALAR


def _perf_event(_spec: ProgSpec, off: int, size: int, write: bool) -> CtxField | None:
    """PERF_EVENT: struct bpf_perf_event_data: registers, sample_period, addr
    (`pe_prog_is_valid_access`)."""
    if off < 0 or off >= 184 or write:
        return None
    if off % size and not (size == 8 and off % 4 == 0):
        return None
    if off in range(168, 184):
        field_off = off - (168 if off < 176 else 176)
        return _SCALAR if field_off + size <= 8 else None
    return _SCALAR if size == 8 and off % 8 == 0 else None


def _syscall(_spec: ProgSpec, off: int, size: int, _write: bool) -> CtxField | None:
    """SYSCALL: up to 64 KiB that the caller of the program gives (`syscall_prog_is_valid_access`)."""
    if off < 0 or off >= 1 << 16 or off % size:
        return None
    return _SCALAR


_SKB_PACKET = {
    SkBuff.DATA: CtxField(RegType.PACKET, SkBuff.NATIVE_DATA),
    SkBuff.DATA_END: CtxField(RegType.PACKET_END, SkBuff.NATIVE_DATA_END),
    SkBuff.DATA_META: CtxField(RegType.PACKET_META, SkBuff.NATIVE_DATA_META),
}
_SKB_WRITE = {
    ProgType.SOCKET_FILTER: (range(SkBuff.CB, SkBuff.CB + 20),),
    ProgType.CGROUP_SKB: (
        range(SkBuff.MARK, SkBuff.MARK + 4),
        range(SkBuff.PRIORITY, SkBuff.PRIORITY + 4),
        range(SkBuff.CB, SkBuff.CB + 20),
        range(SkBuff.TSTAMP, SkBuff.TSTAMP + 8),
    ),
    ProgType.SCHED_CLS: (
        range(SkBuff.MARK, SkBuff.MARK + 4),
        range(SkBuff.TC_INDEX, SkBuff.TC_INDEX + 4),
        range(SkBuff.PRIORITY, SkBuff.PRIORITY + 4),
        range(SkBuff.TC_CLASSID, SkBuff.TC_CLASSID + 4),
        range(SkBuff.CB, SkBuff.CB + 20),
        range(SkBuff.TSTAMP, SkBuff.TSTAMP + 8),
        range(SkBuff.QUEUE_MAPPING, SkBuff.QUEUE_MAPPING + 4),
    ),
}
_SKB_WRITE[ProgType.SCHED_ACT] = _SKB_WRITE[ProgType.SCHED_CLS]
_HOLES = frozenset(
    (
        *range(SkBuff.FLOW_KEYS, SkBuff.FLOW_KEYS + 8),
        *range(SkBuff.SK, SkBuff.SK + 8),
        *range(SkBuff.TSTAMP_TYPE, SkBuff.HWTSTAMP),
    )
)


_ADDRESSES = range(SkBuff.FAMILY, SkBuff.LOCAL_PORT + 4)
_IPS = range(SkBuff.REMOTE_IP4, SkBuff.REMOTE_PORT)
_TC = (ProgType.SCHED_CLS, ProgType.SCHED_ACT)


def _within(off: int, start: int, size: int) -> bool:
    return start <= off < start + size


def _skb(spec: ProgSpec, off: int, size: int, write: bool) -> CtxField | None:
    """struct __sk_buff (`bpf_skb_is_valid_access` and those of each program type)."""
    if off < 0 or off >= SkBuff.SIZE or off % size:
        return None
    kind = spec.type
    tc, cgroup = kind in _TC, kind == ProgType.CGROUP_SKB
    if _within(off, SkBuff.DATA, 8) or _within(off, SkBuff.DATA_META, 4):
        if size != 4 or write or not (tc or (cgroup and off != SkBuff.DATA_META)):
            return None
        return _SKB_PACKET[SkBuff(off)]
    if _within(off, SkBuff.CB, 20):
        valid = off + size <= SkBuff.CB + 20
    elif _within(off, SkBuff.TSTAMP, 8):
        valid = size == 8 and (tc or cgroup)
    elif _within(off, SkBuff.HWTSTAMP, 8):
        valid = size == 8 and not write and (tc or cgroup)
    elif off == SkBuff.TSTAMP_TYPE:
        valid = size == 1 and tc and not write
    elif size > 4 or (write and size != 4):
        valid = False
    elif off in _ADDRESSES:
        valid = cgroup and (off not in _IPS or size == 4)
    elif _within(off, SkBuff.TC_CLASSID, 4) or _within(off, SkBuff.WIRE_LEN, 4):
        valid = tc
    else:
        valid = off not in _HOLES
    if valid and write:
        valid = any(off in field for field in _SKB_WRITE.get(kind, ()))
    return _SCALAR if valid else None


_XDP_PACKET = {
    XdpMd.DATA: CtxField(RegType.PACKET, XdpMd.NATIVE_DATA),
    XdpMd.DATA_META: CtxField(RegType.PACKET_META, XdpMd.NATIVE_DATA_META),
    XdpMd.DATA_END: CtxField(RegType.PACKET_END, XdpMd.NATIVE_DATA_END),
}


def _xdp(spec: ProgSpec, off: int, size: int, write: bool) -> CtxField | None:
    """struct xdp_md: words, read only (`xdp_is_valid_access`)."""
    if off < 0 or off >= XdpMd.SIZE or off % size or size != 4 or write:
        return None
    if off == XdpMd.EGRESS_IFINDEX and spec.expected_attach_type != AttachType.XDP_DEVMAP:
        return None
    return _XDP_PACKET.get(XdpMd(off), _SCALAR)


_RULES: dict[ProgType, _Rule] = {
    ProgType.KPROBE: _pt_regs,
    ProgType.TRACEPOINT: _tracepoint,
    ProgType.RAW_TRACEPOINT: _raw_tracepoint,
    ProgType.PERF_EVENT: _perf_event,
    ProgType.SYSCALL: _syscall,
    ProgType.SOCKET_FILTER: _skb,
    ProgType.SCHED_CLS: _skb,
    ProgType.SCHED_ACT: _skb,
    ProgType.CGROUP_SKB: _skb,
    ProgType.XDP: _xdp,
}


def ctx_access(spec: ProgSpec, off: int, size: int, write: bool) -> CtxField | None:
    """What `size` bytes at `off` of the context of this program are; None when they may not be accessed
    so."""
    rule = _RULES.get(spec.type)
    return rule(spec, off, size, write) if rule else None


SUPPORTED = frozenset(_RULES)
"""Program types that can be verified."""
