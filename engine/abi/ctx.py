"""Layouts of program contexts: the uapi structs, and the native words that the engine keeps behind them.

A program sees `struct __sk_buff` and `struct xdp_md`, whose packet pointers are 32 bits wide. The engine's
context has the same bytes, followed by the pointers in full; the verifier turns a load of the former into a
load of the latter.
"""

from enum import IntEnum

__all__ = ["SkBuff", "XdpMd"]


class SkBuff(IntEnum):
    """Offsets in the context of SOCKET_FILTER, SCHED_CLS, SCHED_ACT and CGROUP_SKB programs."""

    LEN = 0
    PKT_TYPE = 4
    MARK = 8
    QUEUE_MAPPING = 12
    PROTOCOL = 16
    VLAN_PRESENT = 20
    VLAN_TCI = 24
    VLAN_PROTO = 28
    PRIORITY = 32
    INGRESS_IFINDEX = 36
    IFINDEX = 40
    TC_INDEX = 44
    CB = 48
    HASH = 68
    TC_CLASSID = 72
    DATA = 76
    DATA_END = 80
    NAPI_ID = 84
    FAMILY = 88
    REMOTE_IP4 = 92
    LOCAL_IP4 = 96
    REMOTE_IP6 = 100
    LOCAL_IP6 = 116
    REMOTE_PORT = 132
    LOCAL_PORT = 136
    DATA_META = 140
    FLOW_KEYS = 144
    TSTAMP = 152
    WIRE_LEN = 160
    GSO_SEGS = 164
    SK = 168
    GSO_SIZE = 176
    TSTAMP_TYPE = 180
    HWTSTAMP_PAD = 181
    HWTSTAMP = 184
    SIZE = 192

    NATIVE_DATA = 192
    NATIVE_DATA_END = 200
    NATIVE_DATA_META = 208
    NATIVE_SIZE = 216


class XdpMd(IntEnum):
    """Offsets in the context of XDP programs."""

    DATA = 0
    DATA_END = 4
    DATA_META = 8
    INGRESS_IFINDEX = 12
    RX_QUEUE_INDEX = 16
    EGRESS_IFINDEX = 20
    SIZE = 24

    NATIVE_DATA = 24
    NATIVE_DATA_END = 32
    NATIVE_DATA_META = 40
    NATIVE_BUFF_END = 48
    """Where the packet ends: what is beyond data_end is for helpers only."""
    NATIVE_ROOM = 56
    """How far down the packet and its metadata may reach."""
    NATIVE_ROOM_END = 64
    """How far up the first buffer may reach."""
    NATIVE_SIZE = 72
