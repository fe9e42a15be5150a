"""Kernel objects made of a system call's arguments: struct filename, open_how, open_flags, loff_t.

Native. Each is made at most once a system call and lives in the thread's task slot until the next one.
Results are kernel aliases.
"""

from engine.jit.lang import native, put16, put32, put64, u8, u16, u64, uge
from engine.kernel.files import file_object
from engine.kernel.layout import ALIAS, NAME_BUFFER, File, Filename, OpenFlags, OpenHow, Slot
from engine.kernel.uaccess import user_read, user_string

__all__ = [
    "binprm_object",
    "file_position",
    "filename_is_empty",
    "filename_object",
    "is_error",
    "open_flags_object",
    "open_how_object",
    "position_object",
    "user_open_how_object",
]

_PATH_MAX = 4096
_MAX_ERRNO = 4095
_O_ACCMODE, _O_CREAT, _O_EXCL, _O_TRUNC, _O_APPEND = 0o3, 0o100, 0o200, 0o1000, 0o2000
_O_LARGEFILE, _O_DIRECTORY, _O_NOFOLLOW, _O_PATH = 0o100000, 0o200000, 0o400000, 0o10000000
_O_DSYNC, _SYNC_BIT, _TMPFILE_BIT = 0o10000, 0o4000000, 0o20000000
_VALID_OPEN_FLAGS = 0o37777703
_O_PATH_FLAGS = 0o12600000
_S_IALLUGO, _S_IFREG = 0o7777, 0o100000
_MAY_WRITE, _MAY_APPEND = 2, 8
_LOOKUP_FOLLOW, _LOOKUP_DIRECTORY = 1, 2
_LOOKUP_OPEN, _LOOKUP_CREATE, _LOOKUP_EXCL = 0x100, 0x200, 0x400


@native(inline=True)
def is_error(value: int) -> int:
    """Whether a word is a negative errno (IS_ERR_VALUE)."""
    return uge(value, -_MAX_ERRNO)


@native
def filename_object(env: int, slot: int, buffer: int, user: int) -> int:
    """struct filename of the path at `user`, in name buffer 0 or 1: its alias, -EFAULT or -ENAMETOOLONG."""
    made_for = slot + Slot.NAME_SERIAL + buffer * 8
    result = slot + Slot.NAME_RESULT + buffer * 8
    if u64(made_for) == u64(slot + Slot.CALL_SERIAL):
        return u64(result)
    put64(made_for, u64(slot + Slot.CALL_SERIAL))
    base = slot + Slot.NAMES + buffer * NAME_BUFFER
    length = user_string(env, base + Filename.INAME, user, _PATH_MAX)
    if length < 0:
        put64(result, length)
        return length
    put64(base + Filename.NAME, base + Filename.INAME + ALIAS)
    put64(base + Filename.UPTR, user)
    put32(base + Filename.REFCNT, 1)
    put64(base + Filename.ANAME, 0)
    put64(result, base + ALIAS)
    return base + ALIAS


@native
def filename_is_empty(slot: int, buffer: int) -> int:
    """Whether the path in that name buffer has no characters."""
    return u8(slot + Slot.NAMES + buffer * NAME_BUFFER + Filename.INAME) == 0


@native
def open_how_object(slot: int, flags: int, mode: int) -> int:
    """struct open_how as open(2) and openat(2) build it (build_open_how, fs/open.c)."""
    flags = (flags & _VALID_OPEN_FLAGS) | _O_LARGEFILE
    mode = mode & _S_IALLUGO
    if flags & _O_PATH:
        flags &= _O_PATH_FLAGS
    if not flags & (_O_CREAT | _TMPFILE_BIT):
        mode = 0
    how = slot + Slot.HOW
    put64(how + OpenHow.FLAGS, flags)
    put64(how + OpenHow.MODE, mode)
    put64(how + OpenHow.RESOLVE, 0)
    return how + ALIAS


@native
def user_open_how_object(env: int, slot: int, user: int) -> int:
    """struct open_how copied from the caller of openat2(2): its alias, or -EFAULT."""
    how = slot + Slot.HOW
    if user_read(env, how, user, 24) < 0:
        return -14
    if u64(how + OpenHow.FLAGS) & _O_PATH == 0:
        put64(how + OpenHow.FLAGS, u64(how + OpenHow.FLAGS) | _O_LARGEFILE)
    return how + ALIAS


@native
def open_flags_object(slot: int) -> int:
    """struct open_flags of the slot's open_how (build_open_flags, fs/open.c), resolve restrictions apart."""
    flags = u64(slot + Slot.HOW + OpenHow.FLAGS)
    if flags & _SYNC_BIT:
        flags |= _O_DSYNC
    op = slot + Slot.OPEN_FLAGS
    creates = flags & (_O_CREAT | _TMPFILE_BIT)
    access = 4 if flags & _O_ACCMODE == 0 else (2 if flags & _O_ACCMODE == 1 else 6)
    intent = _LOOKUP_OPEN
    if flags & _O_TRUNC:
        access |= _MAY_WRITE
    if flags & _O_APPEND:
        access |= _MAY_APPEND
    if flags & _O_PATH:
        access = 0
        intent = 0
    if flags & _O_CREAT:
        intent |= _LOOKUP_CREATE
        if flags & _O_EXCL:
            intent |= _LOOKUP_EXCL
            flags |= _O_NOFOLLOW
    put32(op + OpenFlags.OPEN_FLAG, flags)
    put32(op + OpenFlags.MODE, 0)
    put16(op + OpenFlags.MODE, u16(slot + Slot.HOW + OpenHow.MODE) | _S_IFREG if creates else 0)
    put32(op + OpenFlags.ACC_MODE, access)
    put32(op + OpenFlags.INTENT, intent)
    lookup = _LOOKUP_DIRECTORY if flags & _O_DIRECTORY else 0
    if not flags & _O_NOFOLLOW:
        lookup |= _LOOKUP_FOLLOW
    put32(op + OpenFlags.LOOKUP_FLAGS, lookup)
    return op + ALIAS


@native
def position_object(slot: int, index: int, value: int) -> int:
    """A loff_t of the caller's with that value."""
    put64(slot + Slot.POS + index * 8, value)
    return slot + Slot.POS + index * 8 + ALIAS


@native
def file_position(env: int, slot: int, fd: int) -> int:
    """f_pos of a descriptor's file."""
    file = file_object(env, slot, fd, 0)
    return 0 if is_error(file) else u64(file - ALIAS + File.F_POS)


@native
def binprm_object(slot: int, filename: int) -> int:
    """struct linux_binprm as far as execve's arguments make it: `filename` and `interp`."""
    name = u64(filename - ALIAS + Filename.NAME)
    bprm = slot + Slot.BPRM
    put64(bprm, name)
    put64(bprm + 8, name)
    return bprm + ALIAS
