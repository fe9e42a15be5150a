"""The kernel's symbols as native code finds them, for texts like name+0x1/0x20 (kernel/kallsyms.c).

table  +0 count u64   then for each symbol by address: address u64, size u32, offset of its name u32
       then the names, NUL-terminated
"""

import ctypes
import struct

from engine.env import Ctl, poke64
from engine.jit.lang import native, u32, u64, uge, ult
from engine.kernel.symbols import SymbolTable
from engine.memory import Heap

__all__ = ["publish_symbols", "symbol_at", "symbol_name"]

_ENTRY = 16


def publish_symbols(heap: Heap, ctl: int, symbols: SymbolTable) -> None:
    """Build the table and tell where it is in the control block. It stays as long as the heap."""
    rows, names, seen = [], b"", -1
    for symbol in symbols:
        if symbol.address == seen:
            continue
        seen = symbol.address
        rows.append((symbol.address, symbol.size, len(names)))
        # Of several names of one address the first given is the one that is shown.
        shown = symbols.at(symbol.address)
        names += (shown or symbol).name.encode() + b"\0"
    table = struct.pack("<Q", len(rows)) + b"".join(struct.pack("<QII", *row) for row in rows) + names
    address = heap.alloc(len(table))
    ctypes.memmove(address, table, len(table))
    poke64(ctl + Ctl.SYMBOLS, address)


@native
def symbol_at(ctl: int, address: int) -> int:
    """The row of the symbol that covers `address`, or 0."""
    table = u64(ctl + Ctl.SYMBOLS)
    if table == 0:
        return 0
    low = 0
    high = u64(table)
    while low < high:
        middle = (low + high) >> 1
        if ult(address, u64(table + 8 + middle * _ENTRY)):
            high = middle
        else:
            low = middle + 1
    if low == 0:
        return 0
    row = table + 8 + (low - 1) * _ENTRY
    return 0 if uge(address, u64(row) + u32(row + 8)) else row


@native
def symbol_name(ctl: int, row: int) -> int:
    """Address of the name of a row that `symbol_at` gave."""
    table = u64(ctl + Ctl.SYMBOLS)
    return table + 8 + u64(table) * _ENTRY + u32(row + 12)
