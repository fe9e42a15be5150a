"""What callers put into an info struct: counts and addresses of buffers for the kernel to fill."""

import errno
import struct

from engine.errors import KernelError
from engine.syscall.caller import BpfCaller

__all__ = ["InfoBuffer"]


class InfoBuffer:
    """A struct as the caller gave it, `size` bytes of it with zeros for what is missing."""

    def __init__(self, caller: BpfCaller, given: bytes, size: int) -> None:
        self._memory = caller.memory
        self._given = given[:size].ljust(size, b"\0")

    def u32(self, at: int) -> int:
        """The u32 at `at`."""
        return int(struct.unpack_from("<I", self._given, at)[0])

    def u64(self, at: int) -> int:
        """The u64 at `at`."""
        return int(struct.unpack_from("<Q", self._given, at)[0])

    def fill(self, count_at: int, address_at: int, data: bytes, unit: int = 1) -> None:
        """Copy as many whole units of `data` as the caller has room for. EFAULT."""
        kept = data[: self.u32(count_at) * unit]
        if kept:
            self._memory.write(self.u64(address_at), kept)

    def text(self, count_at: int, address_at: int, text: bytes) -> bool:
        """Copy a text with its NUL, cut to the room there is; whether it was cut. EINVAL, EFAULT."""
        room, address = self.u32(count_at), self.u64(address_at)
        if bool(room) != bool(address):
            raise KernelError(errno.EINVAL, "a buffer without room, or room without a buffer")
        if address:
            self._memory.write(address, text[: room - 1] + b"\0")
        return bool(address) and room <= len(text)
