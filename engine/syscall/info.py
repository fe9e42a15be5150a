"""BPF_OBJ_GET_INFO_BY_FD: what an object is (kernel/bpf/syscall.c).

+0 bpf_fd   +4 info_len   +8 info
"""

import errno
import struct

from engine.abi.bpf import AttachType, LinkType
from engine.btf import Btf
from engine.errors import KernelError
from engine.machine import Machine
from engine.maps import Map
from engine.memory import PAGE_SIZE
from engine.perf.kprobe import KprobeEvent
from engine.progs import Prog
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller
from engine.syscall.infobuf import InfoBuffer
from engine.syscall.linkcmds import Link
from engine.syscall.proginfo import PROG_INFO_SIZE, prog_info

__all__ = ["get_info_by_fd"]

_SIZES = {Map: 88, Prog: PROG_INFO_SIZE, Btf: 32, Link: 64}
"""Bytes of the struct about each kind of object."""
_KPROBE, _KRETPROBE = 3, 4
"""`enum bpf_perf_event_type`."""


def _map_info(used: Map) -> bytes:
    """struct bpf_map_info."""
    return struct.pack(
        "<IIIIII16sIIQQIIIIQ",
        used.type,
        used.id,
        used.key_size,
        used.value_size,
        used.max_entries,
        used.flags,
        used.name.encode("latin-1"),
        0,
        0,
        0,
        0,
        used.btf.id if used.btf is not None else 0,
        used.btf_key_type_id,
        used.btf_value_type_id,
        0,
        used.map_extra,
    )


def _btf_info(machine: Machine, btf: Btf, given: InfoBuffer) -> tuple[bytes, bool]:
    """struct bpf_btf_info (`btf_get_info_by_fd`): +0 btf +8 btf_size +12 id +16 name +24 name_len."""
    given.fill(8, 0, btf.data)
    name = btf.name.encode()
    cut = given.text(24, 16, name)
    kernel = int(btf is machine.btfs.get(1))
    size = len(btf.data)
    return struct.pack("<QIIQII", given.u64(0), size, btf.id, given.u64(16), len(name), kernel), cut


def _target(given: InfoBuffer, count_at: int, address_at: int, name: bytes) -> None:
    if given.text(count_at, address_at, name):
        raise KernelError(errno.ENOSPC, "the name was cut")


def _link_info(link: Link, given: InfoBuffer) -> bytes:
    """struct bpf_link_info: +0 type +4 id +8 prog_id +16 what it is attached to. ENOSPC."""
    name = link.target.encode()
    spec = link.prog.spec
    if spec.expected_attach_type in (AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT):
        place = (spec.expected_attach_type, spec.kernel_btf.id, spec.attach_btf_id, link.cookie)
        return struct.pack("<III4xIII4xQ", LinkType.TRACING, link.id, link.prog.id, *place)
    if not isinstance(link.holds, KprobeEvent):
        head = struct.pack("<III4x", LinkType.RAW_TRACEPOINT, link.id, link.prog.id)
        _target(given, 24, 16, name)
        return head + struct.pack("<QI", given.u64(16), len(name) + 1)
    probe = link.holds.probe
    _target(given, 32, 24, name)
    return struct.pack(
        "<III4xI4xQIIQQQ",
        LinkType.PERF_EVENT,
        link.id,
        link.prog.id,
        _KRETPROBE if link.holds.attr.config else _KPROBE,
        given.u64(24),
        len(name) + 1 if name else 0,
        0,
        probe.address,
        probe.nmissed,
        link.cookie,
    )


def get_info_by_fd(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """Write as much of the info as fits, and its length. E2BIG for a longer one that is not zero; ENOSPC."""
    attr.check_end(16)
    item = caller.fds.get(attr.s32(0)).object
    known = next((size for kind, size in _SIZES.items() if isinstance(item, kind)), 0)
    if not known:
        raise KernelError(errno.EINVAL, "no info about this object")
    length, address = attr.u32(4), attr.u64(8)
    if length > PAGE_SIZE:
        raise KernelError(errno.E2BIG, "info larger than a page")
    raw = caller.memory.read(address, length)
    if any(raw[known:]):
        raise KernelError(errno.E2BIG, "the info has fields that are not known")
    given, cut = InfoBuffer(caller, raw, known), False
    match item:
        case Map():
            info = _map_info(item)
        case Prog():
            info = prog_info(item, given)
        case Btf():
            info, cut = _btf_info(machine, item, given)
        case _:
            assert isinstance(item, Link)
            info = _link_info(item, given)
    written = info.ljust(known, b"\0")[:length]
    caller.memory.write(address, written)
    caller.memory.write(attr.address + 4, struct.pack("<I", len(written)))
    if cut:
        raise KernelError(errno.ENOSPC, "a name was cut")
    return 0
