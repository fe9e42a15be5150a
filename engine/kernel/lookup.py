"""Where a path argument leads: the dentry of `dfd` and path, and its directory's inode, made natively.

The path is completed from /proc/TID/cwd or the descriptor's link and tidied as text; symbolic links in it are
taken as names. What only the file itself could tell (its inode number) is zero.
"""

from engine.env import Env
from engine.jit.lang import c_call, cstr, memcpy, memset, native, put8, put32, put64, sext32, u8, u32, u64
from engine.kernel.files import fd_path, read_status_octal
from engine.kernel.layout import (
    ALIAS,
    FILE_BLOCK_SIZE,
    FILE_BLOCKS,
    NAME_BUFFER,
    File,
    FileBlock,
    Filename,
    RenameData,
    Slot,
)
from engine.kernel.paths import path_file_object
from engine.kernel.text import put_decimal, put_text

__all__ = [
    "apply_umask",
    "looked_up_dentry",
    "looked_up_directory",
    "put_rename_data",
    "rename_data_object",
    "tidy_path",
]

_AT_FDCWD = -100
_NR_RENAME, _NR_RENAMEAT2 = 82, 316
_READLINK_MAX = 4000
_BLOCK = FILE_BLOCKS - 2
"""First of the two file blocks that hold looked-up paths, one for each name buffer."""


@native
def _start(env: int, to: int, dfd: int) -> int:
    """Write the directory that a relative path begins at; returns the address after it."""
    link = to + _READLINK_MAX
    if sext32(dfd) == _AT_FDCWD:
        end = put_text(link, cstr("/proc/"))
        end = put_decimal(end, u64(env + Env.MEM_TID))
        put8(put_text(end, cstr("/cwd")), 0)
    else:
        fd_path(env, link, cstr("/fd/"), dfd & 0xFFFFFFFF)
    got = c_call("readlink", link, to, _READLINK_MAX)
    return to + got if got > 0 else to


@native
def _is_dots(name: int, length: int) -> int:
    """1 for `.` or nothing, 2 for `..`, else 0."""
    if length == 0:
        return 1
    if u8(name) != 46 or length > 2:
        return 0
    if length == 1:
        return 1
    return 2 if u8(name + 1) == 46 else 0


@native
def tidy_path(path: int) -> int:
    """Take empty names, `.` and `..` out of an absolute path, in place."""
    to = path
    at = path
    while u8(at) != 0:
        name = at + 1
        at = name
        while u8(at) != 0 and u8(at) != 47:
            at += 1
        dots = _is_dots(name, at - name)
        if dots == 0:
            put8(to, 47)
            for i in range(at - name):
                put8(to + 1 + i, u8(name + i))
            to += 1 + at - name
        elif dots == 2 and to > path:
            to -= 1
            while u8(to) != 47:
                to -= 1
    if to == path:
        put8(to, 47)
        to += 1
    put8(to, 0)
    return to - path


@native
def _look_up(env: int, slot: int, buffer: int, dfd: int) -> int:
    """The file block of the path in a name buffer, seen from `dfd`; host address."""
    text = slot + Slot.NAMES + buffer * NAME_BUFFER + Filename.INAME
    path = u64(env + Env.SCRATCH)
    to = path
    if u8(text) != 47:
        to = _start(env, path, dfd)
        put8(to, 47)
        to += 1
    length = c_call("strlen", text)
    memcpy(to, text, length + 1)
    tidy_path(path)
    index = _BLOCK + buffer
    path_file_object(slot, index, path, 0, 0)
    return slot + Slot.FILE_BLOCKS + index * FILE_BLOCK_SIZE


@native
def looked_up_dentry(env: int, slot: int, buffer: int, dfd: int) -> int:
    """struct dentry of the path: its kernel alias."""
    return u64(_look_up(env, slot, buffer, dfd) + FileBlock.FILE + File.F_PATH_DENTRY)


@native
def looked_up_directory(env: int, slot: int, buffer: int, dfd: int) -> int:
    """struct inode of the directory that the path lies in: its kernel alias."""
    return _look_up(env, slot, buffer, dfd) + FileBlock.DIR_INODE + ALIAS


@native
def apply_umask(env: int, mode: int) -> int:
    """`mode` without the bits of the thread's file creation mask."""
    return mode & ~read_status_octal(env, cstr("Umask:\t"), 7)


@native
def put_rename_data(slot: int, old: int, new: int, flags: int) -> int:
    """struct renamedata of two file blocks that hold looked-up paths: its kernel alias."""
    data = slot + Slot.LOCALS
    memset(data, 0, 64)
    put64(data + RenameData.OLD_MNT_USERNS, slot + Slot.USER_NS + ALIAS)
    put64(data + RenameData.OLD_DIR, old + FileBlock.DIR_INODE + ALIAS)
    put64(data + RenameData.OLD_DENTRY, u64(old + FileBlock.FILE + File.F_PATH_DENTRY))
    put64(data + RenameData.NEW_MNT_USERNS, slot + Slot.USER_NS + ALIAS)
    put64(data + RenameData.NEW_DIR, new + FileBlock.DIR_INODE + ALIAS)
    put64(data + RenameData.NEW_DENTRY, u64(new + FileBlock.FILE + File.F_PATH_DENTRY))
    put32(data + RenameData.FLAGS, flags)
    return data + ALIAS


@native
def rename_data_object(env: int, slot: int) -> int:
    """struct renamedata of the running rename, renameat or renameat2, whose paths a guard has read."""
    regs = slot + Slot.REGS
    nr = u32(slot + Slot.SYSCALL_NR)
    old_dfd = _AT_FDCWD
    new_dfd = _AT_FDCWD
    if nr != _NR_RENAME:
        old_dfd = u64(regs + 112)
        new_dfd = u64(regs + 96)
    flags = u64(regs + 72) if nr == _NR_RENAMEAT2 else 0
    old = _look_up(env, slot, 0, old_dfd)
    new = _look_up(env, slot, 1, new_dfd)
    return put_rename_data(slot, old, new, flags)
