"""The file `trace`: what is in the buffer, without consuming it. Opening with O_TRUNC clears it."""

import os
from collections.abc import Iterator

from engine.kernfs import Caller, File, Handle
from tracefs.context import Context
from tracefs.headers import header
from tracefs.output import Output
from tracefs.trace_buffer import Record, TraceBuffer

__all__ = ["TraceFile"]

_BATCH = 512


class _TraceHandle(Handle):
    """Renders a copy of the buffer piece by piece; reading from the start again takes a new copy."""

    def __init__(self, file: "TraceFile", paused: bool) -> None:
        self._file = file
        self._paused = paused
        self._pieces: Iterator[bytes] = iter(())
        self._copy: TraceBuffer | None = None
        self._text = b""
        self._start = 0
        self._fresh = True

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes at `offset`; going back renders anew from the start."""
        if self._fresh or offset == 0 or offset < self._start:
            self._restart()
        while offset + size > self._start + len(self._text):
            piece = next(self._pieces, b"")
            if not piece:
                break
            keep = max(0, offset - self._start)
            self._start += min(keep, len(self._text))
            self._text = self._text[keep:] + piece
        at = offset - self._start
        return self._text[at : at + size]

    def write(self, offset: int, data: bytes) -> int:
        """Whatever is written is ignored: only the truncation of `>` counts."""
        return len(data)

    def _restart(self) -> None:
        self._drop()
        self._copy = self._file.context.buffer.clone(self._file.cpu)
        self._pieces = self._file.pieces(self._copy)
        self._text, self._start, self._fresh = b"", 0, False

    def _drop(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def release(self) -> None:
        """Free the copy; recording goes on if this handle stopped it."""
        self._drop()
        self._fresh = True
        if self._paused:
            self._file.context.set_recording(True)


class TraceFile(File):
    """`trace` of all CPUs or of one."""

    def __init__(self, mode: int, context: Context, output: Output, cpu: int | None = None) -> None:
        super().__init__(mode)
        self.context = context
        self.cpu = cpu
        self._output = output

    def open(self, flags: int, caller: Caller) -> Handle:
        """Open; clears the buffer for O_TRUNC, stops recording for option pause-on-trace."""
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        if writes and flags & os.O_TRUNC:
            self.context.reset(self.cpu)
        reads = flags & os.O_ACCMODE != os.O_WRONLY
        paused = reads and self.context.options["pause-on-trace"] and self.context.buffer.recording
        if paused:
            self.context.set_recording(False)
        return _TraceHandle(self, paused)

    def pieces(self, copy: TraceBuffer) -> Iterator[bytes]:
        """Header, then the records of `copy` in batches, as text."""
        source = self.context.buffer
        entries, written = source.entries(), source.written()
        yield header(self.context, entries, written).encode("latin-1")
        if self.context.options["latency-format"]:
            yield self._output.latency(list(self._all(copy)), self.context.start_ns).encode("latin-1")
            return
        annotate = self.context.options["annotate"] and written > entries
        started: set[int] = set()
        while batch := list(copy.consume(self.cpu, _BATCH)):
            if annotate and len(started) < source.nr_cpus:
                yield self._annotated(batch, started).encode("latin-1")
            else:
                yield self._output.lines(batch).encode("latin-1")

    def _all(self, copy: TraceBuffer) -> Iterator[Record]:
        while batch := list(copy.consume(self.cpu, _BATCH)):
            yield from batch

    def _annotated(self, batch: list[Record], started: set[int]) -> str:
        """Lines with a note where a CPU's first event is not the first of all (`test_cpu_buff_start`)."""
        text = ""
        for record in batch:
            if record[0] not in started:
                if started:
                    text += f"##### CPU {record[0]} buffer started ####\n"
                started.add(record[0])
            text += self._output.lines([record])
        return text
