"""BPF_OBJ_GET_INFO_BY_FD: what an object is (kernel/bpf/syscall.c).

+0 bpf_fd   +4 info_len   +8 info
"""

import errno
import struct

from engine.errors import KernelError
from engine.isa import encode
from engine.machine import Machine
from engine.maps import Map
from engine.progs import Prog
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller

__all__ = ["get_info_by_fd"]

_MAP_INFO_SIZE = 88
_PROG_INFO_SIZE = 232
_PROG = struct.Struct("<II8sIIQQQIIQ16sIIQQIIQQIIQIIQQIIIIQQQQIII4x")


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
        0,
        used.btf_key_type_id,
        used.btf_value_type_id,
        0,
        used.map_extra,
    )


class _Room:
    """What a caller has put into a struct bpf_prog_info: counts and addresses to fill."""

    def __init__(self, caller: BpfCaller, raw: bytes) -> None:
        self._memory = caller.memory
        self._raw = raw

    def fill(self, count_at: int, address_at: int, data: bytes, unit: int = 1) -> None:
        """Copy as many whole units as there is room for."""
        (count,) = struct.unpack_from("<I", self._raw, count_at)
        (address,) = struct.unpack_from("<Q", self._raw, address_at)
        if count and address:
            self._memory.write(address, data[: count * unit])

    def address(self, at: int) -> int:
        """An address that is given back as it came."""
        return int(struct.unpack_from("<Q", self._raw, at)[0])


def _prog_info(caller: BpfCaller, prog: Prog, raw: bytes) -> bytes:
    """struct bpf_prog_info; what it points to is written to the caller."""
    room = _Room(caller, raw.ljust(_PROG_INFO_SIZE, b"\0"))
    xlated, jited = encode(prog.xlated), prog.jited
    ids = b"".join(struct.pack("<I", getattr(used, "id", 0)) for used in prog.maps)
    room.fill(16, 24, jited)
    room.fill(20, 32, xlated)
    room.fill(52, 56, ids, 4)
    return _PROG.pack(
        prog.type,
        prog.id,
        prog.tag,
        len(jited),
        len(xlated),
        room.address(24),
        room.address(32),
        prog.load_time_ns,
        prog.uid,
        len(prog.maps),
        room.address(56),
        prog.name.encode("latin-1"),
        0,
        int(prog.spec.gpl_compatible),
        0,
        0,
        0,
        0,
        room.address(112),
        room.address(120),
        0,
        8,
        room.address(136),
        0,
        0,
        room.address(152),
        room.address(160),
        0,
        16,
        8,
        0,
        room.address(184),
        prog.run_time_ns,
        prog.run_cnt,
        prog.missed,
        prog.verified.stats.insn_processed,
        0,
        prog.spec.attach_btf_id,
    )


def get_info_by_fd(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """Write as much of the info as fits, and its length. E2BIG for a longer struct that is not zero."""
    attr.check_end(16)
    file = caller.fds.get(attr.s32(0))
    length, address = attr.u32(4), attr.u64(8)
    given = caller.memory.read(address, min(length, 4096)) if length else b""
    match file.object:
        case Map() as used:
            known, info = _MAP_INFO_SIZE, _map_info(used)
        case Prog() as prog:
            known, info = _PROG_INFO_SIZE, _prog_info(caller, prog, given[:_PROG_INFO_SIZE])
        case _:
            raise KernelError(errno.EINVAL, "no info about this object")
    if any(given[known:]):
        raise KernelError(errno.E2BIG, "the info has fields that are not known")
    written = info[: min(length, known)]
    caller.memory.write(address, written)
    caller.memory.write(attr.address + 4, struct.pack("<I", len(written)))
    return 0
