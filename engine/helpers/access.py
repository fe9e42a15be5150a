"""Reading memory that may not be there: user memory of the current thread, kernel memory, our own.

A program's idea of an address is one of these:
- the user half: memory of thread `Env.MEM_TID` (`engine.usermem`);
- the kernel half: the window's alias (`engine.memory`), of which the kernel arena is always mapped;
- a host address of something the program was given: map values and rings (inside the window), registers,
  its own stack. Only those ranges of our own memory can be read, and of them only registers and arena are
  touched directly: the rest goes through process_vm_readv on ourselves, which fails where a load would fault.

Everything else reads as the kernel's own answer: -ERANGE for an address that cannot be the kernel's
(`copy_from_kernel_nofault`), -EFAULT for one that is not mapped.
"""

import errno

from engine.env import Ctl, Env
from engine.jit.lang import c_call, local, memcpy, native, put8, u8, u64, uge, ugt, ult
from engine.memory import KERNEL_BASE, PAGE_SIZE, WINDOW_BASE, WINDOW_SIZE
from engine.usermem import own_read, user_bytes

__all__ = ["TASK_SIZE", "host_of", "read_kernel", "read_kernel_string", "read_user", "read_user_string"]

TASK_SIZE = 0x7FFF_FFFF_F000
"""End of the user half on x86-64."""
_KERNEL_HALF = 0xFFFF_8000_0000_0000
_REGS_SIZE = 168
_STACK_REACH = 64 * 1024
"""How far above our own frame a program's stack, its callers' frames and their buffers may be."""
_STEP = 256
"""Bytes of a string that are fetched at once."""
_EFAULT = -errno.EFAULT
_ERANGE = -errno.ERANGE


@native
def read_user(env: int, to: int, user: int, size: int) -> int:
    """Copy `size` bytes of user memory: 0 or -EFAULT."""
    tid = u64(env + Env.MEM_TID)
    if ugt(size, TASK_SIZE) or ugt(user, TASK_SIZE - size):
        return _EFAULT
    if tid == 0 and size != 0:
        return _EFAULT
    return 0 if user_bytes(env, tid, to, user, size) == size else _EFAULT


@native(inline=True)
def _within(address: int, size: int, start: int, length: int) -> int:
    """Whether [address, address + size) lies in [start, start + length)."""
    return ult(address - start, length) and _fits(address - start, size, length)


@native(inline=True)
def _fits(offset: int, size: int, length: int) -> int:
    """Whether `size` bytes from `offset` (below `length`) end by `length`."""
    return not ugt(size, length - offset)


@native
def host_of(env: int, address: int, size: int) -> int:
    """Host address of memory a program may name, 1 less than none: -ERANGE or -EFAULT where it may not.

    Bit 0 of the result is set when the memory may be unmapped and has to be read with care; host addresses
    are given shifted left by one.
    """
    frame = local(16)
    if uge(address, _KERNEL_HALF):
        host = address - KERNEL_BASE + WINDOW_BASE
        if not _within(host, size, WINDOW_BASE, WINDOW_SIZE):
            return _EFAULT
    else:
        host = address
        regs = u64(env + Env.REGS)
        if regs != 0 and _within(host, size, regs, _REGS_SIZE):
            return host << 1
        in_window = _within(host, size, WINDOW_BASE, WINDOW_SIZE)
        if not in_window and not _within(host, size, frame, _STACK_REACH):
            return _ERANGE
    ctl = u64(env + Env.CTL)
    if ctl != 0 and _within(host, size, u64(ctl + Ctl.KERNEL_ARENA), u64(ctl + Ctl.KERNEL_ARENA_SIZE)):
        return host << 1
    return host << 1 | 1


@native
def read_kernel(env: int, to: int, address: int, size: int) -> int:
    """Copy `size` bytes at a kernel address, or a host address the program knows: 0, -ERANGE, -EFAULT."""
    found = host_of(env, address, size)
    if size == 0 and found != _ERANGE:
        return 0
    if found < 0:
        return found
    if found & 1:
        return 0 if own_read(c_call("getpid"), to, found >> 1, size) == size else _EFAULT
    memcpy(to, found >> 1, size)
    return 0


@native
def _string(env: int, to: int, address: int, size: int, user: int) -> int:
    """Copy a string of at most `size` bytes with its NUL, piece by piece, no piece across a page's end.

    Its length with the NUL; `size` where there was no NUL, and then the last byte becomes one.
    """
    done = 0
    while ult(done, size):
        at = address + done
        part = PAGE_SIZE - (at & (PAGE_SIZE - 1))
        part = part if part < _STEP else _STEP
        part = part if ult(part, size - done) else size - done
        if user:
            error = read_user(env, to + done, at, part)
        else:
            error = read_kernel(env, to + done, at, part)
        if error < 0:
            return error
        end = done + part
        while done < end:
            done += 1
            if u8(to + done - 1) == 0:
                return done
    if size != 0:
        put8(to + size - 1, 0)
    return size


@native
def read_user_string(env: int, to: int, user: int, size: int) -> int:
    """`strncpy_from_user_nofault`: length with the NUL, at most `size`; -EFAULT."""
    return _string(env, to, user, size, 1)


@native
def read_kernel_string(env: int, to: int, address: int, size: int) -> int:
    """`strncpy_from_kernel_nofault`: length with the NUL, at most `size`; -EFAULT or -ERANGE."""
    return _string(env, to, address, size, 0)
