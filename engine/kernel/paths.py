"""Dentries of a path, and struct file of a path alone, made natively in a file block.

A chain of d_parent has at most MAX_DENTRIES links: of a deeper or longer path the beginning is left out.
"""

from engine.jit.lang import memcpy, memset, native, put8, put32, put64, strnlen, u8, u64
from engine.kernel.layout import (
    ALIAS,
    FILE_BLOCK_SIZE,
    MAX_DENTRIES,
    PATH_TEXT,
    Dentry,
    File,
    FileBlock,
    Inode,
    Slot,
    SuperBlock,
    VfsMount,
)

__all__ = [
    "FMODE_READ",
    "FMODE_WRITE",
    "O_ACCMODE",
    "connect_block",
    "path_file_object",
    "put_dentry",
    "split_path",
]

O_ACCMODE = 3
FMODE_READ, FMODE_WRITE = 1, 2
_LONGEST = 16384


@native
def put_dentry(block: int, index: int, parent: int, name: int, length: int) -> int:
    """Dentry number `index` (the last one is the file's own); returns its host address."""
    dentry = block + FileBlock.DENTRIES + index * Dentry.SIZE
    put32(dentry + Dentry.D_FLAGS, 0)
    put64(dentry + Dentry.D_PARENT, (parent if parent != 0 else dentry) + ALIAS)
    put32(dentry + Dentry.D_NAME_HASH, 0)
    put32(dentry + Dentry.D_NAME_LEN, length)
    put64(dentry + Dentry.D_NAME_NAME, name + ALIAS)
    put64(dentry + Dentry.D_INODE, 0)
    put64(dentry + Dentry.D_SB, block + FileBlock.SUPER_BLOCK + ALIAS)
    return dentry


@native
def _components(text: int) -> int:
    """How many names a path that begins with / has."""
    count = 0
    while u8(text) != 0:
        if u8(text) == 47 and u8(text + 1) != 0:
            count += 1
        text += 1
    return count


@native
def split_path(block: int, text: int) -> int:
    """Dentries of the absolute path at `text`, whose slashes become NULs; the last one's host address."""
    skip = _components(text) - (MAX_DENTRIES - 1)
    while skip > 0:
        text += 1
        while u8(text) != 47:
            text += 1
        skip -= 1
    root = block + FileBlock.TEXT
    put8(root, 47)
    put8(root + 1, 0)
    dentry = put_dentry(block, 0, 0, root, 1)
    index = 1
    more = u8(text) == 47 and u8(text + 1) != 0
    while more:
        name = text + 1
        text = name
        while u8(text) != 0 and u8(text) != 47:
            text += 1
        more = u8(text) != 0
        put8(text, 0)
        dentry = put_dentry(block, index, dentry, name, text - name)
        index += 1
    return dentry


@native
def connect_block(block: int, dentry: int) -> int:
    """Point the parts of a file block at each other; `dentry` is the file's own."""
    put64(dentry + Dentry.D_INODE, block + FileBlock.INODE + ALIAS)
    file = block + FileBlock.FILE
    put64(file + File.F_PATH_MNT, block + FileBlock.VFSMOUNT + ALIAS)
    put64(file + File.F_PATH_DENTRY, dentry + ALIAS)
    put64(file + File.F_INODE, block + FileBlock.INODE + ALIAS)
    root = block + FileBlock.DENTRIES + ALIAS
    put64(block + FileBlock.SUPER_BLOCK + SuperBlock.S_ROOT, root)
    put64(block + FileBlock.VFSMOUNT + VfsMount.MNT_ROOT, root)
    put64(block + FileBlock.VFSMOUNT + VfsMount.MNT_SB, block + FileBlock.SUPER_BLOCK + ALIAS)
    return dentry


@native
def path_file_object(slot: int, index: int, path: int, flags: int, pos: int) -> int:
    """struct file of the absolute path at host address `path`, in file block `index`; its kernel alias.

    What a path does not tell (inode number, size, owner) is zero.
    """
    block = slot + Slot.FILE_BLOCKS + index * FILE_BLOCK_SIZE
    put64(block + FileBlock.SERIAL, 0)
    memset(block, 0, FileBlock.SERIAL)
    length = strnlen(path, _LONGEST)
    if length > PATH_TEXT - 3:
        path += length - (PATH_TEXT - 3)
        while u8(path) != 0 and u8(path) != 47:
            path += 1
        length = strnlen(path, PATH_TEXT - 3)
    to = block + FileBlock.TEXT + 2
    memcpy(to, path, length)
    put8(to + length, 0)
    dentry = connect_block(block, split_path(block, to))
    put64(block + FileBlock.INODE + Inode.I_SB, block + FileBlock.SUPER_BLOCK + ALIAS)
    file = block + FileBlock.FILE
    access = flags & O_ACCMODE
    put32(file + File.F_FLAGS, flags)
    put32(file + File.F_MODE, (FMODE_READ if access != 1 else 0) | (FMODE_WRITE if access != 0 else 0))
    put64(file + File.F_POS, pos)
    put64(file + File.F_COUNT, 1)
    # The parent directory has an inode too: the block's spare one.
    parent = u64(dentry + Dentry.D_PARENT) - ALIAS
    if parent != dentry:
        put64(parent + Dentry.D_INODE, block + FileBlock.DIR_INODE + ALIAS)
    put64(block + FileBlock.DIR_INODE + Inode.I_SB, block + FileBlock.SUPER_BLOCK + ALIAS)
    return file + ALIAS
