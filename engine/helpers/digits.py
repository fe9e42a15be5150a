"""Writing into a bounded text: characters, padding, numbers (lib/vsprintf.c, number and string).

An `Out` counts every character, also those that no longer fit, so that a cut text still tells its length.
"""

from enum import IntEnum

from engine.jit.lang import local, memcpy, memset, native, put8, put64, u8, u64, udiv, ult

__all__ = ["Flag", "Out", "emit", "finish", "pad", "put_number", "put_text"]


class Out(IntEnum):
    """Offsets in the state of a text being written (64 bytes)."""

    LENGTH = 0
    """Characters so far, also those that did not fit."""
    BASE = 8
    SIZE = 16
    """Bytes at BASE, with room for the NUL."""
    FLAGS = 24
    """Of the current conversion: `Flag`."""
    WIDTH = 32
    """Of the current conversion; 0: none."""
    ROOM = 40
    """Bytes that the arguments take in the kernel's own buffer, see `format`."""


class Flag(IntEnum):
    """Flags of a conversion."""

    LEFT = 1
    PLUS = 2
    SPACE = 4
    ZERO = 8
    UPPER = 16


@native
def emit(out: int, c: int) -> int:
    """Append one character."""
    at = u64(out + Out.LENGTH)
    if ult(at, u64(out + Out.SIZE)):
        put8(u64(out + Out.BASE) + at, c)
    put64(out + Out.LENGTH, at + 1)
    return 0


@native
def _room_for(out: int, count: int) -> int:
    """How many of `count` further characters fit."""
    at = u64(out + Out.LENGTH)
    size = u64(out + Out.SIZE)
    if not ult(at, size):
        return 0
    return count if ult(count, size - at) else size - at


@native
def pad(out: int, c: int, count: int) -> int:
    """Append `count` times the same character; nothing where `count` is not positive."""
    if count <= 0:
        return 0
    at = u64(out + Out.LENGTH)
    memset(u64(out + Out.BASE) + at, c, _room_for(out, count))
    put64(out + Out.LENGTH, at + count)
    return 0


@native
def put_text(out: int, text: int, length: int) -> int:
    """Append a text, with spaces up to the conversion's width."""
    spaces = u64(out + Out.WIDTH) - length
    if not u64(out + Out.FLAGS) & Flag.LEFT:
        pad(out, 32, spaces)
        spaces = 0
    at = u64(out + Out.LENGTH)
    memcpy(u64(out + Out.BASE) + at, text, _room_for(out, length))
    put64(out + Out.LENGTH, at + length)
    pad(out, 32, spaces)
    return 0


@native
def put_number(out: int, magnitude: int, negative: int, base: int) -> int:
    """Append an unsigned number with the conversion's sign, padding and width."""
    flags = u64(out + Out.FLAGS)
    digits = local(24)
    count = 0
    rest = magnitude
    more = 1
    while more:
        following = udiv(rest, base)
        digit = rest - following * base
        if digit > 9:
            digit += 7 if flags & Flag.UPPER else 39
        count += 1
        put8(digits + 24 - count, 48 + digit)
        rest = following
        more = rest != 0
    sign = 45 if negative else (43 if flags & Flag.PLUS else (32 if flags & Flag.SPACE else 0))
    filler = u64(out + Out.WIDTH) - count - (sign != 0)
    zeros = flags & Flag.ZERO and not flags & Flag.LEFT
    if not zeros and not flags & Flag.LEFT:
        pad(out, 32, filler)
    if sign:
        emit(out, sign)
    if zeros:
        pad(out, 48, filler)
    for i in range(count):
        emit(out, u8(digits + 24 - count + i))
    if flags & Flag.LEFT:
        pad(out, 32, filler)
    return 0


@native
def finish(out: int) -> int:
    """End the text with a NUL; its whole length without it."""
    length = u64(out + Out.LENGTH)
    size = u64(out + Out.SIZE)
    if size != 0:
        put8(u64(out + Out.BASE) + (length if ult(length, size) else size - 1), 0)
    return length
