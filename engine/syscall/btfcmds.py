"""Commands that load and find type information (kernel/bpf/btf.c).

BTF_LOAD       +0 btf +8 btf_log_buf +16 btf_size +20 btf_log_size +24 btf_log_level +28 btf_log_true_size
               +32 btf_flags +36 btf_token_fd
GET_NEXT_ID    +0 start_id +4 next_id
GET_FD_BY_ID   +0 id +4 - +8 open_flags
"""

import errno

from engine.btf import Btf
from engine.btf.verify import BtfError, verify_blob
from engine.errors import KernelError
from engine.machine import Machine
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller, BpfFile
from engine.syscall.ids import write_next_id
from engine.syscall.logs import CallerLog

__all__ = ["btf_get_fd_by_id", "btf_get_next_id", "btf_load", "get_btf"]

_MAX_SIZE = 16 << 20


def get_btf(caller: BpfCaller, fd: int) -> Btf:
    """The BTF object behind a descriptor. EBADF; EINVAL where it is another object's."""
    found = caller.fds.get(fd).object
    if not isinstance(found, Btf):
        raise KernelError(errno.EINVAL, f"descriptor {fd} is no BTF")
    return found


def btf_load(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_BTF_LOAD: a descriptor of verified type information. EINVAL, E2BIG, ENOTSUPP; ENOSPC (log)."""
    attr.check_end(40)
    if attr.u32(32):
        raise KernelError(errno.EINVAL, "bad flags")
    size = attr.u32(16)
    if size > _MAX_SIZE:
        raise KernelError(errno.E2BIG, "BTF too large")
    log = CallerLog(attr.u32(24), attr.u32(20), attr.u64(8), 28)
    log.check()
    data = caller.memory.read(attr.u64(0), size)
    try:
        btf, text = verify_blob(data)
    except BtfError as error:
        log.write(caller, attr, error.log)
        raise
    log.write(caller, attr, text)
    btf.id = machine.btfs.add(btf)
    return caller.fds.install(BpfFile(btf))


def btf_get_next_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_BTF_GET_NEXT_ID: writes the least id above start_id. ENOENT after the last."""
    return write_next_id(caller, attr, machine.btfs)


def btf_get_fd_by_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_BTF_GET_FD_BY_ID. ENOENT."""
    attr.check_end(16)
    if attr.u32(8):
        raise KernelError(errno.EINVAL, "bad flags")
    return caller.fds.install(BpfFile(machine.btfs.get(attr.u32(0))))
