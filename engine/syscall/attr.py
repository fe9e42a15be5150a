"""`union bpf_attr` as the kernel reads it: zero-extended, and zero beyond the last field of its command."""

import errno
import struct

from engine.errors import KernelError
from engine.memory import PAGE_SIZE
from engine.syscall.caller import Memory

__all__ = ["ATTR_SIZE", "Attr", "read_attr"]

ATTR_SIZE = 168
"""sizeof(union bpf_attr)."""


class Attr:
    """The bytes of an attr, at `address` in the caller's memory."""

    def __init__(self, data: bytes, address: int, size: int) -> None:
        self.data = data
        self.address = address
        self.size = size

    def u32(self, offset: int) -> int:
        """The u32 at `offset`."""
        return int(struct.unpack_from("<I", self.data, offset)[0])

    def s32(self, offset: int) -> int:
        """The s32 at `offset`: descriptors are signed."""
        return int(struct.unpack_from("<i", self.data, offset)[0])

    def u64(self, offset: int) -> int:
        """The u64 at `offset`."""
        return int(struct.unpack_from("<Q", self.data, offset)[0])

    def text(self, offset: int, size: int) -> bytes:
        """`size` bytes at `offset`."""
        return self.data[offset : offset + size]

    def check_end(self, end: int) -> None:
        """CHECK_ATTR: EINVAL where anything beyond the command's last field is set."""
        if any(self.data[end:]):
            raise KernelError(errno.EINVAL, "attr is not zero beyond the command's fields")


def read_attr(memory: Memory, address: int, size: int) -> Attr:
    """Copy an attr of `size` bytes. KernelError E2BIG for a tail we do not know, EFAULT.

    From `__sys_bpf` and `bpf_check_uarg_tail_zero` (kernel/bpf/syscall.c).
    """
    if size > PAGE_SIZE:
        raise KernelError(errno.E2BIG, "attr larger than a page")
    data = memory.read(address, size)
    if any(data[ATTR_SIZE:]):
        raise KernelError(errno.E2BIG, "attr has fields that are not known")
    return Attr(data[:ATTR_SIZE].ljust(ATTR_SIZE, b"\0"), address, size)
