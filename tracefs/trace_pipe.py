"""The file `trace_pipe`: reading consumes whole records, and waits for them (kernel/trace/trace.c)."""

import errno
import os
from select import POLLIN, POLLRDNORM

from engine.errors import KernelError
from engine.jit.lang import xchg32
from engine.kernfs import Caller, File, Handle, WaitQueue, WouldBlock
from tracefs.context import Context
from tracefs.output import Output
from tracefs.ring_layout import Buf

__all__ = ["TracePipe"]

_PAGE = 4096
_BATCH = 512
_LINE = 256
"""Bytes that a line is taken to have when it is decided how many records to consume for a read."""


class _PipeHandle(Handle):
    seekable = False

    def __init__(self, file: "TracePipe", nonblock: bool) -> None:
        self._file = file
        self._nonblock = nonblock
        self._rest = b""
        self._cut = False
        """Whether a line was begun by the last read."""
        self._has_read = False
        self._released = False

    def read(self, offset: int, size: int) -> bytes:
        """What there is, at most `size` bytes; the next read has the rest.

        A line is cut only for a buffer below a page, or one that is longer than the buffer.
        Ends (b"") when recording was stopped and everything has been read. Raises WouldBlock.
        """
        if size == 0:
            return b""
        if not self._rest:
            self._rest = self._take(size)
        elif not self._cut:
            self._rest += self._more(size - len(self._rest))
        end = size
        if size >= _PAGE and len(self._rest) > size:
            end = self._rest.rfind(b"\n", 0, size) + 1 or size
        text, self._rest = self._rest[:end], self._rest[end:]
        self._cut = not text.endswith(b"\n")
        return text

    def _take(self, size: int) -> bytes:
        file = self._file
        if not file.ready():
            if self._has_read and not self._nonblock and not file.context.buffer.recording:
                return b""
            raise WouldBlock(file.context.waiting)
        self._has_read = True
        return self._more(size)

    def _more(self, size: int) -> bytes:
        """Lines of records that are there, until they have `size` bytes."""
        text = b""
        while len(text) < size:
            limit = min(_BATCH, max(1, (size - len(text)) // _LINE))
            lines = self._file.take(limit)
            if not lines:
                break
            text += lines
        return text

    def poll(self) -> int:
        """Readable when there are records; the rest of a cut line does not count.

        The next record is announced even so: who polls for edges (EPOLLET) is told of each.
        """
        return POLLIN | POLLRDNORM if self._file.watch() else 0

    def poll_queue(self) -> WaitQueue | None:
        """Where records are announced."""
        return self._file.context.waiting

    def release(self) -> None:
        """Another may open it now."""
        if not self._released:
            self._released = True
            self._file.give_back()


class TracePipe(File):
    """`trace_pipe` of all CPUs or of one. Only one reader at a time may have a CPU: EBUSY."""

    def __init__(self, mode: int, context: Context, output: Output, cpu: int | None = None) -> None:
        super().__init__(mode)
        self.context = context
        self._output = output
        self._cpu = cpu

    def open(self, flags: int, caller: Caller) -> Handle:
        """Take the CPUs."""
        first, last = self.context.buffer.span(self._cpu)
        with self.context.lock:
            if self.context.piped & set(range(first, last)):
                raise KernelError(errno.EBUSY)
            self.context.piped.update(range(first, last))
        return _PipeHandle(self, bool(flags & os.O_NONBLOCK))

    def give_back(self) -> None:
        """The reader has gone."""
        first, last = self.context.buffer.span(self._cpu)
        with self.context.lock:
            self.context.piped.difference_update(range(first, last))

    def ready(self) -> bool:
        """Whether there are records. If not, the next one to be written wakes `context.waiting`."""
        return self.context.buffer.entries(self._cpu) > 0 or self.watch()

    def watch(self) -> bool:
        """Whether there are records. In any case the next one to be written wakes `context.waiting`."""
        buffer = self.context.buffer
        xchg32(buffer.address + Buf.WAITERS, 1)
        return buffer.entries(self._cpu) > 0

    def take(self, limit: int) -> bytes:
        """Consume up to `limit` records and render them."""
        return self._output.lines(self.context.buffer.consume(self._cpu, limit)).encode("latin-1")
