"""Operations on the mount itself, fired natively: their objects, registers, handlers, returns.

Arguments are put where those of a system call would be; the operation's row of the site table does the
rest.
"""

from engine.env import Ctl, Env
from engine.epoch import epoch_enter, epoch_leave
from engine.jit.lang import c_call, memset, native, put32, put64, sext32, u32, u64, urem
from engine.kernel.layout import ALIAS, FILE_BLOCK_SIZE, File, FileBlock, Slot
from engine.kernel.lookup import put_rename_data
from engine.kernel.objects import position_object
from engine.kernel.paths import path_file_object
from engine.kernel.tasks import current_slot
from engine.probes.events import FIRST_ROW, Event
from engine.probes.fire import site_at
from engine.probes.frames import fire_frame, fire_returns
from engine.probes.layout import SITE_HEAD, Site
from engine.probes.regs import Reg

__all__ = ["vfs_dentry_call", "vfs_file_call", "vfs_fire", "vfs_rename_call"]

_F_PATH = 16


@native
def _begin(env: int) -> int:
    """Clear the argument registers; the current slot."""
    slot = current_slot(env)
    put64(slot + Slot.SERIAL, u64(slot + Slot.SERIAL) + 1)
    memset(slot + Slot.REGS, 0, 168)
    return slot


@native
def vfs_file_call(env: int, path: int, flags: int, count: int, pos: int, is_open: int) -> int:
    """Arguments of vfs_open(path, file), or of vfs_read and vfs_write(file, buf, count, pos).

    The mount is not told where the caller's buffer is: `buf` is 0.
    """
    slot = _begin(env)
    regs = slot + Slot.REGS
    file = path_file_object(slot, 0, path, flags, pos)
    if is_open:
        put64(regs + Reg.DI, file + _F_PATH)
        put64(regs + Reg.SI, file)
        return 0
    put64(regs + Reg.DI, file)
    put64(regs + Reg.DX, count)
    put64(regs + Reg.R10, position_object(slot, 0, pos))
    return 0


@native
def vfs_dentry_call(env: int, path: int, last: int) -> int:
    """Arguments of vfs_unlink, vfs_mkdir and vfs_rmdir: user namespace, directory, dentry, `last`."""
    slot = _begin(env)
    regs = slot + Slot.REGS
    file = path_file_object(slot, 0, path, 0, 0) - ALIAS
    put64(regs + Reg.DI, slot + Slot.USER_NS + ALIAS)
    put64(regs + Reg.SI, slot + Slot.FILE_BLOCKS + FileBlock.DIR_INODE + ALIAS)
    put64(regs + Reg.DX, u64(file + File.F_PATH_DENTRY))
    put64(regs + Reg.R10, last)
    return 0


@native
def vfs_rename_call(env: int, path: int, new_path: int, flags: int) -> int:
    """The argument of vfs_rename: struct renamedata."""
    slot = _begin(env)
    path_file_object(slot, 0, path, 0, 0)
    path_file_object(slot, 1, new_path, 0, 0)
    old = slot + Slot.FILE_BLOCKS
    put64(slot + Slot.REGS + Reg.DI, put_rename_data(slot, old, old + FILE_BLOCK_SIZE, flags))
    return 0


@native
def vfs_fire(env: int, operation: int, retval: int, end_ns: int) -> int:
    """Entry and return of operation number `operation` of `MOUNT_CALLS`, with the arguments made before."""
    slot = current_slot(env)
    cpu = sext32(c_call("sched_getcpu"))
    put32(env + Env.CPU, urem(cpu if cpu > 0 else 0, u32(u64(env + Env.CTL) + Ctl.NR_CPUS)))
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    site = site_at(env, FIRST_ROW + Event.VFS_OPEN + operation)
    if site != 0:
        for i in range(u32(site + Site.COUNT)):
            fire_frame(env, slot, 0, u64(site + SITE_HEAD + i * 8))
        put64(env + Env.TIME_NS, end_ns)
        fire_returns(env, slot, retval, 0)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return 0
