"""The one errno-carrying exception of the engine and of everything built on it."""

import errno
import os

__all__ = ["KernelError"]

_NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP", 524: "ENOTSUPP"}
"""As the kernel calls them. 524 is one that no C library knows."""


class KernelError(Exception):
    """An operation failed as a system call fails: with an errno, and a message for people.

    `errno` is the positive number of `errno(3)`. It becomes a FUSE error in exactly one place
    (`bpffs`) and a negative return value in another (`engine.syscall`).
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(number, message)
        self.errno = number
        self.message = message or ("Operation not supported" if number == 524 else os.strerror(number))

    def __str__(self) -> str:
        return f"{_NAMES.get(self.errno, self.errno)}: {self.message}"
