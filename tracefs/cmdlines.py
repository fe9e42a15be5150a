"""saved_cmdlines: names of threads that recorded something, kept natively at the hit (kernel/trace/trace.c).

table   u32 lock | u32 number of entries | u32 last used | u32 on (record-cmd)
        | u32 per thread id modulo 32768: index of its entry + 1
        | entries: u32 thread id, u32 thread-group id, 16 bytes name
"""

import ctypes
import errno
from collections.abc import Iterator
from enum import IntEnum

from engine.env import TASK_COMM_LEN, Env, peek32, poke32
from engine.errors import KernelError
from engine.jit.lang import cas32, memcpy, memset, native, put32, store_release32, u32, u64, urem
from engine.memory import Region

__all__ = ["DEFAULT_CMDLINES", "Cmdlines", "cmdline_save"]

PID_MAX_DEFAULT = 32768
DEFAULT_CMDLINES = 128
_ENTRY = 24
_NAME = 8
_NAMES = 1
_TGIDS = 2


class _Table(IntEnum):
    LOCK = 0
    NUMBER = 4
    LAST = 8
    ON = 12
    """u32, bit 0: names are kept, bit 1: thread-group ids are."""
    MAP = 16
    ENTRIES = 16 + PID_MAX_DEFAULT * 4


@native
def cmdline_save(table: int, env: int) -> int:
    """Remember the name of the current thread. Gives up rather than wait for another writer."""
    tid = u32(env + Env.TID)
    on = u32(table + _Table.ON)
    if on == 0 or tid == 0:
        return 0
    slot = table + _Table.MAP + (tid & (PID_MAX_DEFAULT - 1)) * 4
    index = u32(slot)
    entry = table + _Table.ENTRIES + (index - 1) * _ENTRY
    if (
        index != 0
        and u32(entry) == tid
        and (on & _TGIDS == 0 or u32(entry + 4) != 0)
        and u64(entry + _NAME) == u64(env + Env.COMM)
        and u64(entry + _NAME + 8) == u64(env + Env.COMM + 8)
    ):
        return 0
    if cas32(table + _Table.LOCK, 0, 1) != 0:
        return 0
    index = u32(slot)
    if index == 0:
        index = urem(u32(table + _Table.LAST), u32(table + _Table.NUMBER)) + 1
        put32(table + _Table.LAST, index)
        entry = table + _Table.ENTRIES + (index - 1) * _ENTRY
        old = table + _Table.MAP + (u32(entry) & (PID_MAX_DEFAULT - 1)) * 4
        if u32(old) == index:
            put32(old, 0)
        put32(slot, index)
    entry = table + _Table.ENTRIES + (index - 1) * _ENTRY
    if u32(entry) != tid:
        put32(entry, tid)
        put32(entry + 4, 0)
        memset(entry + _NAME, 0, TASK_COMM_LEN)
    if on & _TGIDS:
        put32(entry + 4, u32(env + Env.TGID))
    if on & _NAMES:
        memcpy(entry + _NAME, env + Env.COMM, TASK_COMM_LEN)
    store_release32(table + _Table.LOCK, 0)
    return 0


def entries_for(wanted: int) -> int:
    """How many entries the kernel really makes for `wanted`: it fills up the pages it gets."""
    header = 16 + PID_MAX_DEFAULT * 4
    pages = 1 << (header + wanted * TASK_COMM_LEN - 1).bit_length()
    return (pages - header) // (TASK_COMM_LEN + 4)


class Cmdlines:
    """The table and its reader. `address` is for native writers and stays the same."""

    def __init__(self) -> None:
        largest = entries_for(PID_MAX_DEFAULT)
        self._region = Region("saved-cmdlines", _Table.ENTRIES + largest * _ENTRY)
        self.address = self._region.address
        poke32(self.address + _Table.NUMBER, entries_for(DEFAULT_CMDLINES))
        poke32(self.address + _Table.ON, _NAMES)

    @property
    def number(self) -> int:
        """How many names it holds."""
        return peek32(self.address + _Table.NUMBER)

    def resize(self, wanted: int) -> None:
        """Change the number of names; what was saved is kept as far as it fits. EINVAL."""
        if not 0 < wanted <= PID_MAX_DEFAULT:
            raise KernelError(errno.EINVAL)
        number = entries_for(wanted)
        if number < self.number:
            ctypes.memset(self.address + _Table.MAP, 0, PID_MAX_DEFAULT * 4)
            ctypes.memset(self.address + _Table.ENTRIES, 0, self.number * _ENTRY)
            poke32(self.address + _Table.LAST, 0)
        poke32(self.address + _Table.NUMBER, number)

    def set_on(self, on: bool) -> None:
        """Option record-cmd."""
        self._set_bit(_NAMES, on)

    def set_tgid_on(self, on: bool) -> None:
        """Option record-tgid."""
        self._set_bit(_TGIDS, on)

    def _set_bit(self, bit: int, on: bool) -> None:
        flags = peek32(self.address + _Table.ON)
        poke32(self.address + _Table.ON, flags | bit if on else flags & ~bit)

    def _entry(self, tid: int) -> int:
        index = peek32(self.address + _Table.MAP + (tid & (PID_MAX_DEFAULT - 1)) * 4)
        entry = self.address + _Table.ENTRIES + (index - 1) * _ENTRY
        return entry if index and peek32(entry) == tid else 0

    def find(self, tid: int) -> bytes:
        """The name saved for a thread; `<...>` if there is none, `<idle>` for thread 0."""
        if tid == 0:
            return b"<idle>"
        entry = self._entry(tid)
        name = ctypes.string_at(entry + _NAME, TASK_COMM_LEN).split(b"\0", 1)[0] if entry else b""
        return name or b"<...>"

    def find_tgid(self, tid: int) -> int:
        """The thread group saved for a thread; 0 if there is none."""
        entry = self._entry(tid)
        return peek32(entry + 4) if entry else 0

    def _used(self) -> Iterator[tuple[int, int]]:
        """(thread id, address of its entry) of every used entry."""
        for index in range(self.number):
            entry = self.address + _Table.ENTRIES + index * _ENTRY
            if tid := peek32(entry):
                yield tid, entry

    def saved(self) -> list[tuple[int, bytes]]:
        """(thread id, name) of every thread whose name was kept."""
        names = (
            (tid, ctypes.string_at(entry + _NAME, TASK_COMM_LEN).split(b"\0", 1)[0])
            for tid, entry in self._used()
        )
        return [(tid, name) for tid, name in names if name]

    def saved_tgids(self) -> list[tuple[int, int]]:
        """(thread id, thread-group id) of every thread whose group was kept."""
        return [(tid, peek32(entry + 4)) for tid, entry in self._used() if peek32(entry + 4)]

    def close(self) -> None:
        """Give the memory back."""
        self._region.close()
