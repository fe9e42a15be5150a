"""Helpers on strings: strncmp, strtol, strtoul, snprintf (kernel/bpf/helpers.c)."""

import errno

from engine.abi.bpf import FuncId
from engine.helpers.format import bprintf
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import native, put64, u8, udiv, uge, ugt

__all__ = ["snprintf", "strncmp", "strtol", "strtoul"]

_EINVAL = -errno.EINVAL
_ERANGE = -errno.ERANGE
_MINUS = ord("-")
_S64_MAX = (1 << 63) - 1
_U64_MAX = (1 << 64) - 1
_MAX_VARARGS = 12
_NUMBER_ARGS = (Arg.PTR_TO_MEM, Arg.CONST_SIZE, Arg.ANYTHING, Arg.PTR_TO_LONG)


@helper(
    Proto(
        FuncId.strncmp,
        "bpf_strncmp",
        Ret.INTEGER,
        (Arg.PTR_TO_MEM, Arg.CONST_SIZE, Arg.PTR_TO_CONST_STR),
    )
)
@native
def strncmp(env: int, first: int, size: int, second: int) -> int:
    """Compare as strncmp in the kernel: -1, 0 or 1."""
    for i in range(size):
        a = u8(first + i)
        b = u8(second + i)
        if a != b:
            return -1 if a < b else 1
        if a == 0:
            return 0
    return 0


@native
def _is_space(c: int) -> int:
    """isspace of lib/ctype.c: HT to CR, space, no-break space."""
    return 9 <= c <= 13 or c == 32 or c == 160


@native
def _digit(c: int) -> int:
    """Value of a digit in any base up to 16; 255 for none."""
    if 48 <= c <= 57:
        return c - 48
    lower = c | 32
    if 97 <= lower <= 102:
        return lower - 87
    return 255


@native
def _parse(text: int, size: int, flags: int, out: int, signed: int) -> int:
    """`__bpf_strtoull` and its callers: bytes used, or -EINVAL, -ERANGE. The number goes to `out`."""
    base = flags & 0x1F
    if flags & ~0x1F or (base != 0 and base != 8 and base != 10 and base != 16):
        return _EINVAL
    at = 0
    while at < size and _is_space(u8(text + at)):
        at += 1
    negative = 0
    if at < size and u8(text + at) == _MINUS:
        negative = 1
        at += 1
    if at >= size:
        return _EINVAL
    if u8(text + at) == 48:
        marked = at + 1 < size and (u8(text + at + 1) | 32) == 120
        if base == 0:
            base = 16 if marked and at + 2 < size and _digit(u8(text + at + 2)) < 16 else 8
        if base == 16 and marked:
            at += 2
    elif base == 0:
        base = 10
    number = 0
    digits = 0
    while at < size and _digit(u8(text + at)) < base:
        d = _digit(u8(text + at))
        if ugt(number, udiv(_U64_MAX - d, base)):
            return _ERANGE
        number = number * base + d
        at += 1
        digits += 1
    if digits == 0:
        return _EINVAL
    if signed:
        if ugt(number, _S64_MAX + negative):
            return _ERANGE
        number = -number if negative else number
    elif negative:
        return _EINVAL
    put64(out, number)
    return at


@helper(Proto(FuncId.strtol, "bpf_strtol", Ret.INTEGER, _NUMBER_ARGS))
@native
def strtol(env: int, text: int, size: int, flags: int, out: int) -> int:
    """Parse a signed number in base `flags` (0, 8, 10, 16); bytes used. -EINVAL, -ERANGE."""
    put64(out, 0)
    return _parse(text, size, flags, out, 1)


@helper(Proto(FuncId.strtoul, "bpf_strtoul", Ret.INTEGER, _NUMBER_ARGS))
@native
def strtoul(env: int, text: int, size: int, flags: int, out: int) -> int:
    """Parse an unsigned number in base `flags` (0, 8, 10, 16); bytes used. -EINVAL, -ERANGE."""
    put64(out, 0)
    return _parse(text, size, flags, out, 0)


@helper(
    Proto(
        FuncId.snprintf,
        "bpf_snprintf",
        Ret.INTEGER,
        (
            Arg.UNINIT_MEM,
            Arg.CONST_SIZE_OR_ZERO,
            Arg.PTR_TO_CONST_STR,
            Arg.PTR_TO_MEM_OR_NULL,
            Arg.CONST_SIZE_OR_ZERO,
        ),
        gpl_only=True,
    )
)
@native
def snprintf(env: int, out: int, size: int, fmt: int, args: int, args_size: int) -> int:
    """Format into `out`; length of the whole text with its NUL, even where it was cut. -EINVAL."""
    if args_size & 7 or uge(args_size, _MAX_VARARGS * 8 + 1) or (args_size != 0 and args == 0):
        return _EINVAL
    # Nothing is written when the format is refused: a first pass with no room finds out.
    length = bprintf(env, 0, 0, fmt, 0xFFFF_FFFF, args, args_size >> 3)
    if length < 0:
        return length
    return bprintf(env, out, size, fmt, 0xFFFF_FFFF, args, args_size >> 3) + 1
