"""engine.kernel.objects, clone, uaccess: objects made of arguments, and reads of user memory at its edges."""

import ctypes
import mmap
import struct

import pytest

from engine.env import Env, peek64, poke64
from engine.kernel.layout import ALIAS
from engine.kernel.objects import (
    filename_is_empty,
    filename_object,
    open_flags_object,
    open_how_object,
    user_open_how_object,
)
from engine.kernel.text import put_decimal
from engine.kernel.uaccess import user_read, user_string
from engine.machine import Machine
from engine.memory import host_ptr
from engine.probes.driver import Driver
from engine.probes.regs import Reg
from tests.engine.probes.conftest import Recorder

M64 = (1 << 64) - 1
EFAULT, ENAMETOOLONG = -14, -36


class Pages:
    """Two pages, of which the second may not be touched."""

    def __init__(self) -> None:
        self.map = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.end = self.address + mmap.PAGESIZE
        libc = ctypes.CDLL(None)
        assert libc.mprotect(ctypes.c_void_p(self.end), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0

    def tail(self, data: bytes) -> int:
        """Put `data` at the end of the readable page; its address."""
        ctypes.memmove(self.end - len(data), data, len(data))
        return self.end - len(data)


def test_strings_at_the_end_of_readable_memory(thread: Driver, machine: Machine) -> None:
    pages = Pages()
    to = machine.heap.alloc(8192)
    assert user_string(thread.env, to, pages.tail(b"abc\0"), 4096) == 3
    assert ctypes.string_at(to) == b"abc"
    assert user_string(thread.env, to, pages.tail(b"abc"), 4096) == EFAULT
    assert user_string(thread.env, to, pages.tail(b"\0"), 4096) == 0
    assert user_string(thread.env, to, pages.end, 4096) == EFAULT
    assert user_string(thread.env, to, 0, 4096) == EFAULT
    assert user_string(thread.env, to, pages.tail(b"x" * 3000 + b"\0"), 4096) == 3000
    assert user_string(thread.env, to, pages.tail(b"x" * 100), 100) == ENAMETOOLONG


def test_reads_are_all_or_nothing(thread: Driver, machine: Machine) -> None:
    pages = Pages()
    to = machine.heap.alloc(64)
    assert user_read(thread.env, to, pages.tail(b"12345678"), 8) == 0
    assert ctypes.string_at(to, 8) == b"12345678"
    assert user_read(thread.env, to, pages.end - 4, 8) == EFAULT
    assert user_read(thread.env, to, 0xFFFF888000000000, 8) == EFAULT
    assert user_read(thread.env, to, pages.end, 0) == 0
    poke64(thread.env + Env.MEM_TID, 0)
    assert user_read(thread.env, to, pages.address, 8) == EFAULT


@pytest.mark.parametrize("value", [0, 7, 10, 4194304, 2**63 - 1])
def test_decimal(machine: Machine, value: int) -> None:
    to = machine.heap.alloc(32)
    assert ctypes.string_at(to, put_decimal(to, value) - to) == str(value).encode()


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 4095])
def test_filenames(thread: Driver, length: int) -> None:
    text = ctypes.create_string_buffer(b"n" * length)
    slot = thread.task - ALIAS
    thread.enter("open")
    alias = filename_object(thread.env, slot, 1, ctypes.addressof(text))
    name, uptr = peek64(host_ptr(alias & M64)), peek64(host_ptr(alias & M64) + 8)
    assert ctypes.string_at(host_ptr(name)) == b"n" * length
    assert uptr == ctypes.addressof(text)
    assert filename_is_empty(slot, 1) == (length == 0)


def test_filename_errors_last_for_the_system_call(thread: Driver) -> None:
    text = ctypes.create_string_buffer(b"n" * 4096)
    slot = thread.task - ALIAS
    thread.enter("open")
    assert filename_object(thread.env, slot, 0, ctypes.addressof(text)) == ENAMETOOLONG
    assert filename_object(thread.env, slot, 0, 0) == ENAMETOOLONG
    thread.enter("open")
    assert filename_object(thread.env, slot, 0, 0) == EFAULT


@pytest.mark.parametrize(
    ("flags", "mode", "how", "op"),
    [
        (0, 0o777, (0o100000, 0), (0o100000, 0, 4, 0x100, 1)),
        (0o1101, 0o10644, (0o101101, 0o644), (0o101101, 0o100644, 2, 0x300, 1)),
        (0o302, 0o600, (0o100302, 0o600), (0o500302, 0o100600, 6, 0x700, 0)),
        (0o10000000 | 0o1000 | 0o200000, 0, (0o10200000, 0), (0o10200000, 0, 0, 0, 3)),
        (0o4010001 | 0o2000, 0, (0o4112001, 0), (0o4112001, 0, 10, 0x100, 1)),
        (1 << 40, 0, (0o100000, 0), (0o100000, 0, 4, 0x100, 1)),
    ],
)
def test_open_how_and_flags(
    thread: Driver, flags: int, mode: int, how: tuple[int, ...], op: tuple[int, ...]
) -> None:
    """Worked out by hand from build_open_how and build_open_flags (fs/open.c)."""
    slot = thread.task - ALIAS
    alias = open_how_object(slot, flags, mode)
    assert struct.unpack("<QQQ", ctypes.string_at(host_ptr(alias & M64), 24)) == (*how, 0)
    alias = open_flags_object(slot)
    raw = ctypes.string_at(host_ptr(alias & M64), 20)
    assert struct.unpack("<IH2xIII", raw) == op


def test_openat2_copies_its_struct(thread: Driver) -> None:
    user = ctypes.create_string_buffer(struct.pack("<QQQ", 0o2, 0, 8))
    alias = user_open_how_object(thread.env, thread.task - ALIAS, ctypes.addressof(user))
    assert struct.unpack("<QQQ", ctypes.string_at(host_ptr(alias & M64), 24)) == (0o100002, 0, 8)
    assert user_open_how_object(thread.env, thread.task - ALIAS, 0) == EFAULT


def test_clone_arguments(recorder: Recorder, thread: Driver) -> None:
    def look(regs: int) -> tuple[int, ...]:
        at = host_ptr(peek64(regs + Reg.DI))
        return struct.unpack("<QQQQi4xQQQ", ctypes.string_at(at, 64))

    recorder.probe("kernel_clone", look=look)
    thread.call("fork", result=5)
    thread.call("vfork", result=5)
    thread.call("clone", 0x3D0F00 | 17, 0x1000, 0x2000, 0x3000, 0x4000, result=5)
    user = ctypes.create_string_buffer(struct.pack("<8Q", 0x100, 1, 2, 3, 17, 4, 5, 6))
    thread.call("clone3", ctypes.addressof(user), 64, result=5)
    thread.call("clone3", 0, 64, result=-14)
    assert [hit.extra for hit in recorder.hits] == [
        (0, 0, 0, 0, 17, 0, 0, 0),
        (0x4100, 0, 0, 0, 17, 0, 0, 0),
        (0x3D0F00, 0x2000, 0x3000, 0x2000, 17, 0x1000, 0, 0x4000),
        (0x100, 1, 2, 3, 17, 4, 5, 6),
    ]


def test_execve(recorder: Recorder, thread: Driver) -> None:
    def look(regs: int) -> bytes:
        return ctypes.string_at(host_ptr(peek64(host_ptr(peek64(regs + Reg.DI)))))

    recorder.probe("bprm_execve", look=look)
    recorder.probe("bprm_execve", ret=True)
    text = ctypes.create_string_buffer(b"/bin/true")
    thread.call("execve", ctypes.addressof(text), 0, 0, result=-2)
    thread.call("execveat", 5, ctypes.addressof(text), 0, 0, 0x100, result=0)
    assert recorder.labels == ["p bprm_execve", "r bprm_execve"] * 2
    assert recorder.hits[0].extra == b"/bin/true"
    assert recorder.hits[0].args[1] == -100 & 0xFFFFFFFF
    assert recorder.hits[2].args[1:4:2] == [5, 0x100]
