"""Keys as bytes of any size: hashing and comparing them, a word at a time.

Both loops unroll when the size is a constant in the caller.
"""

from engine.jit.lang import native, u8, u16, u32, u64

__all__ = ["hash_key", "keys_equal"]

_MIX = 0x9E37_79B9_7F4A_7C15
_FINAL = 0xD6E8_FEB8_6659_FD93


@native(inline=True)
def hash_key(key: int, size: int, seed: int) -> int:
    """32-bit hash of `size` bytes at `key`: multiply and fold each word, high half of a last product."""
    state = seed
    at = key
    left = size
    while left >= 8:
        state = (state ^ u64(at)) * _MIX
        state ^= state >> 32
        at += 8
        left -= 8
    if left > 0:
        tail = left
        if left & 4:
            tail = u32(at)
            at += 4
        if left & 2:
            tail = (tail << 16) ^ u16(at)
            at += 2
        if left & 1:
            tail = (tail << 8) ^ u8(at)
        state = (state ^ tail) * _MIX
        state ^= state >> 32
    return (state * _FINAL) >> 32


@native(inline=True)
def keys_equal(a: int, b: int, size: int) -> int:
    """Whether `size` bytes at `a` and at `b` are the same."""
    at = 0
    while at + 8 <= size:
        if u64(a + at) != u64(b + at):
            return 0
        at += 8
    if size & 4:
        if u32(a + at) != u32(b + at):
            return 0
        at += 4
    if size & 2:
        if u16(a + at) != u16(b + at):
            return 0
        at += 2
    if size & 1:
        return u8(a + at) == u8(b + at)
    return 1
