"""The verb that takes a whole file: `cp OBJ.bpf.o DIR/` loads an object.

The file is there while it is written, then its result takes its place; it stays readable as a view
of the directory that it became, so that tools may set its mode and times. close(2) is told how it went.
As FUSE tells of every close, also of a descriptor that was only a copy (a shell's dup2), the content is
looked at when it is complete, once, and an answer already given is given again.
"""

import errno
import os
import struct
from collections.abc import Callable

from engine.errors import KernelError
from engine.kernfs import Caller, File, Handle

__all__ = ["MOST_BYTES", "Upload", "check_elf_is_whole"]

MOST_BYTES = 16 << 20
"""The largest object; more is EFBIG."""

_ELF64 = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")


def check_elf_is_whole(content: bytes | bytearray) -> None:
    """Raises KernelError(ENOEXEC) for a 64-bit ELF file that ends before its section table does."""
    if len(content) < _ELF64.size:
        whole = not b"\x7fELF".startswith(content[:4])
    else:
        header = _ELF64.unpack_from(content)
        table, entry, count = header[11], header[16], header[17]
        whole = header[0] != b"\x7fELF" or header[1] != 2 or table + entry * count <= len(content)
    if not whole:
        raise KernelError(errno.ENOEXEC, "the file ends before its end")


class Upload(File):
    """A file that is being written. `use(content)` makes the result of it as soon as it is whole,
    and says whether the file stays, for reading.

    At the end `done(error)` is called, with the reason if the content was never whole.
    """

    slow = heavy = True

    def __init__(
        self,
        use: Callable[[bytes], bool],
        done: Callable[[KernelError | None], None],
        caller: Caller,
    ) -> None:
        super().__init__(0o644, caller.uid, caller.gid)
        self.content = bytearray()
        self._use = use
        self._done = done
        self._answer: KernelError | None = None
        self._used = False
        self._open = False
        self._kept = False

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return len(self.content)

    def open(self, flags: int, caller: Caller) -> Handle:
        """One writer at a time. Raises KernelError(EBUSY), EEXIST for writing to one that stays."""
        if self._kept and flags & os.O_ACCMODE == os.O_RDONLY:
            return _KeptHandle(self.content)
        if self._kept:
            raise KernelError(errno.EEXIST)
        if self._open:
            raise KernelError(errno.EBUSY)
        self._open = True
        return _UploadHandle(self)

    def truncate(self, size: int) -> None:
        """Cut off or fill up with zeros. Raises KernelError(EFBIG), EEXIST."""
        if self._used and self._answer is None:
            raise KernelError(errno.EEXIST)
        if size > MOST_BYTES:
            raise KernelError(errno.EFBIG)
        self._used = False
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def write(self, offset: int, data: bytes) -> int:
        """Take bytes. Raises KernelError(EFBIG), EBUSY once the content was used."""
        if self._used and self._answer is None:
            raise KernelError(errno.EBUSY, "already loaded")
        end = offset + len(data)
        if end > MOST_BYTES:
            raise KernelError(errno.EFBIG)
        if offset > len(self.content):
            self.content.extend(bytes(offset - len(self.content)))
        self.content[offset:end] = data
        self._used = False
        return len(data)

    def flush(self) -> None:
        """A descriptor is closed: use the content if it is whole and new. Raises what using it raised."""
        if not self.content or self._used:
            if self._answer is not None:
                raise self._answer
            return
        check_elf_is_whole(self.content)
        self._used = True
        try:
            self._kept = self._use(bytes(self.content))
        except KernelError as answer:
            # Without the traceback, whose frames would keep alive what had been made by then.
            self._answer = KernelError(answer.errno, answer.message)
            raise
        self._answer = None

    def finish(self) -> None:
        """Nobody writes any more."""
        reason = None
        try:
            if self.content and not self._used:
                check_elf_is_whole(self.content)
        except KernelError as error:
            reason = error
        self._done(reason)
        if not self._kept:
            self.content.clear()


class _KeptHandle(Handle):
    def __init__(self, content: bytearray) -> None:
        self._content = content

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._content[offset : offset + size])


class _UploadHandle(Handle):
    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._upload.content[offset : offset + size])

    def write(self, offset: int, data: bytes) -> int:
        return self._upload.write(offset, data)

    def close(self) -> None:
        self._upload.flush()

    def release(self) -> None:
        self._upload.finish()
