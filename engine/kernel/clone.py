"""struct kernel_clone_args of fork, vfork, clone and clone3, made natively (kernel/fork.c)."""

from enum import IntEnum

from engine.jit.lang import memset, native, put32, put64, u64
from engine.kernel.layout import ALIAS, Slot
from engine.kernel.uaccess import user_read

__all__ = ["CloneArgs", "CloneKind", "clone_args_object"]

_CSIGNAL = 0xFF
_SIGCHLD = 17
_CLONE_VFORK, _CLONE_VM = 0x4000, 0x100
_USER_SIZE = 64


class CloneKind(IntEnum):
    """Which system call the arguments are of."""

    FORK = 0
    VFORK = 1
    CLONE = 2
    CLONE3 = 3


class CloneArgs(IntEnum):
    """`struct kernel_clone_args`."""

    FLAGS = 0
    PIDFD = 8
    CHILD_TID = 16
    PARENT_TID = 24
    EXIT_SIGNAL = 32
    STACK = 40
    STACK_SIZE = 48
    TLS = 56


@native
def _of_clone(slot: int, args: int) -> int:
    """clone(2): flags with the signal in the low byte, stack, parent_tid, child_tid, tls."""
    regs = slot + Slot.REGS
    flags = u64(regs + 112)
    put64(args + CloneArgs.FLAGS, flags & 0xFFFFFFFF & ~_CSIGNAL)
    put32(args + CloneArgs.EXIT_SIGNAL, flags & _CSIGNAL)
    put64(args + CloneArgs.STACK, u64(regs + 104))
    put64(args + CloneArgs.PIDFD, u64(regs + 96))
    put64(args + CloneArgs.PARENT_TID, u64(regs + 96))
    put64(args + CloneArgs.CHILD_TID, u64(regs + 56))
    put64(args + CloneArgs.TLS, u64(regs + 72))
    return 0


@native
def _of_clone3(env: int, slot: int, args: int) -> int:
    """clone3(2): struct clone_args of the caller, eight words of it."""
    user = slot + Slot.LOCALS
    if user_read(env, user, u64(slot + Slot.REGS + 112), _USER_SIZE) < 0:
        return 0
    put64(args + CloneArgs.FLAGS, u64(user))
    put64(args + CloneArgs.PIDFD, u64(user + 8))
    put64(args + CloneArgs.CHILD_TID, u64(user + 16))
    put64(args + CloneArgs.PARENT_TID, u64(user + 24))
    put32(args + CloneArgs.EXIT_SIGNAL, u64(user + 32))
    put64(args + CloneArgs.STACK, u64(user + 40))
    put64(args + CloneArgs.STACK_SIZE, u64(user + 48))
    put64(args + CloneArgs.TLS, u64(user + 56))
    return 0


@native
def clone_args_object(env: int, slot: int, kind: int) -> int:
    """The struct, by `CloneKind`; its kernel alias."""
    args = slot + Slot.CLONE_ARGS
    memset(args, 0, 128)
    if kind == CloneKind.CLONE:
        _of_clone(slot, args)
    elif kind == CloneKind.CLONE3:
        _of_clone3(env, slot, args)
    else:
        put32(args + CloneArgs.EXIT_SIGNAL, _SIGCHLD)
        if kind == CloneKind.VFORK:
            put64(args + CloneArgs.FLAGS, _CLONE_VFORK | _CLONE_VM)
    return args + ALIAS
