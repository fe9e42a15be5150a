"""struct file, and what hangs on it, of a descriptor of the current thread: from /proc/TID, natively.

`file_object` fills one of the thread's file blocks with facts that the kernel tells without asking a
filesystem (fdinfo, the link's text, statx with AT_STATX_DONT_SYNC), so it can never wait for a file server.
"""

from engine.env import Env
from engine.jit.lang import (
    c_call,
    cstr,
    local,
    memcmp,
    memcpy,
    memset,
    native,
    put8,
    put32,
    put64,
    sext32,
    u8,
    u16,
    u32,
    u64,
    urem,
)
from engine.kernel.layout import (
    ALIAS,
    FILE_BLOCK_SIZE,
    FILE_BLOCKS,
    PATH_TEXT,
    File,
    FileBlock,
    Inode,
    Slot,
    SuperBlock,
)
from engine.kernel.paths import FMODE_READ, FMODE_WRITE, O_ACCMODE, connect_block, put_dentry, split_path
from engine.kernel.text import put_decimal, put_text

__all__ = ["fd_path", "file_block", "file_is_seekable", "file_object", "read_status_octal"]

_O_PATH = 0o10000000
_FMODE_PATH = 0x4000
_S_IFMT, _S_IFIFO, _S_IFSOCK = 0o170000, 0o010000, 0o140000
_S_IRUSR, _S_IWUSR = 0o400, 0o200
_READLINK_MAX = 4095
_DONT_SYNC, _NOFOLLOW, _BASIC_STATS, _AT_FDCWD = 0x4000, 0x100, 0x7FF, -100
_O_RDONLY_CLOEXEC = 0o2000000


class _Statx:
    """Offsets in struct statx (<linux/stat.h>)."""

    NLINK, UID, GID, MODE, INO, SIZE, BLOCKS = 16, 20, 24, 28, 32, 40, 48
    RDEV_MAJOR, RDEV_MINOR, DEV_MAJOR, DEV_MINOR = 128, 132, 136, 140


@native(inline=True)
def file_block(slot: int, fd: int) -> int:
    """Host address of the block that describes `fd`."""
    return slot + Slot.FILE_BLOCKS + urem(fd, FILE_BLOCKS) * FILE_BLOCK_SIZE


@native
def fd_path(env: int, to: int, kind: int, fd: int) -> int:
    """Write /proc/TID/KIND/FD with its NUL."""
    to = put_text(to, cstr("/proc/"))
    to = put_decimal(to, u64(env + Env.MEM_TID))
    to = put_text(to, kind)
    to = put_decimal(to, fd)
    put8(to, 0)
    return 0


@native
def _number_after(text: int, end: int, key: int, key_len: int, base_bits: int) -> int:
    """The number behind `key` in fdinfo text; base 8 with `base_bits` 3, else 10. 0 if the key is missing."""
    while text + key_len < end and memcmp(text, key, key_len) != 0:
        text += 1
    text += key_len
    value = 0
    while text < end and u8(text) - 48 >= 0 and u8(text) - 48 <= 9:
        value = (value << 3 if base_bits == 3 else value * 10) + u8(text) - 48
        text += 1
    return value


@native
def _read_fdinfo(env: int, block: int, fd: int) -> int:
    """Fill flags, mode and position of the file; -EBADF when the descriptor is closed."""
    path = local(64)
    fd_path(env, path, cstr("/fdinfo/"), fd)
    info = sext32(c_call("open", path, _O_RDONLY_CLOEXEC, 0))
    if info < 0:
        return -9
    text = local(1024)
    got = c_call("read", info, text, 1023)
    c_call("close", info)
    if got <= 0:
        return -9
    end = text + got
    flags = _number_after(text, end, cstr("flags:\t"), 7, 3)
    access = flags & O_ACCMODE
    mode = (FMODE_READ if access != 1 else 0) | (FMODE_WRITE if access != 0 else 0)
    if flags & _O_PATH:
        mode = _FMODE_PATH
    file = block + FileBlock.FILE
    put32(file + File.F_FLAGS, flags)
    put32(file + File.F_MODE, mode)
    put64(file + File.F_POS, _number_after(text, end, cstr("pos:\t"), 5, 10))
    put64(file + File.F_COUNT, 1)
    return 0


@native
def read_status_octal(env: int, key: int, key_len: int) -> int:
    """An octal number of /proc/TID/status, by the text before it."""
    path = local(64)
    to = put_text(path, cstr("/proc/"))
    to = put_decimal(to, u64(env + Env.MEM_TID))
    put8(put_text(to, cstr("/status")), 0)
    status = sext32(c_call("open", path, _O_RDONLY_CLOEXEC, 0))
    if status < 0:
        return 0
    text = local(1024)
    got = c_call("read", status, text, 1023)
    c_call("close", status)
    return _number_after(text, text + got, key, key_len, 3) if got > 0 else 0


@native
def _read_inode(env: int, block: int, link: int) -> int:
    """Fill inode and super_block from statx of the descriptor's link."""
    stat = local(256)
    memset(stat, 0, 256)
    c_call("statx", _AT_FDCWD, link, _DONT_SYNC, _BASIC_STATS, stat)
    inode = block + FileBlock.INODE
    put32(inode + Inode.I_MODE, u16(stat + _Statx.MODE))
    put32(inode + Inode.I_UID, u32(stat + _Statx.UID))
    put32(inode + Inode.I_GID, u32(stat + _Statx.GID))
    put32(inode + Inode.I_NLINK, u32(stat + _Statx.NLINK))
    put64(inode + Inode.I_SB, block + FileBlock.SUPER_BLOCK + ALIAS)
    put64(inode + Inode.I_INO, u64(stat + _Statx.INO))
    put64(inode + Inode.I_SIZE, u64(stat + _Statx.SIZE))
    put64(inode + Inode.I_BLOCKS, u64(stat + _Statx.BLOCKS))
    put32(inode + Inode.I_RDEV, u32(stat + _Statx.RDEV_MAJOR) << 20 | u32(stat + _Statx.RDEV_MINOR))
    device = u32(stat + _Statx.DEV_MAJOR) << 20 | u32(stat + _Statx.DEV_MINOR)
    put32(block + FileBlock.SUPER_BLOCK + SuperBlock.S_DEV, device)
    return 0


@native
def _read_path(env: int, block: int, link: int) -> int:
    """Dentries from the text of the descriptor's link; the file's own dentry, host address."""
    text = u64(env + Env.SCRATCH)
    got = c_call("readlink", link, text, _READLINK_MAX)
    if got > 10 and memcmp(text + got - 10, cstr(" (deleted)"), 10) == 0:
        got -= 10
    if got < 0:
        return put_dentry(block, 0, 0, block + FileBlock.TEXT, 0)
    keep = got if got < PATH_TEXT - 3 else PATH_TEXT - 3
    to = block + FileBlock.TEXT + 2
    memcpy(to, text + got - keep, keep)
    put8(to + keep, 0)
    if u8(text) == 47:
        if keep < got:
            while u8(to) != 0 and u8(to) != 47:
                to += 1
        return split_path(block, to)
    # A pipe or a socket has no name; an anonymous inode's is what stands behind the colon.
    anonymous = memcmp(text, cstr("anon_inode:"), 11) == 0
    return put_dentry(block, 0, 0, to + 11, keep - 11) if anonymous else put_dentry(block, 0, 0, to + keep, 0)


@native
def _link_mode(env: int, fd: int) -> int:
    """File mode bits that the descriptor's link shows; -EBADF when the descriptor is closed."""
    link = local(64)
    stat = local(256)
    fd_path(env, link, cstr("/fd/"), fd)
    if sext32(c_call("statx", _AT_FDCWD, link, _DONT_SYNC | _NOFOLLOW, _BASIC_STATS, stat)) < 0:
        return -9
    mode = u16(stat + _Statx.MODE)
    return (FMODE_READ if mode & _S_IRUSR else 0) | (FMODE_WRITE if mode & _S_IWUSR else 0)


@native
def _look(env: int, block: int, fd: int) -> int:
    """Only whether the descriptor is open, and how: 0 or -EBADF. The link of an O_PATH one grants nothing."""
    mode = _link_mode(env, fd)
    if mode < 0:
        return mode
    put32(block + FileBlock.FILE + File.F_MODE, mode if mode else _FMODE_PATH)
    return 0


@native
def _fill(env: int, block: int, fd: int) -> int:
    """All objects of the file: 0 or -EBADF."""
    if _read_fdinfo(env, block, fd) < 0:
        return -9
    link = local(64)
    fd_path(env, link, cstr("/fd/"), fd)
    _read_inode(env, block, link)
    connect_block(block, _read_path(env, block, link))
    return 0


@native
def file_object(env: int, slot: int, fd: int, any_mode: int) -> int:
    """struct file of descriptor `fd` of the current thread: its kernel alias, or -EBADF.

    A descriptor opened with O_PATH counts only if `any_mode` (fget against fget_raw). What the alias points
    to is filled unless `Env.LIGHT`.
    """
    fd = fd & 0xFFFFFFFF
    block = file_block(slot, fd)
    light = u64(env + Env.LIGHT) != 0
    known = u64(block + FileBlock.SERIAL) == u64(slot + Slot.SERIAL) and u64(block + FileBlock.FD) == fd + 1
    if not known or not (light or u64(block + FileBlock.FILLED)):
        put64(block + FileBlock.SERIAL, 0)
        if u64(env + Env.MEM_TID) == 0:
            return -9
        if (_look(env, block, fd) if light else _fill(env, block, fd)) < 0:
            return -9
        put64(block + FileBlock.FILLED, not light)
        put64(block + FileBlock.FD, fd + 1)
        put64(block + FileBlock.SERIAL, u64(slot + Slot.SERIAL))
    if not any_mode and u32(block + FileBlock.FILE + File.F_MODE) & _FMODE_PATH:
        return -9
    return block + FileBlock.FILE + ALIAS


@native
def file_is_seekable(env: int, slot: int, fd: int) -> int:
    """Whether the file that `file_object` just found takes positions: no pipe, no socket."""
    block = file_block(slot, fd & 0xFFFFFFFF)
    if not u64(block + FileBlock.FILLED):
        link = local(64)
        fd_path(env, link, cstr("/fd/"), fd & 0xFFFFFFFF)
        _read_inode(env, block, link)
    kind = u16(block + FileBlock.INODE + Inode.I_MODE) & _S_IFMT
    if kind == _S_IFIFO:
        return 0
    return kind != _S_IFSOCK
