"""The type symstr: a symbol's name written into the record, natively (kernel/kallsyms.c)."""

from engine.env import Env
from engine.jit.lang import memcpy, native, put8, strnlen, u32, u64, ugt
from engine.kernel.symtab import symbol_at, symbol_name

__all__ = ["store_symstr"]

_EFAULT = -14
_NAME_MAX = 256
_ROOM = _NAME_MAX + 64


@native
def put_hex(dest: int, value: int) -> int:
    """Write `0x` and the number in hexadecimal; the address behind it."""
    put8(dest, 48)
    put8(dest + 1, 120)
    dest += 2
    shift = 60
    while shift > 0 and value >> shift == 0:
        shift -= 4
    while shift >= 0:
        digit = value >> shift & 15
        put8(dest, digit + 48 if digit < 10 else digit + 87)
        dest += 1
        shift -= 4
    return dest


@native
def store_symstr(env: int, dest: int, value: int, room: int) -> int:
    """Write `name+0xOFFSET/0xSIZE` or the bare number; length with NUL, or -EFAULT without room."""
    if ugt(_ROOM, room):
        return _EFAULT
    ctl = u64(env + Env.CTL)
    row = symbol_at(ctl, value)
    if row == 0:
        end = put_hex(dest, value)
    else:
        name = symbol_name(ctl, row)
        length = strnlen(name, _NAME_MAX)
        memcpy(dest, name, length)
        put8(dest + length, 43)
        end = put_hex(dest + length + 1, value - u64(row))
        put8(end, 47)
        end = put_hex(end + 1, u32(row + 8))
    put8(end, 0)
    return end + 1 - dest
