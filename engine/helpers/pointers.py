"""Pointers, symbols and network addresses as text (lib/vsprintf.c)."""

from engine.env import Env
from engine.helpers.digits import Flag, Out, emit, put_number, put_text
from engine.jit.lang import (
    bswap16,
    cstr,
    local,
    memset,
    native,
    put64,
    strnlen,
    u8,
    u16,
    u32,
    u64,
    uge,
)
from engine.kernel.symtab import symbol_at, symbol_name

__all__ = ["put_ip", "put_pointer", "put_symbol"]

_NAME, _BACKTRACE = ord("s"), ord("B")
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
def _put_hex(out: int, number: int) -> int:
    """Append 0x and a number, without padding."""
    put_text(out, cstr("0x"), 2)
    put_number(out, number, 0, 16)
    return 0


@native
def _symbol_text(env: int, out: int, address: int, style: int) -> int:
    """Write the text of `put_symbol` without its width."""
    ctl = u64(env + Env.CTL)
    looked = address - 1 if style == _BACKTRACE else address
    row = symbol_at(ctl, looked) if ctl != 0 else 0
    if row == 0:
        return _put_hex(out, address)
    name = symbol_name(ctl, row)
    put_text(out, name, strnlen(name, 256))
    if style != _NAME:
        emit(out, 43)
        _put_hex(out, address - u64(row))
        emit(out, 47)
        _put_hex(out, u32(row + 8))
    return 0


@native
def put_symbol(env: int, out: int, address: int, style: int) -> int:
    """The function at an address: %ps its name, %pS name+0x1/0x20, %pB the same of a return address.

    The bare address where there is none. `style` is the letter; %pB minds no width.
    """
    text = local(320)
    inner = local(64)
    memset(inner, 0, 64)
    put64(inner + Out.BASE, text)
    put64(inner + Out.SIZE, 320)
    _symbol_text(env, inner, address, style)
    if style == _BACKTRACE:
        put64(out + Out.WIDTH, 0)
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
