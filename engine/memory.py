"""Shared memory that programs may see: regions inside one fixed window of addresses, and a small heap.

Everything a program, a map or a ring holds lives in a `Region`: a memfd mapped MAP_SHARED inside the
host window [WINDOW_BASE, WINDOW_BASE + WINDOW_SIZE). A memfd can be handed to another process, is sparse
(pages cost nothing until touched), and is sealed against resizing so that no holder can make us fault.
Programs and records see the same memory at its kernel alias, an address in the kernel's direct map.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import threading
from collections import deque

from engine.errors import KernelError

__all__ = [
    "KERNEL_BASE",
    "PAGE_SIZE",
    "WINDOW_BASE",
    "WINDOW_SIZE",
    "Heap",
    "Region",
    "host_ptr",
    "in_window",
    "kernel_ptr",
    "round_up",
]

WINDOW_BASE = 0x2000_0000_0000
"""First host address of the window."""
WINDOW_SIZE = 1 << 40
"""Bytes of address space in the window."""
KERNEL_BASE = 0xFFFF_8880_0000_0000
"""Where programs see WINDOW_BASE (the direct map of x86-64)."""
PAGE_SIZE = mmap.PAGESIZE

_MAP_FIXED_NOREPLACE = 0x100000
_POPULATE_LIMIT = 64 * 1024
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_view_of = ctypes.pythonapi.PyMemoryView_FromMemory
_view_of.restype = ctypes.py_object
_view_of.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_PYBUF_WRITE = 0x200


def round_up(value: int, multiple: int) -> int:
    """The least multiple of `multiple` that is not below `value`."""
    return -(-value // multiple) * multiple


def kernel_ptr(host: int) -> int:
    """Kernel alias of an address inside the window."""
    return host - WINDOW_BASE + KERNEL_BASE


def host_ptr(kernel: int) -> int:
    """Host address of a kernel alias; the caller has checked `in_window(host_ptr(kernel))`."""
    return kernel - KERNEL_BASE + WINDOW_BASE


def in_window(host: int, size: int = 1) -> bool:
    """Whether all of [host, host + size) lies inside the window (mapped or not)."""
    return host >= WINDOW_BASE and host + size <= WINDOW_BASE + WINDOW_SIZE


class _AddressSpace:
    """First-fit allocation of page ranges inside the window; freed neighbours merge.

    Giving back takes no lock: a finalizer does it, which the collector may run at any allocation, also one
    of `take`'s.
    """

    def __init__(self, start: int, size: int) -> None:
        self._lock = threading.Lock()
        self._free = [(start, start + size)]
        self._given: deque[tuple[int, int]] = deque()

    def take(self, size: int) -> int:
        """Address of `size` free bytes. ENOMEM when the window is exhausted."""
        with self._lock:
            self._merge()
            for i, (low, high) in enumerate(self._free):
                if high - low >= size:
                    self._free[i] = (low + size, high)
                    if low + size == high:
                        del self._free[i]
                    return low
        raise KernelError(errno.ENOMEM, f"no {size} bytes left in the address window")

    def give(self, start: int, size: int) -> None:
        """Return a range that `take` handed out."""
        self._given.append((start, start + size))

    def _merge(self) -> None:
        """Make what was given back free, with the lock held."""
        if not self._given:
            return
        given = [self._given.popleft() for _ in range(len(self._given))]
        ranges = sorted([*self._free, *given])
        merged = [ranges[0]]
        for low, high in ranges[1:]:
            if low == merged[-1][1]:
                merged[-1] = (merged[-1][0], high)
            else:
                merged.append((low, high))
        self._free = merged


_window = _AddressSpace(WINDOW_BASE, WINDOW_SIZE)


def _map(address: int, size: int, fd: int, flags: int) -> None:
    """Map `size` bytes of `fd` read-write and shared, exactly at `address`."""
    prot = mmap.PROT_READ | mmap.PROT_WRITE
    got = _libc.mmap(address, size, prot, mmap.MAP_SHARED | _MAP_FIXED_NOREPLACE | flags, fd, 0)
    if got != address:
        number = ctypes.get_errno() or errno.ENOMEM
        if got not in (None, 2**64 - 1):
            _libc.munmap(got, size)
            number = errno.EEXIST
        raise KernelError(number, f"cannot map {size} bytes at {address:#x}")


class Region:
    """`size` bytes of zeroed shared memory (rounded up to pages) called `name`, inside the window.

    `double` maps the content twice in a row, so that a record may run over the end of a ring; `view`
    then spans both. A page without access follows every region. After `close`, touching `address` or
    `view` is a fault: close only what nothing can hold any more (see `engine.epoch`).
    Raises KernelError ENOMEM or EMFILE.
    """

    def __init__(self, name: str, size: int, *, double: bool = False) -> None:
        self.name = name
        self.size = round_up(max(size, 1), PAGE_SIZE)
        self._mapped = self.size * (2 if double else 1)
        try:
            self.fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError as error:
            raise KernelError(error.errno or errno.ENOMEM, "memfd_create") from error
        self.address = 0
        try:
            os.ftruncate(self.fd, self.size)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
            self._map_all()
        except OSError as error:
            os.close(self.fd)
            raise KernelError(error.errno or errno.ENOMEM, f"memfd {name}") from error
        except KernelError:
            os.close(self.fd)
            raise
        self.view: memoryview = _view_of(self.address, self._mapped, _PYBUF_WRITE)

    def _map_all(self) -> None:
        address = _window.take(self._mapped + PAGE_SIZE)
        populate = mmap.MAP_POPULATE if self.size <= _POPULATE_LIMIT else 0
        try:
            for at in range(address, address + self._mapped, self.size):
                _map(at, self.size, self.fd, populate)
        except KernelError:
            _libc.munmap(address, self._mapped)
            _window.give(address, self._mapped + PAGE_SIZE)
            raise
        self.address = address

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self.fd < 0

    def close(self) -> None:
        """Unmap and forget the memory; further calls do nothing."""
        if self.closed:
            return
        self.view.release()
        _libc.munmap(self.address, self._mapped)
        _window.give(self.address, self._mapped + PAGE_SIZE)
        os.close(self.fd)
        self.fd = -1


class Heap:
    """Small zeroed allocations from one region, for headers and tables. Thread-safe.

    Sizes are rounded up to powers of two from 16 bytes; freed blocks are reused for the same size.
    Blocks are aligned to their size up to a page. Raises KernelError ENOMEM when the region is full.
    Freeing takes no lock, as finalizers do it (see `_AddressSpace`).
    """

    def __init__(self, size: int = 256 << 20, name: str = "bpf-heap") -> None:
        self.region = Region(name, size)
        self._lock = threading.Lock()
        self._top = self.region.address
        self._sizes: dict[int, int] = {}
        self._free: dict[int, deque[int]] = {}

    @property
    def used(self) -> int:
        """Bytes in live blocks, as rounded."""
        return sum(list(self._sizes.values()))

    def alloc(self, size: int, align: int = 8) -> int:
        """Address of `size` zero bytes aligned to `align` (a power of two, at most a page)."""
        block = 1 << (max(size, align, 16) - 1).bit_length()
        with self._lock:
            spare = self._free.get(block)
            if spare:
                address = spare.pop()
                ctypes.memset(address, 0, block)
            else:
                address = round_up(self._top, min(block, PAGE_SIZE))
                if address + block > self.region.address + self.region.size:
                    raise KernelError(errno.ENOMEM, "heap exhausted")
                self._top = address + block
            self._sizes[address] = block
        return address

    def free(self, address: int) -> None:
        """Give back what `alloc` returned. KeyError for any other address."""
        block = self._sizes.pop(address)
        self._free.setdefault(block, deque()).append(address)

    def close(self) -> None:
        """Unmap the heap and everything in it."""
        self.region.close()
