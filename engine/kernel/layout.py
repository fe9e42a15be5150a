"""Where modelled kernel objects are: the layout of a task slot and of the structs in it, byte offsets.

Every attached thread has one slot of the kernel arena. Programs see it at its kernel alias; offsets inside
the structs are the model's own and are published as BTF (`engine.kernel.structs`), so that CO-RE finds them.

    slot +0      task_struct, then cred, signal_struct, files_struct, mm_struct, nsproxy and pid
         +1536   return instances of the thread's pending return probes
         +4096   the user's pt_regs; open_how, open_flags and other arguments of the running system call
         +5120   kernel stack, growing down from +8192
         +8192   two struct filename with their text
         +20480  eleven file blocks: file, inode, super_block, vfsmount, dentries, path text
"""

from enum import IntEnum

from engine.memory import KERNEL_BASE, WINDOW_BASE

__all__ = [
    "ALIAS",
    "FILE_BLOCKS",
    "FILE_BLOCK_SIZE",
    "MAX_DENTRIES",
    "NAME_BUFFER",
    "PATH_TEXT",
    "SLOT_SIZE",
    "Dentry",
    "File",
    "FileBlock",
    "Filename",
    "Inode",
    "OpenFlags",
    "OpenHow",
    "RenameData",
    "Slot",
    "SuperBlock",
    "Task",
    "VfsMount",
]

ALIAS = KERNEL_BASE - WINDOW_BASE
"""Add to a host address inside the window to get its kernel alias."""

SLOT_SIZE = 65536
NAME_BUFFER = 4352
"""Bytes of one struct filename with its text (PATH_MAX 4096)."""
FILE_BLOCKS = 11
FILE_BLOCK_SIZE = 4096
MAX_DENTRIES = 30
"""Longest modelled chain of d_parent; of a deeper path the first components are left out."""
PATH_TEXT = 2304
"""Bytes for the text of a path in a file block; of a longer one the beginning is left out."""


class Slot(IntEnum):
    """Parts of a task slot."""

    TASK = 0
    CRED = 1024
    SIGNAL = 1088
    FILES = 1152
    MM = 1216
    NSPROXY = 1280
    USER_NS = 1344
    PRIVATE = 1408
    SERIAL = 1408
    """u64, counts the thread's system calls; says which cached objects are of this one."""
    NAME_SERIAL = 1416
    """2 x u64, CALL_SERIAL for which the name buffer was filled."""
    NAME_RESULT = 1432
    """2 x u64, kernel alias of the struct filename, or negative errno."""
    INSTANCES = 1448
    """u32, number of return instances."""
    SYSCALL_NR = 1452
    """s32, the running system call, if PENDING."""
    PENDING = 1464
    """u64, not 0 from a system call's entry to its return."""
    CALL_SERIAL = 1472
    """u64, SERIAL at the running call's entry: paths are read once a call."""
    FREE_LINK = 1456
    """u64, next free slot."""
    INSTANCE_TABLE = 1536
    REGS = 4096
    HOW = 4352
    OPEN_FLAGS = 4384
    POS = 4416
    """4 x s64."""
    CLONE_ARGS = 4480
    BPRM = 4608
    LOCALS = 4736
    """256 zero bytes: the callers' local variables that calls point to."""
    STACK = 5120
    STACK_TOP = 8192
    NAMES = 8192
    FILE_BLOCKS = 20480


class Task(IntEnum):
    """`struct task_struct`."""

    STATE = 0
    FLAGS = 4
    PID = 8
    TGID = 12
    REAL_PARENT = 16
    PARENT = 24
    GROUP_LEADER = 32
    CRED = 40
    REAL_CRED = 48
    MM = 56
    COMM = 64
    EXIT_CODE = 80
    EXIT_STATE = 84
    START_TIME = 88
    START_BOOTTIME = 96
    FILES = 104
    SIGNAL = 112
    NSPROXY = 120
    CPU = 128
    PRIO = 132
    SIZE = 256


class Filename(IntEnum):
    """`struct filename`."""

    NAME = 0
    UPTR = 8
    REFCNT = 16
    ANAME = 24
    INAME = 32


class OpenHow(IntEnum):
    """`struct open_how`."""

    FLAGS = 0
    MODE = 8
    RESOLVE = 16


class OpenFlags(IntEnum):
    """`struct open_flags` (fs/internal.h)."""

    OPEN_FLAG = 0
    MODE = 4
    ACC_MODE = 8
    INTENT = 12
    LOOKUP_FLAGS = 16


class FileBlock(IntEnum):
    """Parts of a file block."""

    FILE = 0
    INODE = 64
    SUPER_BLOCK = 128
    VFSMOUNT = 192
    SERIAL = 224
    """u64, serial for which the block was filled."""
    FD = 232
    """u64, descriptor + 1."""
    FILLED = 240
    """u64, not 0 if the objects are filled, 0 if only the descriptor is known to be open."""
    DENTRIES = 256
    TEXT = 1728
    DIR_INODE = 4032
    """Inode of the directory, for operations that take it."""


class File(IntEnum):
    """`struct file`."""

    F_FLAGS = 0
    F_MODE = 4
    F_POS = 8
    F_PATH_MNT = 16
    F_PATH_DENTRY = 24
    F_INODE = 32
    F_COUNT = 40


class Inode(IntEnum):
    """`struct inode`."""

    I_MODE = 0
    I_UID = 4
    I_GID = 8
    I_NLINK = 12
    I_SB = 16
    I_INO = 24
    I_SIZE = 32
    I_RDEV = 40
    I_BLOCKS = 48


class SuperBlock(IntEnum):
    """`struct super_block`."""

    S_DEV = 0
    S_ROOT = 8


class VfsMount(IntEnum):
    """`struct vfsmount`."""

    MNT_ROOT = 0
    MNT_SB = 8


class Dentry(IntEnum):
    """`struct dentry`; `SIZE` apart in a file block."""

    D_FLAGS = 0
    D_PARENT = 8
    D_NAME_HASH = 16
    D_NAME_LEN = 20
    D_NAME_NAME = 24
    D_INODE = 32
    D_SB = 40
    SIZE = 48


class RenameData(IntEnum):
    """`struct renamedata`."""

    OLD_MNT_USERNS = 0
    OLD_DIR = 8
    OLD_DENTRY = 16
    NEW_MNT_USERNS = 24
    NEW_DIR = 32
    NEW_DENTRY = 40
    FLAGS = 56
