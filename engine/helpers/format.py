"""Formatting as bpf_trace_printk and bpf_snprintf do (bpf_bprintf_prepare, then bstr_printf).

One pass does both jobs of the kernel's two: it refuses what `bpf_bprintf_prepare` refuses, and writes the
text. The kernel packs arguments into 512 bytes first, which cuts strings and gives -ENOSPC; the same room is
counted here.

    conversion  %[0 + -]*[width]  d i u x X, with l or ll;  c  s;  pks pus (kernel, user string)
                p (hashed)  px pK ps pS pB  pi4 pI4 pi6 pI6
"""

import errno

from engine.helpers.access import TASK_SIZE, host_of, read_kernel, read_kernel_string, read_user_string
from engine.helpers.digits import Flag, Out, emit, finish, put_number, put_text
from engine.helpers.pointers import put_ip, put_pointer, put_symbol
from engine.jit.lang import local, memset, native, put8, put64, sext32, u8, u64, ult, zext32

__all__ = ["MAX_BPRINTF_BUF", "bprintf"]

MAX_BPRINTF_BUF = 1024
"""Bytes of one formatted text with its NUL (include/linux/bpf.h)."""
_ROOM = 512
_MAX_WIDTH = (1 << 23) - 1
_EINVAL = -errno.EINVAL
_ENOSPC = -errno.ENOSPC
_PERCENT, _SPACE, _PLUS, _MINUS, _ZERO = (ord(c) for c in "% +-0")
_B, _I, _K, _S, _X = (ord(c) for c in "BIKSX")
_c, _d, _i, _k, _l, _p, _s, _u, _x = (ord(c) for c in "cdiklpsux")


@native
def _is_space(c: int) -> int:
    """isspace, of ASCII."""
    return 9 <= c <= 13 or c == _SPACE


@native
def _ends_word(c: int) -> int:
    """Whether `c` may follow %s or a bare %p: the end, a space or punctuation."""
    if c == 0 or _is_space(c):
        return 1
    return 33 <= c <= 47 or 58 <= c <= 64 or 91 <= c <= 96 or 123 <= c <= 126


@native
def _skip_word(fmt: int) -> int:
    """The first address from `fmt` on that is no letter or digit: bstr_printf drops those after a %p."""
    at = fmt
    while u8(at) != 0 and not _ends_word(u8(at)):
        at += 1
    return at


@native
def _width(out: int, fmt: int) -> int:
    """Read flags and width of a conversion; the address of what follows."""
    at = fmt
    flags = 0
    c = u8(at)
    while c in (_ZERO, _PLUS, _MINUS, _SPACE):
        if c == _ZERO:
            flags |= Flag.ZERO
        elif c == _PLUS:
            flags |= Flag.PLUS
        elif c == _MINUS:
            flags |= Flag.LEFT
        else:
            flags |= Flag.SPACE
        at += 1
        c = u8(at)
    width = 0
    while 48 <= c <= 57:
        width = width * 10 + c - 48
        width = width if width < _MAX_WIDTH else _MAX_WIDTH
        at += 1
        c = u8(at)
    put64(out + Out.FLAGS, flags)
    put64(out + Out.WIDTH, width)
    return at


@native
def _take_room(out: int, size: int) -> int:
    """Account for an argument of `size` bytes: 0 or -ENOSPC."""
    at = (u64(out + Out.ROOM) + 3) & ~3
    if at + size > _ROOM:
        return _ENOSPC
    put64(out + Out.ROOM, at + size)
    return 0


@native
def _string(env: int, out: int, address: int, kind: int, plain: int) -> int:
    """A string argument: `s` (either half), `k` or `u`. Only `plain` %s minds the width. 0 or -ENOSPC."""
    room = _ROOM - u64(out + Out.ROOM)
    if room <= 0:
        return _ENOSPC
    text = local(512)
    user = 1 if kind == _u else 0
    if kind == _s:
        user = ult(address, TASK_SIZE) and host_of(env, address, 1) < 0
    if user:
        length = read_user_string(env, text, address, room)
    else:
        length = read_kernel_string(env, text, address, room)
    if length < 0:
        length = 1
    put64(out + Out.ROOM, u64(out + Out.ROOM) + length)
    if plain:
        return put_text(out, text, length - 1)
    # bstr_printf copies what was a %p as it is, and where the text is cut already, not at all.
    put64(out + Out.WIDTH, 0)
    if ult(u64(out + Out.LENGTH), u64(out + Out.SIZE)):
        put_text(out, text, length - 1)
    return 0


@native
def _address_of_ip(env: int, out: int, address: int, style: int, version: int) -> int:
    """%pI4 and its kin: 0 or -ENOSPC."""
    size = 4 if version == 52 else 16
    if u64(out + Out.ROOM) + size > _ROOM:
        return _ENOSPC
    raw = local(16)
    if read_kernel(env, raw, address, size) < 0:
        memset(raw, 0, size)
    before = u64(out + Out.LENGTH)
    put_ip(out, raw, version, style == _I)
    put64(out + Out.ROOM, u64(out + Out.ROOM) + u64(out + Out.LENGTH) - before + 1)
    return 0


@native
def _pointer(env: int, out: int, at: int, arg: int) -> int:
    """A conversion that begins with %p, at its `p`: address of what follows, or an error."""
    first = u8(at + 1)
    second = 0 if first == 0 else u8(at + 2)
    if _ends_word(first):
        error = _take_room(out, 8)
        put_pointer(out, arg, 1)
    elif second == _s and (first in (_k, _u)):
        if not _ends_word(u8(at + 3)):
            return _EINVAL
        error = _string(env, out, arg, first, 0)
    elif first in (_x, _K):
        error = _take_room(out, 8)
        put_pointer(out, arg, first == _K)
    elif first in (_s, _S, _B):
        error = _take_room(out, 8)
        put_symbol(env, out, arg, first)
    elif (first in (_i, _I)) and (second == 52 or second == 54):
        error = _address_of_ip(env, out, arg, first, second)
    else:
        return _EINVAL
    return error if error < 0 else _skip_word(at + 1)


@native
def _number(out: int, at: int, arg: int) -> int:
    """An integer conversion, at its length or letter: address of what follows, or an error."""
    long = 0
    if u8(at) == _l:
        long = 1
        at += 1
        if u8(at) == _l:
            at += 1
    c = u8(at)
    if c not in (_d, _i, _u, _x, _X):
        return _EINVAL
    error = _take_room(out, 8 if long else 4)
    if error < 0:
        return error
    value = arg if long else zext32(arg)
    if c in (_x, _X):
        flags = u64(out + Out.FLAGS) & ~(Flag.PLUS | Flag.SPACE)
        put64(out + Out.FLAGS, flags | (Flag.UPPER if c == _X else 0))
        put_number(out, value, 0, 16)
    elif c == _u:
        put64(out + Out.FLAGS, u64(out + Out.FLAGS) & ~(Flag.PLUS | Flag.SPACE))
        put_number(out, value, 0, 10)
    else:
        signed = value if long else sext32(value)
        put_number(out, -signed if signed < 0 else signed, signed < 0, 10)
    return at + 1


@native
def _conversion(env: int, out: int, fmt: int, arg: int) -> int:
    """One conversion, after its percent sign: address of what follows, or an error."""
    at = _width(out, fmt)
    c = u8(at)
    if c == _p:
        return _pointer(env, out, at, arg)
    if c == _s:
        if not _ends_word(u8(at + 1)):
            return _EINVAL
        error = _string(env, out, arg, _s, 1)
        return error if error < 0 else at + 1
    if c == _c:
        if u64(out + Out.ROOM) >= _ROOM:
            return _ENOSPC
        put64(out + Out.ROOM, u64(out + Out.ROOM) + 1)
        letter = local(8)
        put8(letter, arg)
        put_text(out, letter, 1)
        return at + 1
    return _number(out, at, arg)


@native
def bprintf(env: int, to: int, size: int, fmt: int, fmt_size: int, args: int, count: int) -> int:
    """Format `count` u64 arguments at `args` into `size` bytes at `to`, NUL and all.

    Length of the whole text without NUL, also where it was cut. -EINVAL: no NUL in `fmt_size` bytes of
    format, a conversion that is not known, or fewer arguments than conversions; -ENOSPC: too much at once.
    """
    out = local(64)
    memset(out, 0, 64)
    put64(out + Out.BASE, to)
    put64(out + Out.SIZE, size)
    used = 0
    at = fmt
    while 1:
        if not ult(at - fmt, fmt_size):
            return _EINVAL
        c = u8(at)
        if c == 0:
            return finish(out)
        if not (_SPACE <= c <= 126 or 9 <= c <= 13):
            return _EINVAL
        if c != _PERCENT or u8(at + 1) == _PERCENT:
            emit(out, c)
            at += 1 + (c == _PERCENT)
        else:
            if used >= count:
                return _EINVAL
            at = _conversion(env, out, at + 1, u64(args + used * 8))
            if at < 0:
                return at
            used += 1
