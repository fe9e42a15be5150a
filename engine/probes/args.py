"""Argument operations and guards of modelled calls, interpreted natively.

One operation makes one argument of a function out of the running system call's registers (saved in the
task slot at entry), its result, and kernel objects made of them; kinds as in `engine.kernel.callparse`.
"""

from engine.env import Env
from engine.jit.lang import memset, native, s32, u16, u32, u64
from engine.kernel.callparse import IMMEDIATE, ArgKind, GuardKind
from engine.kernel.clone import clone_args_object
from engine.kernel.files import file_is_seekable, file_object
from engine.kernel.layout import ALIAS, Slot
from engine.kernel.lookup import apply_umask, looked_up_dentry, looked_up_directory, rename_data_object
from engine.kernel.objects import (
    binprm_object,
    file_position,
    filename_is_empty,
    filename_object,
    is_error,
    open_flags_object,
    open_how_object,
    position_object,
    user_open_how_object,
)
from engine.kernel.uaccess import user_read
from engine.probes.layout import Op

__all__ = ["evaluate", "guard_holds", "syscall_argument"]

_AT_EMPTY_PATH = 0x1000
_F_PATH = 16
_RETVAL = 6


@native
def syscall_argument(regs: int, number: int) -> int:
    """Argument 0 to 5 of a system call, from its pt_regs."""
    if number == 0:
        return u64(regs + 112)
    if number == 1:
        return u64(regs + 104)
    if number == 2:
        return u64(regs + 96)
    if number == 3:
        return u64(regs + 56)
    if number == 4:
        return u64(regs + 72)
    return u64(regs + 64)


@native
def _operand(slot: int, retval: int, number: int, imm: int) -> int:
    """The word that an operand number stands for."""
    if number == IMMEDIATE:
        return imm
    if number == _RETVAL:
        return retval
    return syscall_argument(slot + Slot.REGS, number)


@native
def _path_kind(env: int, slot: int, kind: int, x: int, y: int) -> int:
    """Kinds that deal with opening."""
    if kind == ArgKind.HOW:
        return open_how_object(slot, x, y)
    if kind == ArgKind.OP:
        open_how_object(slot, x, y)
        return open_flags_object(slot)
    if kind == ArgKind.USER_HOW:
        return user_open_how_object(env, slot, x)
    if kind == ArgKind.USER_OP:
        user_open_how_object(env, slot, x)
        return open_flags_object(slot)
    return file_object(env, slot, x, 1) + _F_PATH


@native
def _lookup_kind(env: int, slot: int, op: int, kind: int, x: int) -> int:
    """Kinds that deal with names in directories. Paths were read by a guard before."""
    if kind == ArgKind.DENTRY:
        return looked_up_dentry(env, slot, u32(op + Op.BUFFER), x)
    if kind == ArgKind.DIRECTORY:
        return looked_up_directory(env, slot, u32(op + Op.BUFFER), x)
    if kind == ArgKind.UMASKED:
        return apply_umask(env, x)
    if kind == ArgKind.RENAME_DATA:
        return rename_data_object(env, slot)
    return slot + Slot.USER_NS + ALIAS


@native
def _rare_kind(env: int, slot: int, op: int, kind: int, x: int, y: int) -> int:
    """Kinds that few functions use."""
    if kind == ArgKind.EXIT_CODE:
        return (x & 0xFF) << 8
    if kind == ArgKind.STACK_OR_NULL and x == 0:
        return 0
    if kind == ArgKind.STACK or kind == ArgKind.STACK_OR_NULL:
        memset(slot + Slot.LOCALS, 0, 256)
        return slot + Slot.LOCALS + ALIAS
    if kind == ArgKind.FILES:
        return slot + Slot.FILES + ALIAS
    if kind == ArgKind.CLONE_ARGS:
        return clone_args_object(env, slot, u64(op + Op.IMM))
    if kind == ArgKind.BPRM:
        return binprm_object(slot, filename_object(env, slot, u32(op + Op.BUFFER), x))
    if kind == ArgKind.POS:
        return position_object(slot, 0, file_position(env, slot, x))
    if kind == ArgKind.VALUE_POS:
        return position_object(slot, 0, x)
    if kind == ArgKind.RANGE_POS:
        if x == 0:
            return file_position(env, slot, y)
        user_read(env, slot + Slot.POS, x, 8)
        return u64(slot + Slot.POS)
    if kind >= ArgKind.USER_NS:
        return _lookup_kind(env, slot, op, kind, x)
    return _path_kind(env, slot, kind, x, y)


@native
def evaluate(env: int, slot: int, retval: int, op: int) -> int:
    """The argument that operation `op` makes, cut to the parameter's width."""
    kind = u32(op + Op.KIND)
    imm = u64(op + Op.IMM)
    x = _operand(slot, retval, u16(op + Op.X), imm)
    y = _operand(slot, retval, u16(op + Op.Y), imm)
    if kind == ArgKind.VALUE:
        value = x
    elif kind == ArgKind.REGS:
        value = slot + Slot.REGS + ALIAS
    elif kind == ArgKind.NR:
        value = s32(slot + Slot.SYSCALL_NR)
    elif kind == ArgKind.NAME:
        value = filename_object(env, slot, u32(op + Op.BUFFER), x)
    elif kind == ArgKind.FILE:
        value = file_object(env, slot, x, u16(op + Op.X) == _RETVAL)
    elif kind == ArgKind.ANY_FILE:
        value = file_object(env, slot, x, 1)
    elif kind == ArgKind.SET_BITS:
        value = x | y
    elif kind == ArgKind.SHIFT_RIGHT:
        value = x >> y
    else:
        value = _rare_kind(env, slot, op, kind, x, y)
    return value & u64(op + Op.MASK)


@native
def _is_readable(env: int, user: int, size: int) -> int:
    """Whether the thread could read `size` bytes (at most 64) at `user`."""
    return user_read(env, u64(env + Env.SCRATCH), user, size) == 0


@native
def guard_holds(env: int, slot: int, retval: int, op: int) -> int:
    """Whether the condition that operation `op` states is met."""
    kind = u32(op + Op.KIND)
    imm = u64(op + Op.IMM)
    x = _operand(slot, retval, u16(op + Op.X), imm)
    y = _operand(slot, retval, u16(op + Op.Y), imm)
    if kind == GuardKind.NAME or kind == GuardKind.AT_NAME:
        buffer = u32(op + Op.BUFFER)
        if is_error(filename_object(env, slot, buffer, x)):
            return 0
        if filename_is_empty(slot, buffer):
            return kind == GuardKind.AT_NAME and y & _AT_EMPTY_PATH != 0
        return 1
    if kind == GuardKind.FD or kind == GuardKind.ANY_FD:
        return not is_error(file_object(env, slot, x, kind == GuardKind.ANY_FD))
    if kind == GuardKind.SEEKABLE:
        return file_is_seekable(env, slot, x)
    if kind == GuardKind.BITS:
        return x & (imm >> 32) == imm & 0xFFFFFFFF
    if kind == GuardKind.EQUAL:
        return x == y
    if kind == GuardKind.BELOW:
        return (x & 0xFFFFFFFF) < y
    if kind == GuardKind.SIGNED:
        return x >= 0
    if kind == GuardKind.READABLE_OR_NULL and x == 0:
        return 1
    if kind == GuardKind.READABLE or kind == GuardKind.READABLE_OR_NULL:
        return _is_readable(env, x, y)
    return not is_error(retval)
