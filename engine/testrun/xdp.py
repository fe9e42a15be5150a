"""Test runs on a frame before it has a socket buffer (`bpf_prog_test_run_xdp`).

    0 context (struct xdp_md)   1024 metadata, packet, what does not fit into its first buffer

`data` of the given context is the size of the metadata, with which the data begin; `data_end` is how much
of the data is in the first buffer, as far as there is room. A program sees the rest through helpers only.
"""

import errno
import struct
from typing import TYPE_CHECKING

from engine.abi.bpf import AttachType
from engine.abi.ctx import XdpMd
from engine.memory import PAGE_SIZE, Region
from engine.netdevs import LOOPBACK_IFINDEX
from engine.progs import Prog
from engine.testrun.request import ETH_HLEN, RunRequest, RunResult, read_ctx, refuse
from engine.testrun.runner import run

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["run_xdp"]

_DATA = 1024
_HEADROOM, _SHARED_INFO = 256, 320
_FRAME = 40
"""What struct xdp_frame takes of the room in front of the packet."""
_MAX_META = _HEADROOM - _FRAME
_MAX_FRAGS = 17
_NOT_HERE = (AttachType.XDP_DEVMAP, AttachType.XDP_CPUMAP)


def _check_ctx(ctx: bytes, size: int) -> tuple[int, int]:
    """(bytes of metadata, bytes in the first buffer) that a context asks for. EINVAL."""
    meta, linear, before = struct.unpack_from("<III", ctx)
    refuse(before or linear > size or meta > linear, "data do not lie so")
    refuse(meta % 4 or meta > _MAX_META, "bad size of the metadata")
    return meta, linear


def _check_device(ctx: bytes) -> None:
    """`xdp_convert_md_to_buff`: the only device is the loopback, of one queue. EINVAL, ENODEV."""
    device, queue, egress = struct.unpack_from("<III", ctx, XdpMd.INGRESS_IFINDEX)
    refuse(egress or (queue and not device), "a field of the context cannot be set")
    refuse(device > LOOPBACK_IFINDEX, "no such device", errno.ENODEV)
    refuse(queue, "no such queue")


def _outcome(memory: Region, given: bytes | None) -> tuple[bytes, int, bytes | None]:
    """(metadata and packet, how much of it is not in the first buffer, context) as the program left them."""
    data, end, meta, last = struct.unpack_from("<QQQQ", memory.view, XdpMd.NATIVE_DATA)
    ctx = None
    if given is not None:
        ctx = struct.pack("<II", data - meta, end - meta) + given[XdpMd.DATA_META :]
    at = meta - memory.address
    return bytes(memory.view[at : at + last - meta]), last - end, ctx


def run_xdp(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """Run `prog` on a frame."""
    refuse(prog.spec.expected_attach_type in _NOT_HERE, "programs of devmap and cpumap are not run alone")
    refuse(asked.flags or asked.batch_size, "flags are not supported")
    size = asked.data.size
    given = read_ctx(asked, XdpMd.SIZE)
    meta, linear = _check_ctx(given, size) if given is not None else (0, size)
    room = PAGE_SIZE - (_HEADROOM - meta) - _SHARED_INFO
    linear = min(linear, room)
    refuse(size - meta < ETH_HLEN, "packet too short")
    first = asked.data.read(0, linear)
    if given is not None:
        _check_device(given)
    refuse(size - linear > _MAX_FRAGS * PAGE_SIZE, "packet of too many buffers", errno.ENOMEM)
    rest = asked.data.read(linear, size - linear)
    memory = Region("test-run", _DATA + max(size, PAGE_SIZE) + PAGE_SIZE)
    try:
        start = memory.address + _DATA
        memory.view[_DATA : _DATA + size] = first + rest
        struct.pack_into("<I", memory.view, XdpMd.INGRESS_IFINDEX, LOOPBACK_IFINDEX)
        bottom = start + meta - _HEADROOM
        ends = (start + size, bottom + _FRAME, bottom + PAGE_SIZE - _SHARED_INFO)
        struct.pack_into(
            "<QQQQQQ", memory.view, XdpMd.NATIVE_DATA, start + meta, start + linear, start, *ends
        )
        retval, duration = run(machine, prog, asked, memory.address)
        return RunResult(retval, duration, *_outcome(memory, given))
    finally:
        memory.close()
