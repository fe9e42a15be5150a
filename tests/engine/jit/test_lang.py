"""The native language: what it computes, what it refuses, that it needs no GIL."""

import ctypes
import enum
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.jit.lang import (
    Native,
    address_of,
    atomic_add64,
    bswap32,
    c_call,
    call,
    cas64,
    clz64,
    cstr,
    local,
    memcmp,
    memcpy,
    native,
    put8,
    put32,
    put64,
    rotl32,
    s8,
    s32,
    sext32,
    u8,
    u32,
    u64,
    udiv,
    ult,
    urem,
    xchg64,
)

WORDS = st.integers(-(1 << 63), (1 << 63) - 1)
LIMIT = 5


class Field(enum.IntEnum):
    """Constants by attribute."""

    SECOND = 8


@native(inline=True)
def _twice(x: int) -> int:
    return x + x


@native
def _arithmetic(a: int, b: int) -> int:
    return (a + b) * 3 - (a & b) + (a | b) ^ (a << 3) + (b >> 60) + ~a - -b


@native
def _logic(a: int, b: int) -> int:
    if a < 0 and not (b < 0 or a == b):
        return 1
    elif ult(a, b):
        return 2 if a != 7 else 3
    return 0 < b < 10


@native
def _loops(n: int) -> int:
    total = 0
    for i in range(1, n, 2):
        if i == 5:
            continue
        if i > 20:
            break
        total += i
    while 1:
        total += 1
        if total >= LIMIT:
            break
    return total


@native
def _memory(p: int) -> int:
    put64(p, -2)
    put32(p + Field.SECOND, 0x80000001)
    put8(p + 12, 0xFF)
    return s32(p + 8) + u32(p + 8) + s8(p + 12) + u8(p + 12) + (u64(p) == -2)


@native
def _calls(n: int) -> int:
    buffer = local(16)
    memcpy(buffer, cstr("hello"), 6)
    same = memcmp(buffer, cstr("hello"), 6) == 0
    return call(address_of(_loops), n) * 10 + _twice(same) + sext32(c_call("abs", -3))


@native
def _spin_until(p: int, value: int) -> int:
    turns = 0
    while u64(p) != value:
        turns += 1
        c_call("sched_yield")
    return turns >= 0


def _word(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


@given(WORDS, WORDS)
def test_arithmetic_is_that_of_words(a: int, b: int) -> None:
    logical = (b & (1 << 64) - 1) >> 60
    expected = (a + b) * 3 - (a & b) + (a | b) ^ (a << 3) + logical + ~a - -b
    assert _arithmetic(a, b) == _word(expected)


@given(WORDS, WORDS)
def test_logic_compares_signed_and_shortcuts(a: int, b: int) -> None:
    if a < 0 and not (b < 0 or a == b):
        expected = 1
    elif a & (1 << 64) - 1 < b & (1 << 64) - 1:
        expected = 2 if a != 7 else 3
    else:
        expected = int(0 < b < 10)
    assert _logic(a, b) == expected


@pytest.mark.parametrize(("n", "expected"), [(0, 5), (4, 5), (8, 12), (100, 96)])
def test_loops(n: int, expected: int) -> None:
    assert _loops(n) == expected


def test_memory_words() -> None:
    buffer = ctypes.create_string_buffer(16)
    expected = -0x7FFFFFFF + 0x80000001 - 1 + 255 + 1
    assert _memory(ctypes.addressof(buffer)) == expected


def test_calls_direct_indirect_inline_and_c() -> None:
    assert _calls(8) == 120 + 2 + 3


@given(WORDS, WORDS.filter(bool))
def test_unsigned_division(a: int, b: int) -> None:
    ua, ub = a & (1 << 64) - 1, b & (1 << 64) - 1
    assert udiv(a, b) == _word(ua // ub)
    assert urem(a, b) == _word(ua % ub)


def test_bit_words() -> None:
    assert bswap32(0x11223344) == 0x44332211
    assert rotl32(0x80000001, 1) == 3
    assert clz64(1) == 63
    assert sext32(0xFFFFFFFF) == -1


def test_atomics_give_the_old_value() -> None:
    cell = ctypes.c_int64(5)
    where = ctypes.addressof(cell)
    assert [atomic_add64(where, 2), cas64(where, 7, 9), cas64(where, 7, 1), xchg64(where, 4)] == [5, 7, 9, 9]
    assert cell.value == 4


def test_runs_without_the_gil() -> None:
    cell = ctypes.c_int64(0)
    done: list[int] = []
    waiter = threading.Thread(target=lambda: done.append(_spin_until(ctypes.addressof(cell), 1)))
    waiter.start()
    cell.value = 1
    waiter.join(30)
    assert done == [1]


@native
def _no_such_name(a: int) -> int:
    return a + undefined_name  # noqa: F821


@native
def _division(a: int) -> int:
    return a // 2


@native
def _wrong_arity(a: int) -> int:
    return _twice(a, a)


@native
def _dead(a: int) -> int:
    return a
    a += 1
    return a


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (_no_such_name, "undefined_name is neither"),
        (_division, "FloorDiv is not in the native language"),
        (_wrong_arity, "takes 1 arguments"),
        (_dead, "unreachable"),
    ],
)
def test_what_is_not_in_the_language_is_refused_with_its_place(function: Native, why: str) -> None:
    with pytest.raises(SyntaxError, match=rf"test_lang\.py:\d+: .*{why}"):
        function.address  # noqa: B018
