"""Commands that load, find and run programs (kernel/bpf/syscall.c).

PROG_LOAD  +0 prog_type +4 insn_cnt +8 insns +16 license +24 log_level +28 log_size +32 log_buf
           +40 kern_version +44 prog_flags +48 prog_name[16] +64 prog_ifindex +68 expected_attach_type
           +72 prog_btf_fd +76 func_info_rec_size +80 func_info +88 func_info_cnt +92 line_info_rec_size
           +96 line_info +104 line_info_cnt +108 attach_btf_id +112 attach_prog_fd +116 core_relo_cnt
           +120 fd_array +128 core_relos +136 core_relo_rec_size +140 log_true_size
"""

import errno
import struct

from engine.abi.bpf import AttachType, ProgType
from engine.btf import Btf
from engine.env import Ctl, peek64, poke64
from engine.errors import KernelError
from engine.isa import Insn, PseudoSrc, decode
from engine.loader.kernelinfo import modelled_kernel
from engine.machine import Machine
from engine.maps import Map
from engine.progs import Prog, load_prog
from engine.progspec import FuncInfo, FuncLinkage, LineInfo, ProgSpec
from engine.syscall.attr import Attr
from engine.syscall.btfcmds import get_btf
from engine.syscall.caller import BpfCaller, BpfFile
from engine.syscall.ids import write_next_id
from engine.syscall.logs import CallerLog
from engine.syscall.mapcmds import object_name
from engine.verifier import VerifierError

__all__ = [
    "StatsHold",
    "enable_stats",
    "get_prog",
    "prog_get_fd_by_id",
    "prog_get_next_id",
    "prog_load",
]

_MAX_INSNS = 1_000_000
_LICENSE_LEN = 128
_STATS_RUN_TIME = 0
_LD_IMM64 = 0x18
_BY_FD = (PseudoSrc.MAP_FD, PseudoSrc.MAP_VALUE)
_BY_INDEX = (PseudoSrc.MAP_IDX, PseudoSrc.MAP_IDX_VALUE)
_MIN_FUNC_INFO, _MIN_LINE_INFO, _MAX_RECORD = 8, 16, 252


def get_prog(caller: BpfCaller, fd: int) -> Prog:
    """The program behind a descriptor. EBADF; EINVAL where it is another object's."""
    found = caller.fds.get(fd).object
    if not isinstance(found, Prog):
        raise KernelError(errno.EINVAL, f"descriptor {fd} is no program")
    return found


def _map_behind(caller: BpfCaller, fd: int) -> Map | None:
    """The map behind a descriptor; None where there is none, which the verifier reports in its turn."""
    try:
        found = caller.fds.get(fd).object
    except KernelError:
        return None
    return found if isinstance(found, Map) else None


def _maps(caller: BpfCaller, insns: list[Insn]) -> dict[int, Map]:
    """The maps that LD_IMM64 names by descriptor."""
    wanted = {insn.imm for insn in insns if insn.code == _LD_IMM64 and insn.src in _BY_FD}
    found = {fd: _map_behind(caller, fd) for fd in wanted}
    return {fd: used for fd, used in found.items() if used is not None}


def _fd_array(caller: BpfCaller, insns: list[Insn], address: int) -> list[Map]:
    """The maps that LD_IMM64 names by index into an array of descriptors."""
    indexes = [insn.imm for insn in insns if insn.code == _LD_IMM64 and insn.src in _BY_INDEX]
    if not indexes or not address:
        return []
    raw = caller.memory.read(address, 4 * (max(indexes) + 1))
    found = []
    for (fd,) in struct.iter_unpack("<i", raw):
        used = _map_behind(caller, fd)
        if used is None:
            raise KernelError(errno.EBADF, f"fd {fd} is not pointing to valid bpf_map")
        found.append(used)
    return found


def _records(caller: BpfCaller, attr: Attr, at: int, least: int) -> list[bytes]:
    """Records of func_info or line_info, whose size is at `at`, address at `at + 4`, count at `at + 12`."""
    size, address, count = attr.u32(at), attr.u64(at + 4), attr.u32(at + 12)
    if not count:
        return []
    if size < least or size > _MAX_RECORD or size % 4:
        raise KernelError(errno.EINVAL, "bad record size")
    raw = caller.memory.read(address, size * count)
    return [raw[i : i + least] for i in range(0, len(raw), size)]


def _func_info(caller: BpfCaller, attr: Attr, btf: Btf) -> list[FuncInfo]:
    from engine.btf.types import Func

    found = []
    for record in _records(caller, attr, 76, _MIN_FUNC_INFO):
        insn_off, type_id = struct.unpack("<II", record)
        func = btf.type(type_id)
        if not isinstance(func, Func):
            raise KernelError(errno.EINVAL, f"type {type_id} is no function")
        found.append(FuncInfo(insn_off, type_id, func.name, FuncLinkage(func.linkage)))
    return found


def _line_info(caller: BpfCaller, attr: Attr, btf: Btf) -> list[LineInfo]:
    found = []
    for record in _records(caller, attr, 92, _MIN_LINE_INFO):
        insn_off, file, text, place = struct.unpack("<IIII", record)
        found.append(LineInfo(insn_off, btf.string(file), btf.string(text), place >> 10, place & 0x3FF))
    return found


def _spec(machine: Machine, caller: BpfCaller, attr: Attr) -> ProgSpec:
    """The program that an attr describes. EINVAL, E2BIG, EFAULT, EBADF."""
    kind, count = attr.u32(0), attr.u32(4)
    if not 0 < count <= _MAX_INSNS:
        raise KernelError(errno.E2BIG, f"{count} instructions")
    if kind not in ProgType.__members__.values() or attr.u32(64):
        raise KernelError(errno.EINVAL, f"no program type {kind}, or an offloaded one")
    name = object_name(attr.text(48, 16))
    insns = decode(caller.memory.read(attr.u64(8), 8 * count))
    btf = get_btf(caller, attr.s32(72)) if attr.u32(72) else None
    if btf is not None and btf.name:
        raise KernelError(errno.EACCES, "types of the kernel")
    attach = attr.u32(68)
    return ProgSpec(
        ProgType(kind),
        insns,
        caller.read_text(attr.u64(16), _LICENSE_LEN),
        name,
        _maps(caller, insns),
        _fd_array(caller, insns, attr.u64(120)),
        btf,
        modelled_kernel(machine).btf,
        _func_info(caller, attr, btf) if btf else (),
        _line_info(caller, attr, btf) if btf else (),
        AttachType(attach) if attach in AttachType.__members__.values() else None,
        attr.u32(108),
        get_prog(caller, attr.s32(112)) if attr.u32(112) else None,
        attr.u32(44),
        attr.u32(40),
    )


def prog_load(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_PROG_LOAD: a descriptor of a verified, compiled program. The log goes to log_buf."""
    attr.check_end(152)
    log = CallerLog(attr.u32(24), attr.u32(28), attr.u64(32), 140)
    log.check()
    spec = _spec(machine, caller, attr)
    try:
        prog = load_prog(machine, spec, log_level=log.verbosity, uid=caller.uid, every_path=True)
    except VerifierError as error:
        log.write(caller, attr, error.log, error.log_longest)
        raise
    log.write(caller, attr, prog.log, prog.verified.log_longest)
    return caller.fds.install(BpfFile(prog))


def prog_get_next_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_PROG_GET_NEXT_ID: writes the least id above start_id. ENOENT after the last."""
    return write_next_id(caller, attr, machine.progs)


def prog_get_fd_by_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_PROG_GET_FD_BY_ID. ENOENT."""
    attr.check_end(4)
    return caller.fds.install(BpfFile(machine.progs.get(attr.u32(0))))


class StatsHold:
    """Programs count their run time while there is one of these. `close`: the last descriptor is gone."""

    def __init__(self, machine: Machine) -> None:
        self._machine: Machine | None = machine
        self._count(machine, 1)

    @staticmethod
    def _count(machine: Machine, change: int) -> None:
        at = machine.ctl + Ctl.STATS_ENABLED
        with machine.lock:
            poke64(at, peek64(at) + change)

    def close(self) -> None:
        """Count no longer on behalf of this one."""
        machine, self._machine = self._machine, None
        if machine is not None:
            self._count(machine, -1)


def enable_stats(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_ENABLE_STATS (+0 type): a descriptor that keeps BPF_STATS_RUN_TIME enabled. EINVAL."""
    attr.check_end(4)
    if attr.u32(0) != _STATS_RUN_TIME:
        raise KernelError(errno.EINVAL, "no such statistics")
    return caller.fds.install(BpfFile(StatsHold(machine)))
