"""Logs that callers ask for: log_level, log_size and log_buf of PROG_LOAD and BTF_LOAD (kernel/bpf/log.c)."""

import errno
import struct
from dataclasses import dataclass

from engine.errors import KernelError
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller

__all__ = ["CallerLog"]

_LEVELS = 15
_FIXED = 8
"""BPF_LOG_FIXED: keep the beginning of a log that is too long; else its end is kept."""
_MAX_SIZE = 0xFFFF_FFFF >> 2


@dataclass(frozen=True, slots=True)
class CallerLog:
    """Where a log goes. `true_size_at` is the offset in the attr where its whole size is written."""

    level: int
    size: int
    buffer: int
    true_size_at: int

    def check(self) -> None:
        """EINVAL for fields that do not fit one another (`bpf_verifier_log_attr_valid`)."""
        lopsided = bool(self.size) != bool(self.buffer) or (self.buffer and not self.level)
        if self.level & ~_LEVELS or lopsided or self.size > _MAX_SIZE:
            raise KernelError(errno.EINVAL, "bad log")

    @property
    def verbosity(self) -> int:
        """The level without the bit that says how to keep the log, unless there is nothing else."""
        return self.level & ~_FIXED or self.level

    def write(self, caller: BpfCaller, attr: Attr, text: str, longest: int = 0) -> None:
        """Give the caller the log as far as it fits, and the size that it would have needed.

        That is the size of the longest log there was, of which `longest` characters are known: a path that
        was found safe is forgotten. ENOSPC where the buffer is shorter.
        """
        raw = text.encode(errors="replace")
        needed = max(len(raw), longest + len(raw) - len(text)) + 1 if self.level else 0
        if attr.size >= self.true_size_at + 4:
            caller.memory.write(attr.address + self.true_size_at, struct.pack("<I", needed))
        if not self.buffer:
            return
        kept = raw[: self.size - 1] if self.level & _FIXED else raw[max(0, len(raw) - self.size + 1) :]
        caller.memory.write(self.buffer, kept + b"\0")
        if needed > self.size:
            raise KernelError(errno.ENOSPC, "the log was cut")
