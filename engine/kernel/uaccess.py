"""Reading the current thread's user memory from native code, and small text work that goes with it.

Reads are made with process_vm_readv of `Env.MEM_TID`. They can block for as long as a page fault of the
thread itself could, so no lock that a file operation needs may be held.
"""

from engine.env import Env
from engine.jit.lang import c_call, local, native, put8, put64, u8, u64, udiv

__all__ = ["NAME_TOO_LONG", "min_word", "put_decimal", "put_text", "user_read", "user_string"]

_PAGE = 4096
_EFAULT = -14
NAME_TOO_LONG = -36
"""-ENAMETOOLONG, as a constant for native code."""


@native
def user_read(env: int, to: int, user: int, size: int) -> int:
    """Copy `size` bytes at user address `user` to host address `to`: 0, or -EFAULT if any is unreadable."""
    tid = u64(env + Env.MEM_TID)
    if tid == 0:
        return _EFAULT
    if size == 0:
        return 0
    vectors = local(32)
    put64(vectors, to)
    put64(vectors + 8, size)
    put64(vectors + 16, user)
    put64(vectors + 24, size)
    done = c_call("process_vm_readv", tid, vectors, 1, vectors + 16, 1, 0)
    return 0 if done == size else _EFAULT


@native
def user_string(env: int, to: int, user: int, size: int) -> int:
    """Copy a NUL-terminated string of at most `size` bytes with its NUL.

    Returns its length without the NUL, -EFAULT, or -ENAMETOOLONG when no NUL is among `size` bytes.
    """
    done = 0
    while done < size:
        part = _PAGE - ((user + done) & (_PAGE - 1))
        part = min_word(part, min_word(size - done, 256))
        if user_read(env, to + done, user + done, part) < 0:
            return _EFAULT
        end = done + part
        while done < end:
            if u8(to + done) == 0:
                return done
            done += 1
    return NAME_TOO_LONG


@native(inline=True)
def min_word(a: int, b: int) -> int:
    """The smaller of two non-negative words."""
    return a if a < b else b


@native
def put_decimal(to: int, value: int) -> int:
    """Write a non-negative number as text without NUL; returns the address after it."""
    digits = local(24)
    n = 0
    more = 1
    while more:
        next_value = udiv(value, 10)
        put8(digits + n, 48 + value - next_value * 10)
        n += 1
        value = next_value
        more = value != 0
    while n > 0:
        n -= 1
        put8(to, u8(digits + n))
        to += 1
    return to


@native
def put_text(to: int, text: int) -> int:
    """Copy a NUL-terminated text without its NUL; returns the address after it."""
    while u8(text) != 0:
        put8(to, u8(text))
        to += 1
        text += 1
    return to
