"""Small text work in native code."""

from engine.jit.lang import local, native, put8, u8, udiv

__all__ = ["min_word", "put_decimal", "put_text"]


@native(inline=True)
def min_word(a: int, b: int) -> int:
    """The smaller of two non-negative words."""
    return a if a < b else b


@native
def put_decimal(to: int, value: int) -> int:
    """Write a non-negative number as text without NUL; returns the address after it."""
    digits = local(24)
    n = 0
    more = 1
    while more:
        next_value = udiv(value, 10)
        put8(digits + n, 48 + value - next_value * 10)
        n += 1
        value = next_value
        more = value != 0
    while n > 0:
        n -= 1
        put8(to, u8(digits + n))
        to += 1
    return to


@native
def put_text(to: int, text: int) -> int:
    """Copy a NUL-terminated text without its NUL; returns the address after it."""
    while u8(text) != 0:
        put8(to, u8(text))
        to += 1
        text += 1
    return to
