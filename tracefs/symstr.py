"""The type symstr: a symbol's name written into the record, from a native copy of the symbol table.

table   u64 number of rows, then rows by address: u64 address, u64 size, u64 address of the name
"""

import ctypes

from engine.env import poke64
from engine.jit.lang import memcpy, native, put8, strnlen, u64, udiv, ugt, ule, ult
from engine.kernel.symbols import SymbolTable
from engine.memory import Heap

__all__ = ["build_symbol_rows", "store_symstr"]

_ROW = 24
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
def find_symbol(table: int, address: int) -> int:
    """The row that covers an address, or 0."""
    low = 0
    high = u64(table)
    while low < high:
        middle = udiv(low + high, 2)
        if ule(u64(table + 8 + middle * _ROW), address):
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return 0
    row = table + 8 + (low - 1) * _ROW
    return row if ult(address - u64(row), u64(row + 8)) else 0


@native
def store_symstr(table: int, dest: int, value: int, room: int) -> int:
    """Write `name+0xOFFSET/0xSIZE` or the bare number (`sprint_symbol`); length with NUL, or -EFAULT."""
    if ugt(_ROOM, room):
        return -14
    row = find_symbol(table, value)
    if row == 0:
        end = put_hex(dest, value)
    else:
        name = u64(row + 16)
        length = strnlen(name, _NAME_MAX)
        memcpy(dest, name, length)
        put8(dest + length, 43)
        end = put_hex(dest + length + 1, value - u64(row))
        put8(end, 47)
        end = put_hex(end + 1, u64(row + 8))
    put8(end, 0)
    return end + 1 - dest


def build_symbol_rows(heap: Heap, symbols: SymbolTable) -> int:
    """Address of a native table of `symbols`, to live as long as the machine."""
    rows = {symbol.address: symbol for symbol in reversed(list(symbols))}
    table = heap.alloc(8 + len(rows) * _ROW)
    names = heap.alloc(sum(len(symbol.name) + 1 for symbol in rows.values()) or 1)
    poke64(table, len(rows))
    for index, address in enumerate(sorted(rows)):
        symbol = rows[address]
        row = table + 8 + index * _ROW
        poke64(row, address)
        poke64(row + 8, symbol.size)
        poke64(row + 16, names)
        text = symbol.name.encode() + b"\0"
        ctypes.memmove(names, text, len(text))
        names += len(text)
    return table
