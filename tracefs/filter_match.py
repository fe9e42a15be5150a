"""Deciding natively whether a staged record passes a filter.

filter   u64 match function | u64 first row | rows
row      what to compare, and where to go then: a row's number, PASS or DROP
"""

from enum import IntEnum

from engine.env import Env
from engine.jit.lang import (
    local,
    memcmp,
    native,
    s8,
    s16,
    s32,
    strnlen,
    u8,
    u16,
    u32,
    u64,
    uge,
    ugt,
    ule,
    ult,
)
from tracefs.memread import mem_read_user_string

__all__ = ["DROP", "FILTER_HEAD", "PASS", "Compare", "Kind", "Row", "filter_match", "glob_match"]

FILTER_HEAD = 16
PASS = 0xFFFF
DROP = 0xFFFE
_COMM_MAX = 16
_USER_MAX = 1024
"""Bytes of a user string that are compared (USTRING_BUF_SIZE)."""


class Row(IntEnum):
    """Offsets in a row of 64 bytes."""

    KIND = 0
    COMPARE = 4
    OFFSET = 8
    SIZE = 12
    SIGNED = 16
    LENGTH = 20
    """u32, bytes of the text."""
    VALUE = 24
    """s64 or u64, as wide as the field; or the address of a text."""
    IF_TRUE = 32
    IF_FALSE = 36
    BYTES = 64


class Kind(IntEnum):
    """Where the left side comes from and how it is compared."""

    NUMBER = 0
    CPU = 1
    TEXT = 2
    """A string of the record's dynamic area. Odd kinds compare with a pattern."""
    TEXT_GLOB = 3
    COMM = 4
    COMM_GLOB = 5
    ARRAY = 6
    """A string in an array of the record itself."""
    ARRAY_GLOB = 7
    USER = 8
    """A string in user memory that the field points to."""
    USER_GLOB = 9


class Compare(IntEnum):
    """Comparisons of numbers."""

    EQ = 0
    NE = 1
    LT = 2
    LE = 3
    GT = 4
    GE = 5
    AND = 6


@native
def class_matches(pattern: int, end: int, char: int) -> int:
    """Match a bracket expression behind its `[`; the address behind its `]`, negative if `char` is not in it.

    0 if it is not closed.
    """
    inverted = 0
    if pattern < end and u8(pattern) == 33:
        inverted = 1
        pattern += 1
    found = 0
    first = 1
    while pattern < end and (first or u8(pattern) != 93):
        first = 0
        low = u8(pattern)
        high = low
        if pattern + 2 < end and u8(pattern + 1) == 45 and u8(pattern + 2) != 93:
            high = u8(pattern + 2)
            pattern += 2
        if low <= char <= high:
            found = 1
        pattern += 1
    if pattern >= end:
        return 0
    return pattern + 1 if found != inverted else -(pattern + 1)


@native
def glob_match(pattern: int, length: int, text: int, size: int) -> int:
    """Whether `text` matches a pattern of `*`, `?`, `[...]` and backslashes (lib/glob.c)."""
    end = pattern + length
    stop = text + size
    back_pattern = 0
    back_text = 0
    while text < stop:
        matched = 0
        if pattern < end:
            char = u8(pattern)
            if char == 42:
                back_pattern = pattern + 1
                back_text = text
                pattern += 1
                continue
            following = pattern + 1
            if char == 63:
                matched = 1
            elif char == 91:
                after = class_matches(pattern + 1, end, u8(text))
                matched = 1 if after > 0 else 0
                following = after if after > 0 else following
                if after == 0:
                    matched = 1 if u8(text) == 91 else 0
            else:
                if char == 92 and following < end:
                    char = u8(following)
                    following += 1
                matched = 1 if char == u8(text) else 0
            if matched:
                pattern = following
        if matched:
            text += 1
        elif back_pattern == 0:
            return 0
        else:
            back_text += 1
            text = back_text
            pattern = back_pattern
    while pattern < end and u8(pattern) == 42:
        pattern += 1
    return 1 if pattern == end else 0


@native
def load_field(address: int, size: int, signed: int) -> int:
    """A field's value, extended to a word."""
    if size == 8:
        return u64(address)
    if size == 4:
        return s32(address) if signed else u32(address)
    if size == 2:
        return s16(address) if signed else u16(address)
    return s8(address) if signed else u8(address)


@native
def compare_numbers(left: int, right: int, how: int, signed: int) -> int:
    """One comparison."""
    if how == Compare.EQ:
        return left == right
    if how == Compare.NE:
        return left != right
    if how == Compare.AND:
        return (left & right) != 0
    if signed:
        if how == Compare.LT:
            return left < right
        if how == Compare.LE:
            return left <= right
        return left > right if how == Compare.GT else left >= right
    if how == Compare.LT:
        return ult(left, right)
    if how == Compare.LE:
        return ule(left, right)
    return ugt(left, right) if how == Compare.GT else uge(left, right)


@native
def row_matches(env: int, row: int, record: int) -> int:
    """Whether one row's condition holds."""
    kind = u32(row + Row.KIND)
    value = u64(row + Row.VALUE)
    signed = u32(row + Row.SIGNED)
    if kind == Kind.NUMBER:
        left = load_field(record + u32(row + Row.OFFSET), u32(row + Row.SIZE), signed)
        return compare_numbers(left, value, u32(row + Row.COMPARE), signed)
    if kind == Kind.CPU:
        return compare_numbers(u32(env + Env.CPU), value, u32(row + Row.COMPARE), 1)
    length = u32(row + Row.LENGTH)
    copied = local(_USER_MAX)
    if kind == Kind.COMM or kind == Kind.COMM_GLOB:
        text = env + Env.COMM
        size = strnlen(text, _COMM_MAX)
    elif kind == Kind.ARRAY or kind == Kind.ARRAY_GLOB:
        text = record + u32(row + Row.OFFSET)
        size = strnlen(text, u32(row + Row.SIZE))
    elif kind == Kind.USER or kind == Kind.USER_GLOB:
        text = copied
        size = mem_read_user_string(env, copied, u64(record + u32(row + Row.OFFSET)), _USER_MAX) - 1
        if size < 0:
            return 0
    else:
        location = u32(record + u32(row + Row.OFFSET))
        text = record + (location & 0xFFFF)
        size = (location >> 16) - 1 if location >> 16 else 0
    if kind & 1:
        matched = glob_match(value, length, text, size)
    else:
        matched = 1 if size == length and memcmp(text, value, length) == 0 else 0
    return 1 - matched if u32(row + Row.COMPARE) == Compare.NE else matched


@native
def filter_match(env: int, table: int, record: int) -> int:
    """1 if the record passes (`filter_match_preds`)."""
    index = u64(table + 8)
    while index < DROP:
        row = table + FILTER_HEAD + index * Row.BYTES
        if row_matches(env, row, record):
            index = u32(row + Row.IF_TRUE)
        else:
            index = u32(row + Row.IF_FALSE)
    return 1 if index == PASS else 0
