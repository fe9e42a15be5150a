"""set_event_pid and set_event_notrace_pid: whose hits are recorded (kernel/trace/trace_pid.c).

A native bitmap says it at the hit: bit number = thread id. With option event-fork, children of listed threads
are added to it and threads that end are taken out, natively as well.
"""

import ctypes
import errno
import re

from engine.env import poke64
from engine.errors import KernelError
from engine.jit.lang import native, put8, u8, u32, u64
from engine.memory import Region
from engine.probes.probe import Probe
from tracefs.context import Context
from tracefs.ktext import argv_split, c_string, kstrtoul
from tracefs.ring_layout import Buf

__all__ = ["EventFork", "PidList", "pid_exits", "pid_forks", "pid_ignored"]

_PID_MAX_LIMIT = 1 << 22
_INT_MAX = (1 << 31) - 1
_PARENT_PID, _CHILD_PID, _EXIT_PID = 24, 44, 24
"""Offsets in the records of sched_process_fork and sched_process_exit."""


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


@native
def set_bit(bits: int, tid: int, on: int) -> int:
    """Put a thread in a bitmap or take it out; there is none when `bits` is 0."""
    if bits != 0:
        byte = bits + ((tid & (_PID_MAX_LIMIT - 1)) >> 3)
        bit = 1 << (tid & 7)
        put8(byte, u8(byte) | bit if on else u8(byte) & ~bit)
    return 0


@native
def follow_fork(bits: int, parent: int, child: int) -> int:
    """A child is listed if its parent is."""
    if bits != 0 and u8(bits + ((parent & (_PID_MAX_LIMIT - 1)) >> 3)) >> (parent & 7) & 1:
        set_bit(bits, child, 1)
    return 0


@native
def pid_forks(env: int, record: int, buffer: int) -> int:
    """Handler of sched:sched_process_fork (`event_filter_pid_sched_process_fork`)."""
    parent = u32(record + _PARENT_PID)
    child = u32(record + _CHILD_PID)
    follow_fork(u64(buffer + Buf.PIDS), parent, child)
    follow_fork(u64(buffer + Buf.NOTRACE_PIDS), parent, child)
    return 0


@native
def pid_exits(env: int, record: int, buffer: int) -> int:
    """Handler of sched:sched_process_exit."""
    tid = u32(record + _EXIT_PID)
    set_bit(u64(buffer + Buf.PIDS), tid, 0)
    set_bit(u64(buffer + Buf.NOTRACE_PIDS), tid, 0)
    return 0


class EventFork:
    """Option event-fork: probes of fork and exit that keep the lists."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._probes: list[Probe] = []

    def switch(self, on: bool) -> None:
        """Follow, or stop following."""
        probes = self._context.machine.probes
        if on:
            for name, handler in (("fork", pid_forks), ("exit", pid_exits)):
                point = f"sched:sched_process_{name}"
                buffer = self._context.buffer.address
                self._probes.append(probes.register_tracepoint(point, handler.address, buffer))
            probes.set_enabled(self._probes, True)
        else:
            probes.unregister(self._probes)
            self._probes = []


class PidList:
    """One of the two files. `field` is where the buffer's header points to the bitmap while there are ids."""

    def __init__(self, context: Context, field: Buf) -> None:
        self._context = context
        self._pointer = context.buffer.address + field
        self._bits: Region | None = None
        self._beyond: set[int] = set()

    def text(self) -> str:
        """The ids in ascending order."""
        found = []
        if self._bits is not None:
            for byte in re.finditer(rb"[^\0]", self._bits.view):
                found += [byte.start() * 8 + bit for bit in range(8) if byte[0][0] >> bit & 1]
        return "".join(f"{pid}\n" for pid in [*found, *sorted(self._beyond)])

    def clear(self) -> None:
        """What opening with O_TRUNC does: everybody is recorded again."""
        with self._context.lock:
            self._beyond.clear()
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
        if pid < _PID_MAX_LIMIT:
            set_bit(self._bits.address, pid, 1)
        else:
            self._beyond.add(pid)
        poke64(self._pointer, self._bits.address)

    def close(self) -> None:
        """Give the bitmap back; nothing records any more."""
        if self._bits is not None:
            self._bits.close()
