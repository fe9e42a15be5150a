"""Reading the current thread's user memory from native code."""

from engine.env import Env
from engine.jit.lang import native, u8, u64
from engine.kernel.text import min_word
from engine.usermem import user_bytes

__all__ = ["NAME_TOO_LONG", "user_read", "user_string"]

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
    return 0 if user_bytes(env, tid, to, user, size) == size else _EFAULT


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
