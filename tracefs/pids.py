"""set_event_pid and set_event_notrace_pid: whose hits are recorded (kernel/trace/trace_pid.c).

A native bitmap says it at the hit: bit number = thread id.
"""

import ctypes
import errno

from engine.env import poke64
from engine.errors import KernelError
from engine.jit.lang import native, u8, u64
from engine.memory import Region
from tracefs.context import Context
from tracefs.ktext import argv_split, c_string, kstrtoul
from tracefs.ring_layout import Buf

__all__ = ["PidList", "pid_ignored"]

_PID_MAX_LIMIT = 1 << 22
_INT_MAX = (1 << 31) - 1


@native
def pid_ignored(buffer: int, tid: int) -> int:
    """Whether a thread's hits are not to be recorded (`trace_ignore_this_task`)."""
    wanted = u64(buffer + Buf.PIDS)
    unwanted = u64(buffer + Buf.NOTRACE_PIDS)
    at = (tid & (_PID_MAX_LIMIT - 1)) >> 3
    bit = 1 << (tid & 7)
    if wanted != 0 and u8(wanted + at) & bit == 0:
        return 1
    return 1 if unwanted != 0 and u8(unwanted + at) & bit else 0


class PidList:
    """One of the two files. `field` is where the buffer's header points to the bitmap while there are ids."""

    def __init__(self, context: Context, field: Buf) -> None:
        self._context = context
        self._pointer = context.buffer.address + field
        self._bits: Region | None = None
        self._pids: set[int] = set()

    def text(self) -> str:
        """The ids in ascending order."""
        return "".join(f"{pid}\n" for pid in sorted(self._pids))

    def clear(self) -> None:
        """What opening with O_TRUNC does: everybody is recorded again."""
        with self._context.lock:
            self._pids.clear()
            poke64(self._pointer, 0)
            if self._bits is not None:
                ctypes.memset(self._bits.address, 0, self._bits.size)

    def store(self, data: bytes) -> None:
        """Add ids separated by white space, all or none. EINVAL."""
        added = []
        for word in argv_split(c_string(data)):
            try:
                pid = kstrtoul(word, 0)
            except KernelError:
                pid = _INT_MAX + 1
            if pid > _INT_MAX:
                raise KernelError(errno.EINVAL)
            added.append(pid)
        with self._context.lock:
            for pid in added:
                self._add(pid)

    def _add(self, pid: int) -> None:
        if self._bits is None:
            self._bits = Region("trace-pids", _PID_MAX_LIMIT // 8)
        self._pids.add(pid)
        if pid < _PID_MAX_LIMIT:
            at = self._bits.address + (pid >> 3)
            ctypes.c_uint8.from_address(at).value |= 1 << (pid & 7)
        poke64(self._pointer, self._bits.address)

    def close(self) -> None:
        """Give the bitmap back; nothing records any more."""
        if self._bits is not None:
            self._bits.close()
