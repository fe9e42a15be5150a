"""What /proc tells about a thread, read natively: identity from `status`, name from `comm`, CPU from `stat`.

Numbers are as the daemon's own pid and user namespaces show them, except NSPID and NSTGID, which are as the
thread itself sees them.
"""

from enum import IntEnum

from engine.jit.lang import (
    c_call,
    cstr,
    local,
    memcpy,
    memset,
    native,
    put8,
    put32,
    sext32,
    strnlen,
    u8,
    u32,
    u64,
    udiv,
    urem,
)
from engine.tracees.state import Flag, Rec, St

__all__ = [
    "TEXT_SIZE",
    "Stat",
    "exec_name",
    "is_ignored",
    "read_comm",
    "read_identity",
    "stat_field",
    "tracer_of",
]

TEXT_SIZE = 3072
_O_CLOEXEC = 0o2000000
_COMM_LEN = 16
_AT_EXECFN = 31
_NEWLINE, _TAB, _SPACE, _SLASH, _ZERO, _NINE, _CLOSE, _A = b"\n\t /09)a"
# The first four bytes of those lines of /proc/PID/status that are looked at.
_TGID, _PPID, _UID, _GID, _NSTGID, _NSPID, _TRACER = (
    int.from_bytes(name, "little") for name in (b"Tgid", b"PPid", b"Uid:", b"Gid:", b"NStg", b"NSpi", b"Trac")
)
# "SigIgn:\t" and "SigCgt:\t" in two words each.
_SIGI, _SIGC, _IGN, _CGT = (int.from_bytes(s, "little") for s in (b"SigI", b"SigC", b"gn:\t", b"gt:\t"))
_IGNORED_BY_DEFAULT = sum(1 << signal - 1 for signal in (17, 18, 23, 28))
"""SIGCHLD, SIGCONT, SIGURG and SIGWINCH, as /proc/PID/status shows a signal set."""


class Stat(IntEnum):
    """Fields of /proc/PID/stat, by the spaces between the `)` that ends the name and the field."""

    STARTTIME = 20
    PROCESSOR = 37


@native
def _put_decimal(at: int, number: int) -> int:
    """Write `number` at `at`; returns the address after it."""
    digits = local(24)
    count = 0
    while count == 0 or number:
        put8(digits + count, _ZERO + urem(number, 10))
        number = udiv(number, 10)
        count += 1
    for i in range(count):
        put8(at + i, u8(digits + count - 1 - i))
    return at + count


@native
def _read(st: int, tid: int, name: int) -> int:
    """Read /proc/TID/NAME into St.TEXT, NUL-terminated; its length, 0 when there is nothing."""
    path = st + St.PATH
    memcpy(path, cstr("/proc/"), 6)
    end = _put_decimal(path + 6, tid)
    put8(end, _SLASH)
    memcpy(end + 1, name, strnlen(name, 16) + 1)
    got = 0
    fd = sext32(c_call("open", path, _O_CLOEXEC, 0))
    if fd >= 0:
        got = c_call("read", fd, st + St.TEXT, TEXT_SIZE - 1)
        c_call("close", fd)
        got = got if got > 0 else 0
    put8(st + St.TEXT + got, 0)
    return got


@native
def _number(at: int) -> int:
    """The decimal number at `at`, after any blanks."""
    while u8(at) == _TAB or u8(at) == _SPACE:
        at += 1
    value = 0
    while u8(at) >= _ZERO and u8(at) <= _NINE:
        value = value * 10 + u8(at) - _ZERO
        at += 1
    return value


@native
def _last_number(at: int) -> int:
    """The last decimal number of the line that `at` is in."""
    value = 0
    while u8(at) and u8(at) != _NEWLINE:
        if u8(at) >= _ZERO and u8(at) <= _NINE and (u8(at - 1) == _TAB or u8(at - 1) == _SPACE):
            value = _number(at)
        at += 1
    return value


@native(inline=True)
def _next_line(at: int) -> int:
    """Start of the line after the one that `at` is in, or the end of the text."""
    while u8(at) and u8(at) != _NEWLINE:
        at += 1
    return at + 1 if u8(at) else at


@native(inline=True)
def _next_field(at: int) -> int:
    """Where the next tab or the end of the text is."""
    while u8(at) and u8(at) != _TAB:
        at += 1
    return at


@native
def read_identity(st: int, rec: int) -> int:
    """Fill in TGID, PPID, real and effective UID and GID, and namespace ids."""
    at = st + St.TEXT
    if _read(st, u32(rec + Rec.TID), cstr("status")) == 0:
        return 0
    while u8(at):
        word = u32(at)
        if word == _TGID:
            put32(rec + Rec.TGID, _number(at + 5))
        elif word == _UID:
            put32(rec + Rec.UID, _number(at + 4))
            put32(rec + Rec.EUID, _number(_next_field(at + 5)))
        elif word == _GID:
            put32(rec + Rec.GID, _number(at + 4))
            put32(rec + Rec.EGID, _number(_next_field(at + 5)))
        elif word == _PPID:
            put32(rec + Rec.PPID, _number(at + 5))
        elif word == _NSTGID:
            put32(rec + Rec.NSTGID, _last_number(at + 7))
        elif word == _NSPID:
            put32(rec + Rec.NSPID, _last_number(at + 6))
        at = _next_line(at)
    put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) | Flag.KNOWN)
    return 0


@native
def tracer_of(st: int, tid: int) -> int:
    """Thread that traces `tid`; 0 for none, or when it is gone."""
    at = st + St.TEXT
    _read(st, tid, cstr("status"))
    while u8(at):
        if u32(at) == _TRACER:
            return _number(at + 10)
        at = _next_line(at)
    return 0


@native
def _hex(at: int) -> int:
    """The hexadecimal number, lower case, at `at`."""
    value = 0
    while u8(at) > _SPACE:
        value = (value << 4) + (u8(at) - _ZERO if u8(at) <= _NINE else u8(at) - _A + 10)
        at += 1
    return value


@native
def is_ignored(st: int, tid: int, signal: int) -> int:
    """Whether `signal` does nothing to thread `tid`: ignored, or not caught and ignored by default."""
    at = st + St.TEXT
    ignored = 0
    caught = 0
    _read(st, tid, cstr("status"))
    while u8(at):
        if u32(at) == _SIGI and u32(at + 4) == _IGN:
            ignored = _hex(at + 8)
        elif u32(at) == _SIGC and u32(at + 4) == _CGT:
            caught = _hex(at + 8)
        at = _next_line(at)
    return ((ignored | _IGNORED_BY_DEFAULT & ~caught) >> (signal - 1)) & 1


@native
def exec_name(st: int, tid: int) -> int:
    """User address of the path that thread `tid` has executed (AT_EXECFN); 0 if it is not known."""
    got = _read(st, tid, cstr("auxv"))
    for i in range(got >> 4):
        if u64(st + St.TEXT + i * 16) == _AT_EXECFN:
            return u64(st + St.TEXT + i * 16 + 8)
    return 0


@native
def read_comm(st: int, rec: int) -> int:
    """Fill in COMM; an unreadable name stays what it was."""
    got = _read(st, u32(rec + Rec.TID), cstr("comm"))
    if got:
        memset(rec + Rec.COMM, 0, _COMM_LEN)
        # The file ends in a newline, and a name has at most 15 bytes.
        memcpy(rec + Rec.COMM, st + St.TEXT, got - 1 if got <= _COMM_LEN else _COMM_LEN - 1)
    return 0


@native
def stat_field(st: int, tid: int, field: int) -> int:
    """A number of /proc/TID/stat, by `Stat`; -1 when the thread is gone."""
    at = st + St.TEXT
    end = at + _read(st, tid, cstr("stat"))
    while end > at and u8(end) != _CLOSE:
        end -= 1
    spaces = 0
    while u8(end) and spaces < field:
        spaces += u8(end) == _SPACE
        end += 1
    return _number(end) if u8(end) else -1
