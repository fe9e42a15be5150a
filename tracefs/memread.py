"""Reading the memory that a probe's arguments point to: the attached thread's, or modelled kernel objects."""

from engine.env import Ctl, Env
from engine.jit.lang import c_call, memcpy, native, put8, strnlen, u64, uge, ule, ult
from engine.kernel.text import min_word
from engine.memory import KERNEL_BASE, WINDOW_BASE, WINDOW_SIZE
from engine.usermem import own_read, user_bytes

__all__ = ["TASK_SIZE", "mem_read", "mem_read_string", "mem_read_user", "mem_read_user_string"]

TASK_SIZE = 0x7FFF_FFFF_F000
"""First address above a process's (x86-64 with four page-table levels)."""
_EFAULT = -14
_PAGE = 4096
_FIRST_CHUNK = 256
"""Bytes of a string fetched first: most file names fit."""


@native
def mem_read_user(env: int, dest: int, src: int, size: int) -> int:
    """`copy_from_user_nofault`: 0 or -EFAULT."""
    tid = u64(env + Env.MEM_TID)
    if tid == 0 or uge(src, TASK_SIZE):
        return _EFAULT
    return 0 if user_bytes(env, tid, dest, src, size) == size else _EFAULT


@native
def kernel_range(env: int, src: int, size: int) -> int:
    """Host address of a range of the kernel arena, or 0."""
    ctl = u64(env + Env.CTL)
    offset = src - KERNEL_BASE + WINDOW_BASE - u64(ctl + Ctl.KERNEL_ARENA)
    length = u64(ctl + Ctl.KERNEL_ARENA_SIZE)
    if ult(offset, length) and ule(size, length - offset):
        return u64(ctl + Ctl.KERNEL_ARENA) + offset
    return 0


@native
def kernel_read(env: int, dest: int, src: int, size: int) -> int:
    """Read modelled kernel memory. Outside the arena the kernel itself checks the mapping. 0 or -EFAULT."""
    host = kernel_range(env, src, size)
    if host != 0:
        memcpy(dest, host, size)
        return 0
    if ult(src - KERNEL_BASE, WINDOW_SIZE):
        got = own_read(c_call("getpid"), dest, src - KERNEL_BASE + WINDOW_BASE, size)
        return 0 if got == size else _EFAULT
    return _EFAULT


@native
def mem_read(env: int, dest: int, src: int, size: int) -> int:
    """`probe_mem_read`: user or kernel memory by the address. 0 or -EFAULT."""
    if ult(src, TASK_SIZE):
        return mem_read_user(env, dest, src, size)
    return kernel_read(env, dest, src, size)


@native
def string_chunks(env: int, tid: int, dest: int, src: int, room: int) -> int:
    """A string page by page, of a thread, or our own where `tid` is 0; its length with NUL, cut off at
    `room`; -EFAULT."""
    done = 0
    chunk = _FIRST_CHUNK
    while done < room:
        want = _PAGE - (src + done & _PAGE - 1)
        want = min_word(want, chunk)
        want = min_word(want, room - done)
        if tid:
            got = user_bytes(env, tid, dest + done, src + done, want)
        else:
            got = own_read(c_call("getpid"), dest + done, src + done, want)
        if got < 0:
            return _EFAULT
        length = strnlen(dest + done, got)
        if length < got:
            return done + length + 1
        done += got
        chunk = _PAGE
    put8(dest + room - 1, 0)
    return room


@native
def mem_read_user_string(env: int, dest: int, src: int, room: int) -> int:
    """`strncpy_from_user_nofault`: length with NUL, at most `room`; -EFAULT."""
    tid = u64(env + Env.MEM_TID)
    if tid == 0 or uge(src, TASK_SIZE) or room <= 0:
        return _EFAULT
    return string_chunks(env, tid, dest, src, room)


@native
def mem_read_string(env: int, dest: int, src: int, room: int) -> int:
    """A string in user or kernel memory by its address; length with NUL, at most `room`; -EFAULT."""
    if ult(src, TASK_SIZE):
        return mem_read_user_string(env, dest, src, room)
    if room <= 0:
        return _EFAULT
    host = kernel_range(env, src, 1)
    if host != 0:
        ctl = u64(env + Env.CTL)
        left = u64(ctl + Ctl.KERNEL_ARENA) + u64(ctl + Ctl.KERNEL_ARENA_SIZE) - host
        left = min_word(left, room)
        length = strnlen(host, left)
        if length >= left:
            length = left - 1
        memcpy(dest, host, length)
        put8(dest + length, 0)
        return length + 1
    if ult(src - KERNEL_BASE, WINDOW_SIZE):
        return string_chunks(env, 0, dest, src - KERNEL_BASE + WINDOW_BASE, room)
    return _EFAULT
