"""Evaluating fetch arguments in the hit: native, over tables that `fetch_table` lays out.

Rules as `process_fetch_insn` and `store_trace_args` of kernel/trace/trace_probe_tmpl.h: an argument that
faults is 0, or `(fault)` if it is a string.
"""

from enum import IntEnum

from engine.env import Env
from engine.jit.lang import (
    local,
    memcpy,
    memset,
    native,
    put8,
    put16,
    put32,
    put64,
    strnlen,
    u8,
    u16,
    u32,
    u64,
    zext8,
    zext16,
    zext32,
)
from tracefs.fetch_insn import Op
from tracefs.memread import mem_read, mem_read_string, mem_read_user, mem_read_user_string
from tracefs.symstr import store_symstr

__all__ = ["Arg", "Deref", "fetch_args"]

_EFAULT = -14
_SP = 152
_AX = 80
_STACK_WORD = 8


class Arg(IntEnum):
    """Offsets in an argument's table row."""

    OFFSET = 0
    """u32, of its fixed part in the record."""
    COUNT = 4
    """u32, array length; 1 for a scalar."""
    SOURCE = 8
    """u32 `Op` of the source, u32 `Op` of the store, u64 the source's value."""
    STORE = 12
    SOURCE_VALUE = 16
    NR_DEREFS = 24
    SIZE = 28
    LSHIFT = 32
    RSHIFT = 36
    STORE_OFFSET = 40
    """s64, added to the address before a memory store."""
    DEREFS = 48
    """u64, address of `Deref` rows."""
    ROW = 64


class Deref(IntEnum):
    """One dereference: 16 bytes."""

    OFFSET = 0
    USER = 8
    ROW = 16


@native
def fetch_source(env: int, regs: int, op: int, value: int) -> int:
    """The value that an argument starts from."""
    if op == Op.REG:
        return u64(regs + value)
    if op == Op.IMM or op == Op.DATA:
        return value
    if op == Op.RETVAL:
        return u64(regs + _AX)
    if op == Op.STACKP:
        return u64(regs + _SP)
    if op == Op.COMM:
        return env + Env.COMM
    word = local(8)
    put64(word, 0)
    mem_read(env, word, u64(regs + _SP) + value * _STACK_WORD, 8)
    return u64(word)


@native
def follow(env: int, arg: int, first: int, value: int, where: int) -> int:
    """Dereferences from number `first` on; the address before the last one goes to `where`. 0 or -EFAULT.

    The value reached is at `where + 8`.
    """
    row = u64(arg + Arg.DEREFS) + first * Deref.ROW
    put64(where, value)
    put64(where + 8, value)
    for _ in range(first, u32(arg + Arg.NR_DEREFS)):
        value = u64(where + 8)
        put64(where, value)
        value += u64(row + Deref.OFFSET)
        if u64(row + Deref.USER):
            result = mem_read_user(env, where + 8, value, 8)
        else:
            result = mem_read(env, where + 8, value, 8)
        if result < 0:
            return result
        row += Deref.ROW
    return 0


@native
def store_value(dest: int, size: int, value: int) -> int:
    """Store the low `size` bytes."""
    if size == 8:
        put64(dest, value)
    elif size == 4:
        put32(dest, value)
    elif size == 2:
        put16(dest, value)
    else:
        put8(dest, value)
    return 0


@native
def apply_bitfield(dest: int, size: int, lshift: int, rshift: int) -> int:
    """`fetch_apply_bitfield`: shift left, then right, within `size` bytes."""
    if size == 8:
        put64(dest, u64(dest) << lshift >> rshift)
    elif size == 4:
        put32(dest, zext32(u32(dest) << lshift) >> rshift)
    elif size == 2:
        put16(dest, zext16(u16(dest) << lshift) >> rshift)
    else:
        put8(dest, zext8(u8(dest) << lshift) >> rshift)
    return 0


@native
def fetch_fixed(env: int, regs: int, arg: int, dest: int) -> int:
    """An argument without a dynamic part. Leaves 0 where memory could not be read."""
    size = u32(arg + Arg.SIZE)
    count = u32(arg + Arg.COUNT)
    memset(dest, 0, size * count)
    state = local(16)
    value = fetch_source(env, regs, u32(arg + Arg.SOURCE), u64(arg + Arg.SOURCE_VALUE))
    if u32(arg + Arg.NR_DEREFS):
        if follow(env, arg, 0, value, state) < 0:
            return 0
        value = u64(state + 8)
    store = u32(arg + Arg.STORE)
    if store == Op.ST_RAW:
        store_value(dest, size, value)
    else:
        value += u64(arg + Arg.STORE_OFFSET)
        for _ in range(0, count):
            if store == Op.ST_UMEM:
                mem_read_user(env, dest, value, size)
            else:
                mem_read(env, dest, value, size)
            if u32(arg + Arg.LSHIFT) or u32(arg + Arg.RSHIFT):
                apply_bitfield(dest, size, u32(arg + Arg.LSHIFT), u32(arg + Arg.RSHIFT))
            dest += size
            value += size
        return 0
    if u32(arg + Arg.LSHIFT) or u32(arg + Arg.RSHIFT):
        apply_bitfield(dest, size, u32(arg + Arg.LSHIFT), u32(arg + Arg.RSHIFT))
    return 0


@native
def store_string(env: int, arg: int, value: int, dest: int, room: int) -> int:
    """A string to the dynamic area: length with NUL or -EFAULT."""
    store = u32(arg + Arg.STORE)
    source = u32(arg + Arg.SOURCE)
    if store == Op.ST_SYMSTR:
        return store_symstr(env, dest, value, room)
    if source == Op.COMM or source == Op.DATA:
        length = strnlen(value, room - 1)
        memcpy(dest, value, length)
        put8(dest + length, 0)
        return length + 1
    value += u64(arg + Arg.STORE_OFFSET)
    if store == Op.ST_USTRING:
        return mem_read_user_string(env, dest, value, room)
    return mem_read_string(env, dest, value, room)


@native
def fetch_dynamic(env: int, regs: int, arg: int, dest: int, base: int, end: int, limit: int) -> int:
    """A string or an array of strings; the new end of the dynamic area, which starts at `end` now.

    `dest` gets a `__data_loc` word per string: length in the high half (0: fault), offset from `base` below.
    """
    state = local(16)
    value = fetch_source(env, regs, u32(arg + Arg.SOURCE), u64(arg + Arg.SOURCE_VALUE))
    derefs = u32(arg + Arg.NR_DEREFS)
    first = 0
    for _ in range(0, u32(arg + Arg.COUNT)):
        put32(dest, end - base)
        length = _EFAULT
        if follow(env, arg, first, value, state) == 0 and end < limit:
            length = store_string(env, arg, u64(state + 8), end, limit - end)
        if length > 0:
            put32(dest, length << 16 | end - base)
            end += length
        value = u64(state) + _STACK_WORD
        first = derefs - 1 if derefs > 0 else 0
        dest += 4
    return end


@native
def fetch_args(env: int, regs: int, args: int, count: int, base: int, size: int, limit: int) -> int:
    """All arguments to the record at `base`, whose fixed part has `size` bytes; its whole length.

    The record never grows over `limit` bytes: strings are cut off.
    """
    end = base + size
    for _ in range(0, count):
        dest = base + u32(args + Arg.OFFSET)
        if u32(args + Arg.STORE) >= Op.ST_STRING:
            end = fetch_dynamic(env, regs, args, dest, base, end, base + limit)
        else:
            fetch_fixed(env, regs, args, dest)
        args += Arg.ROW
    return end - base
