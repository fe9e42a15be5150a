"""Pointers, symbols and network addresses as text (lib/vsprintf.c)."""

from engine.helpers.digits import Flag, Out, emit, put_number, put_text
from engine.jit.lang import (
    bswap16,
    cstr,
    local,
    memcpy,
    native,
    put64,
    u8,
    u16,
    u64,
    uge,
)

__all__ = ["put_ip", "put_pointer", "put_symbol"]

_SECRET = 0x9E37_79B9_7F4A_7C15
_FIRST_ERROR_POINTER = -4095


@native
def put_pointer(out: int, pointer: int, hashed: int) -> int:
    """16 hexadecimal digits, of a 32-bit digest where `hashed`: null and error pointers never are."""
    if hashed and pointer != 0 and not uge(pointer, _FIRST_ERROR_POINTER):
        mixed = (pointer ^ _SECRET) * _SECRET
        mixed = (mixed ^ (mixed >> 29)) * _SECRET
        pointer = mixed >> 32
    flags = u64(out + Out.FLAGS) & ~(Flag.PLUS | Flag.SPACE)
    if u64(out + Out.WIDTH) == 0:
        put64(out + Out.WIDTH, 16)
        flags |= Flag.ZERO
    put64(out + Out.FLAGS, flags)
    put_number(out, pointer, 0, 16)
    return 0


@native
def put_symbol(env: int, out: int, address: int, offset: int) -> int:
    """The function at an address, with `offset` as name+0x1/0x20; the bare address where there is none."""
    text = local(32)
    inner = local(64)
    put64(inner + Out.LENGTH, 0)
    put64(inner + Out.BASE, text)
    put64(inner + Out.SIZE, 32)
    put64(inner + Out.FLAGS, 0)
    put64(inner + Out.WIDTH, 0)
    memcpy(text, cstr("0x"), 2)
    put64(inner + Out.LENGTH, 2)
    put_number(inner, address, 0, 16)
    put_text(out, text, u64(inner + Out.LENGTH))
    return 0


@native
def put_ip(out: int, raw: int, version: int, separated: int) -> int:
    """An address in network order; `version` is character 4 or 6. %pi6 has no colons, %pi4 leading zeros."""
    put64(out + Out.FLAGS, Flag.ZERO)
    if version == 52:
        put64(out + Out.WIDTH, 0 if separated else 3)
        for i in range(4):
            if i:
                emit(out, 46)
            put_number(out, u8(raw + i), 0, 10)
        return 0
    put64(out + Out.WIDTH, 4)
    for i in range(8):
        if i and separated:
            emit(out, 58)
        put_number(out, bswap16(u16(raw + 2 * i)), 0, 16)
    return 0
