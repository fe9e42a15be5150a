"""BPF_PROG_LOAD: verifies and compiles a program (kernel/bpf/syscall.c, bpf_prog_load).

+0 prog_type +4 insn_cnt +8 insns +16 license +24 log_level +28 log_size +32 log_buf +40 kern_version
+44 prog_flags +48 prog_name[16] +64 prog_ifindex +68 expected_attach_type +72 prog_btf_fd
+76 func_info_rec_size +80 func_info +88 func_info_cnt +92 line_info_rec_size +96 line_info
+104 line_info_cnt +108 attach_btf_id +112 attach_prog_fd +116 core_relo_cnt +120 fd_array
+128 core_relos +136 core_relo_rec_size +140 log_true_size
"""

import errno
import struct

from engine.abi.bpf import AttachType, ProgType
from engine.btf import Btf
from engine.btf.core import relocate
from engine.btf.ext import CoreKind, CoreRelo
from engine.btf.types import Func
from engine.errors import KernelError
from engine.isa import Insn, PseudoSrc, decode
from engine.loader.kernelinfo import modelled_kernel
from engine.machine import Machine
from engine.maps import Map
from engine.progs import Prog, load_prog
from engine.progspec import FuncInfo, FuncLinkage, LineInfo, ProgFlag, ProgSpec
from engine.syscall.attr import Attr
from engine.syscall.btfcmds import get_btf
from engine.syscall.caller import BpfCaller, BpfFile
from engine.syscall.logs import CallerLog
from engine.syscall.mapcmds import object_name
from engine.syscall.progcmds import get_prog
from engine.verifier import VerifierError

__all__ = ["prog_load"]

_MAX_INSNS = 1_000_000
_LICENSE_LEN = 128
_LD_IMM64 = 0x18
_BY_FD = (PseudoSrc.MAP_FD, PseudoSrc.MAP_VALUE)
_BY_INDEX = (PseudoSrc.MAP_IDX, PseudoSrc.MAP_IDX_VALUE)
_FUNC_INFO, _LINE_INFO = 76, 92
_MIN_FUNC_INFO, _MIN_LINE_INFO, _MIN_CORE_RELO, _MAX_RECORD = 8, 16, 16, 252
_FLAGS = sum(ProgFlag)
_MAX_TYPE = 0x000F_FFFF
_ATTACHED_BY_TYPE = (ProgType.TRACING, ProgType.LSM, ProgType.STRUCT_OPS, ProgType.EXT)
_OFFLOADED = (ProgType.XDP, ProgType.SCHED_CLS)
_CGROUP_SKB = (AttachType.CGROUP_INET_INGRESS, AttachType.CGROUP_INET_EGRESS)
_LOOPBACK = 1


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


def _records(
    caller: BpfCaller, attr: Attr, size_at: int, address: int, count: int, least: int
) -> list[bytes]:
    """`count` records whose size is at `size_at`, the first `least` bytes of each.

    E2BIG, with the size that is known written back, for more that is not zero.
    """
    size = attr.u32(size_at)
    if not count:
        return []
    if size < least or size > _MAX_RECORD or size % 4:
        raise KernelError(errno.EINVAL, "bad record size")
    raw = caller.memory.read(address, size * count)
    rows = [raw[i : i + size] for i in range(0, len(raw), size)]
    if any(any(row[least:]) for row in rows):
        caller.memory.write(attr.address + size_at, struct.pack("<I", least))
        raise KernelError(errno.E2BIG, "nonzero tailing record")
    return [row[:least] for row in rows]


def _info(caller: BpfCaller, attr: Attr, at: int, least: int) -> list[bytes]:
    """Records whose size is at `at`, address at `at + 4`, count at `at + 12`."""
    return _records(caller, attr, at, attr.u64(at + 4), attr.u32(at + 12), least)


def _func_info(caller: BpfCaller, attr: Attr, btf: Btf) -> list[FuncInfo]:
    found = []
    for record in _info(caller, attr, _FUNC_INFO, _MIN_FUNC_INFO):
        insn_off, type_id = struct.unpack("<II", record)
        func = btf.type(type_id)
        if not isinstance(func, Func):
            raise KernelError(errno.EINVAL, f"type {type_id} is no function")
        found.append(FuncInfo(insn_off, type_id, func.name, FuncLinkage(func.linkage)))
    return found


def _line_info(caller: BpfCaller, attr: Attr, btf: Btf) -> list[LineInfo]:
    found = []
    for record in _info(caller, attr, _LINE_INFO, _MIN_LINE_INFO):
        insn_off, file, text, place = struct.unpack("<IIII", record)
        found.append(LineInfo(insn_off, btf.string(file), btf.string(text), place >> 10, place & 0x3FF))
    return found


def _core_relocated(
    caller: BpfCaller, attr: Attr, name: str, code: bytes, btf: Btf, kernel: Btf | None
) -> bytes:
    """`code` with the CO-RE relocations applied that a light skeleton leaves to the kernel."""
    found = []
    for record in _records(caller, attr, 136, attr.u64(128), attr.u32(116), _MIN_CORE_RELO):
        insn_off, type_id, access, kind = struct.unpack("<IIII", record)
        if insn_off % 8 or kind not in CoreKind.__members__.values():
            raise KernelError(errno.EINVAL, f"bad CO-RE relocation of instruction {insn_off // 8}")
        found.append(CoreRelo(insn_off // 8, type_id, btf.string(access), CoreKind(kind)))
    if not found:
        return code
    insns = bytearray(code)
    relocate(name, insns, found, btf, kernel)
    return bytes(insns)


def _check_attach(caller: BpfCaller, attr: Attr) -> Prog | None:
    """`bpf_prog_load_check_attach`: EINVAL for a target that this type cannot have. The target program."""
    kind, attach, type_id = attr.u32(0), attr.u32(68), attr.u32(108)
    target = None
    if attr.u32(112):
        try:
            target = get_prog(caller, attr.s32(112))
        except KernelError:
            raise KernelError(errno.EINVAL, "neither a program nor BTF to attach to") from None
    bad = type_id > _MAX_TYPE or (type_id != 0 and kind not in _ATTACHED_BY_TYPE)
    bad = bad or (target is not None and kind not in (ProgType.TRACING, ProgType.EXT))
    bad = bad or (kind == ProgType.CGROUP_SKB and attach not in _CGROUP_SKB)
    bad = bad or (kind in (ProgType.SYSCALL, ProgType.EXT) and attach != 0)
    if bad:
        raise KernelError(errno.EINVAL, "cannot be attached so")
    return target


def _check_device(attr: Attr) -> None:
    """Programs for a device (`bpf_prog_dev_bound_init`): the loopback takes none. EINVAL, EOPNOTSUPP."""
    if attr.u32(64):
        there = attr.u32(0) in _OFFLOADED and attr.u32(64) == _LOOPBACK
        raise KernelError(errno.EOPNOTSUPP if there else errno.EINVAL, "no device to run on")


def _spec(machine: Machine, caller: BpfCaller, attr: Attr) -> ProgSpec:
    """The program that an attr describes. EINVAL, E2BIG, EFAULT, EBADF, EACCES, EOPNOTSUPP."""
    kind, count = attr.u32(0), attr.u32(4)
    if attr.u32(44) & ~_FLAGS:
        raise KernelError(errno.EINVAL, f"bad flags {attr.u32(44):#x}")
    if not 0 < count <= _MAX_INSNS:
        raise KernelError(errno.E2BIG, f"{count} instructions")
    target = _check_attach(caller, attr)
    code = caller.memory.read(attr.u64(8), 8 * count)
    licence = caller.read_text(attr.u64(16), _LICENSE_LEN)
    _check_device(attr)
    if kind not in ProgType.__members__.values():
        raise KernelError(errno.EINVAL, f"no program type {kind}")
    name = object_name(attr.text(48, 16))
    _log(attr).check()
    model = modelled_kernel(machine)
    kernel = model.btf
    # Without functions or lines to find in it, nobody looks at the BTF (`check_btf_info`).
    typed = attr.u32(_FUNC_INFO + 12) or attr.u32(_LINE_INFO + 12)
    btf = get_btf(caller, attr.s32(72)) if typed else None
    if btf is not None:
        if btf.name:
            raise KernelError(errno.EACCES, "types of the kernel")
        code = _core_relocated(caller, attr, name, code, btf, kernel)
    insns, attach = decode(code), attr.u32(68)
    return ProgSpec(
        ProgType(kind),
        insns,
        licence,
        name,
        _maps(caller, insns),
        _fd_array(caller, insns, attr.u64(120)),
        btf,
        kernel,
        _func_info(caller, attr, btf) if btf else (),
        _line_info(caller, attr, btf) if btf else (),
        AttachType(attach) if attach in AttachType.__members__.values() else None,
        attr.u32(108),
        target,
        attr.u32(44),
        attr.u32(40),
        model.symbol,
    )


def _log(attr: Attr) -> CallerLog:
    return CallerLog(attr.u32(24), attr.u32(28), attr.u64(32), 140)


def prog_load(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_PROG_LOAD: a descriptor of a verified, compiled program. The log goes to log_buf."""
    attr.check_end(144)
    spec = _spec(machine, caller, attr)
    log = _log(attr)
    try:
        prog = load_prog(machine, spec, log_level=log.verbosity, uid=caller.uid, every_path=True)
    except VerifierError as error:
        log.write(caller, attr, error.log, error.log_longest)
        raise
    log.write(caller, attr, prog.log, prog.verified.log_longest)
    return caller.fds.install(BpfFile(prog))
