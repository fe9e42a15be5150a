"""BPF_*_GET_NEXT_ID: +0 start_id +4 next_id (kernel/bpf/syscall.c, bpf_obj_get_next_id)."""

import errno
import struct
from typing import TypeVar

from engine.errors import KernelError
from engine.idr import Idr
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller

__all__ = ["write_next_id"]

T = TypeVar("T")
_INT_MAX = 2**31 - 1


def write_next_id(caller: BpfCaller, attr: Attr, rows: Idr[T]) -> int:
    """Write the least id above start_id. EINVAL, ENOENT after the last."""
    attr.check_end(8)
    if attr.u32(0) >= _INT_MAX:
        raise KernelError(errno.EINVAL)
    caller.memory.write(attr.address + 4, struct.pack("<I", rows.next_id(attr.u32(0))))
    return 0
