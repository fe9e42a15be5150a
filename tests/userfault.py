"""Memory that another thread supplies when somebody looks at it: userfaultfd(2).

As a program, it opens the file named in such memory, page by page: `python -m tests.userfault PATH PAGES`.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import select
import struct
import sys
import threading
from types import TracebackType

__all__ = ["PAGE", "LazyMemory"]

PAGE = mmap.PAGESIZE
_SYS_USERFAULTFD = 323
_UFFD_API, _MISSING = 0xAA, 1
_UFFDIO_API, _UFFDIO_REGISTER, _UFFDIO_COPY = 0xC018AA3F, 0xC020AA00, 0xC028AA03
_MESSAGE = 32
_libc = ctypes.CDLL(None, use_errno=True)


class LazyMemory:
    """`pages` pages at `address`, none there. OSError where this process may not have such memory."""

    def __init__(self, pages: int) -> None:
        self.fd = int(_libc.syscall(_SYS_USERFAULTFD, os.O_CLOEXEC | os.O_NONBLOCK))
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "userfaultfd")
        self._memory = mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        fcntl.ioctl(self.fd, _UFFDIO_API, struct.pack("<QQQ", _UFFD_API, 0, 0))
        fcntl.ioctl(self.fd, _UFFDIO_REGISTER, struct.pack("<QQQQ", self.address, pages * PAGE, _MISSING, 0))

    def supply(self, page: int, content: bytes) -> None:
        """Put a page there that begins with `content`; whoever waits for it goes on."""
        source = ctypes.create_string_buffer(content, PAGE)
        target = self.address + page * PAGE
        fcntl.ioctl(
            self.fd, _UFFDIO_COPY, struct.pack("<QQQQq", target, ctypes.addressof(source), PAGE, 0, 0)
        )

    def wanted(self, seconds: float) -> int | None:
        """The next page that somebody waits for."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return None
        (address,) = struct.unpack_from("<Q", os.read(self.fd, _MESSAGE), 16)
        return int(address - self.address) // PAGE

    def __enter__(self) -> "LazyMemory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is not there from now on is zero."""
        os.close(self.fd)


def _supply(memory: LazyMemory, content: bytes) -> None:
    while True:
        page = memory.wanted(100.0)
        if page is not None:
            memory.supply(page, content)


def main() -> int:
    """Open PATH, PAGES times, and print how often that worked. Status 77 where there is no such memory."""
    path, pages = sys.argv[1].encode(), int(sys.argv[2])
    try:
        memory = LazyMemory(pages)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise
        return 77
    threading.Thread(target=_supply, args=(memory, path), daemon=True).start()
    opened = [_libc.open(ctypes.c_void_p(memory.address + page * PAGE), os.O_RDONLY) for page in range(pages)]
    print(sum(fd >= 0 for fd in opened))
    return 0


if __name__ == "__main__":
    sys.exit(main())
