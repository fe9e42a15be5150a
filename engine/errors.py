"""The one errno-carrying exception of the engine and of everything built on it."""

import errno
import os

__all__ = ["KernelError"]


class KernelError(Exception):
    """An operation failed as a system call fails: with an errno, and a message for people.

    `errno` is the positive number of `errno(3)`. It becomes a FUSE error in exactly one place
    (`bpffs`) and a negative return value in another (`engine.syscall`).
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(number, message)
        self.errno = number
        self.message = message or os.strerror(number)

    def __str__(self) -> str:
        return f"{errno.errorcode.get(self.errno, self.errno)}: {self.message}"
