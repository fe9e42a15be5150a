"""Test runs on a socket buffer (`bpf_prog_test_run_skb`).

    0 context (struct __sk_buff)   1024 packet, in one buffer

A classifier sees the packet with its Ethernet header, other programs what is behind it.
"""

import errno
import struct
from typing import TYPE_CHECKING

from engine.abi.bpf import ProgType
from engine.abi.ctx import SkBuff
from engine.memory import PAGE_SIZE, Region
from engine.netdevs import LOOPBACK_IFINDEX
from engine.progs import Prog
from engine.testrun.request import ETH_HLEN, RunRequest, RunResult, read_ctx, refuse
from engine.testrun.runner import run

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["run_skb"]

_DATA = 1024
_ROOM = PAGE_SIZE - 64 - 320
"""What struct skb_shared_info and the room in front leave of a page."""
_L2 = frozenset({ProgType.SCHED_CLS, ProgType.SCHED_ACT})
_MAX_WIRE_LEN, _MAX_SEGS = 65536, 65535
_NETWORK_HEADERS = {0x0800: 20, 0x86DD: 40}
"""Least size of what follows an Ethernet header of this type."""
_LEAST_TYPE = 0x0600
"""Ethernet types below are lengths (eth_proto_is_802_3)."""
_802_3, _802_2 = 0x0001, 0x0004
_OPEN = (
    (SkBuff.MARK, 4),
    (SkBuff.PRIORITY, 4),
    (SkBuff.INGRESS_IFINDEX, 4),
    (SkBuff.IFINDEX, 4),
    (SkBuff.CB, 20),
    (SkBuff.TSTAMP, 8),
    (SkBuff.WIRE_LEN, 4),
    (SkBuff.GSO_SEGS, 4),
    (SkBuff.GSO_SIZE, 4),
    (SkBuff.HWTSTAMP, 8),
)
"""What the caller may set (`convert___skb_to_skb`)."""
_BACK = tuple(row for row in _OPEN if row[0] != SkBuff.GSO_SIZE)
"""What the caller gets back (`convert_skb_to___skb`); the rest stays as it was given."""


def _u32(ctx: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", ctx, at)[0])


def _check_ctx(ctx: bytes, length: int) -> None:
    """EINVAL for what cannot be set."""
    closed = bytearray(ctx)
    for at, size in _OPEN:
        closed[at : at + size] = bytes(size)
    refuse(any(closed), "a field of the context cannot be set")
    wire = _u32(ctx, SkBuff.WIRE_LEN)
    refuse(wire and not length <= wire <= _MAX_WIRE_LEN, "bad wire_len")
    refuse(_u32(ctx, SkBuff.GSO_SEGS) > _MAX_SEGS, "bad gso_segs")


def _packet_type(destination: bytes) -> int:
    """`eth_type_trans` on the loopback device, whose addresses are zero: PACKET_HOST to PACKET_OTHERHOST."""
    if destination[0] & 1:
        return 2
    return 3 if any(destination) else 0


def _protocol(packet: bytes) -> int:
    """`eth_type_trans`: the type in the Ethernet header, or which kind of frame has a length there."""
    kind = int.from_bytes(packet[12:14], "big")
    if kind >= _LEAST_TYPE:
        return kind
    return _802_3 if packet[ETH_HLEN : ETH_HLEN + 2] == b"\xff\xff" else _802_2


def run_skb(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """Run `prog` on a packet."""
    refuse(asked.flags or asked.cpu or asked.batch_size, "flags are not supported")
    size = asked.data.size
    refuse(not ETH_HLEN <= size <= _ROOM, "packet too short or too long")
    packet = asked.data.read(0, size)
    given = read_ctx(asked, SkBuff.SIZE)
    if given is not None:
        refuse(_u32(given, SkBuff.IFINDEX) > LOOPBACK_IFINDEX, "no such device", errno.ENODEV)
    protocol = _protocol(packet)
    refuse(size - ETH_HLEN < _NETWORK_HEADERS.get(protocol, 0), "no room for the network header")
    skip = 0 if prog.type in _L2 else ETH_HLEN
    if given is not None:
        _check_ctx(given, size - skip)
    memory = Region("test-run", _DATA + PAGE_SIZE)
    try:
        view = memory.view
        view[_DATA : _DATA + size] = packet
        if given is not None:
            view[: SkBuff.SIZE] = given
            wire = _u32(given, SkBuff.WIRE_LEN) or size - skip
            struct.pack_into("<I", view, SkBuff.WIRE_LEN, wire)
        struct.pack_into("<II", view, SkBuff.LEN, size - skip, _packet_type(packet[:6]))
        struct.pack_into(">H", view, SkBuff.PROTOCOL, protocol)
        struct.pack_into("<I", view, SkBuff.IFINDEX, LOOPBACK_IFINDEX)
        start = memory.address + _DATA
        struct.pack_into("<QQQ", view, SkBuff.NATIVE_DATA, start + skip, start + size, start + skip)
        retval, duration = run(machine, prog, asked, memory.address)
        # The header that a program does not see comes back as zeros.
        data = bytes(skip) + bytes(view[_DATA + skip : _DATA + size])
        ctx = None
        if given is not None:
            back = bytearray(given)
            for at, length in _BACK:
                back[at : at + length] = view[at : at + length]
            ctx = bytes(back)
        return RunResult(retval, duration, data, ctx=ctx)
    finally:
        memory.close()
