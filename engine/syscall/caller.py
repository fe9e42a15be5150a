"""Who calls: memory to read arguments from and write results to, and a table of descriptors."""

import ctypes
import errno
import os
from dataclasses import dataclass, field
from typing import Protocol

from engine.errors import KernelError
from engine.memory import PAGE_SIZE

__all__ = ["BpfCaller", "BpfFile", "FdTable", "Memory", "OwnMemory", "SimpleFds"]


class Memory(Protocol):
    """The caller's address space. Both raise KernelError EFAULT for what is not mapped."""

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at `address`."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Store `data` at `address`."""
        ...


@dataclass(slots=True)
class BpfFile:
    """An open description: the object and how it may be used (FMODE_CAN_READ, FMODE_CAN_WRITE)."""

    object: object
    readable: bool = True
    writable: bool = True


class FdTable(Protocol):
    """The caller's descriptors."""

    def get(self, fd: int) -> BpfFile:
        """What is behind a descriptor. KernelError EBADF; EINVAL where it is none of ours."""
        ...

    def install(self, file: BpfFile) -> int:
        """A new descriptor, close-on-exec. KernelError EMFILE."""
        ...


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)


class OwnMemory:
    """The memory of process `pid` (this one by default), read and written with process_vm_readv/writev."""

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid

    def _move(self, call: str, address: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
        size = len(buffer)
        here = _Vector(ctypes.addressof(buffer), size)
        there = _Vector(address, size)
        pid = _libc.getpid() if self._pid is None else self._pid
        moved = getattr(_libc, call)(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        if moved != size:
            raise KernelError(errno.EFAULT, f"{size} bytes at {address:#x}")

    def read(self, address: int, size: int) -> bytes:
        """See `Memory`."""
        if size == 0:
            return b""
        buffer = ctypes.create_string_buffer(size)
        self._move("process_vm_readv", address, buffer)
        return buffer.raw

    def write(self, address: int, data: bytes) -> None:
        """See `Memory`."""
        if data:
            self._move("process_vm_writev", address, ctypes.create_string_buffer(data, len(data)))


class SimpleFds:
    """A table of numbers of its own, from 3."""

    def __init__(self) -> None:
        self._files: dict[int, BpfFile] = {}

    def get(self, fd: int) -> BpfFile:
        """See `FdTable`."""
        file = self._files.get(fd)
        if file is None:
            raise KernelError(errno.EBADF, f"no descriptor {fd}")
        return file

    def install(self, file: BpfFile) -> int:
        """See `FdTable`."""
        fd = 3
        while fd in self._files:
            fd += 1
        self._files[fd] = file
        return fd

    def close(self, fd: int) -> None:
        """Forget a descriptor. KernelError EBADF."""
        self.get(fd)
        del self._files[fd]


@dataclass(slots=True)
class BpfCaller:
    """A process that calls bpf(2). `uid` is recorded as the owner of what it creates."""

    memory: Memory = field(default_factory=OwnMemory)
    fds: FdTable = field(default_factory=SimpleFds)
    uid: int = 0
    pid: int = field(default_factory=os.getpid)

    def read_text(self, address: int, most: int) -> str:
        """The NUL-terminated text at `address`, at most `most` bytes with its NUL. EFAULT."""
        text = b""
        while len(text) < most:
            # No read crosses a page that the text may not reach.
            part = min(most - len(text), PAGE_SIZE - (address + len(text)) % PAGE_SIZE)
            text += self.memory.read(address + len(text), part)
            if b"\0" in text:
                return text.partition(b"\0")[0].decode("latin-1")
        return text[: most - 1].decode("latin-1")
