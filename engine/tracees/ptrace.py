"""ptrace(2), wait(2) and x86-64 register layouts: the numbers that the tracer's native code uses.

Values from include/uapi/linux/ptrace.h, include/uapi/linux/wait.h, arch/x86/include/uapi/asm/ptrace-abi.h and
include/uapi/linux/audit.h; system call numbers of x86-64.
"""

import errno
from enum import IntEnum

__all__ = [
    "AUDIT_ARCH_I386",
    "AUDIT_ARCH_X86_64",
    "ERESTARTNOHAND",
    "EXIT_OPTIONS",
    "OPTIONS",
    "SYSCALL_STOP",
    "USER32_CS",
    "USER_REGS_SIZE",
    "Errno",
    "Event",
    "Futex",
    "Info",
    "InfoOp",
    "Option",
    "Request",
    "Sig",
    "Sys",
    "UserRegs",
    "Wait",
]


class Request(IntEnum):
    """First argument of ptrace(2)."""

    POKEUSER = 6
    CONT = 7
    GETREGS = 12
    DETACH = 17
    SYSCALL = 24
    SETOPTIONS = 0x4200
    GETEVENTMSG = 0x4201
    SEIZE = 0x4206
    INTERRUPT = 0x4207
    LISTEN = 0x4208
    GET_SYSCALL_INFO = 0x420E
    GET_RSEQ_CONFIGURATION = 0x420F


class Option(IntEnum):
    """PTRACE_O_*. EXITKILL is absent on purpose: tracees outlive the tracer."""

    TRACESYSGOOD = 1
    TRACEFORK = 2
    TRACEVFORK = 4
    TRACECLONE = 8
    TRACEEXEC = 16
    TRACEEXIT = 64


EXIT_OPTIONS = sum(Option)
"""Every option: where the end of threads is an event."""
OPTIONS = EXIT_OPTIONS - Option.TRACEEXIT
"""What every tracee is seized with; forks, clones and execs inherit it."""


class Event(IntEnum):
    """Bits 16.. of the wait status of a ptrace event stop."""

    NONE = 0
    FORK = 1
    VFORK = 2
    CLONE = 3
    EXEC = 4
    EXIT = 6
    STOP = 128


class Sig(IntEnum):
    """Signals that tell stops apart."""

    TRAP = 5
    KILL = 9
    STOP = 19
    TSTP = 20
    TTIN = 21
    TTOU = 22


SYSCALL_STOP = Sig.TRAP | 0x80
"""Stop signal of a system-call stop under TRACESYSGOOD."""


class Wait(IntEnum):
    """Options of wait4(2)."""

    NOHANG = 1
    NOTHREAD = 0x20000000
    ALL = 0x40000000


class Sys(IntEnum):
    """System calls that the tracer makes or watches for, x86-64."""

    CLONE = 56
    EXIT = 60
    WAIT4 = 61
    PTRACE = 101
    PRCTL = 157
    FUTEX = 202
    EXIT_GROUP = 231
    CLONE3 = 435
    TIMER_CREATE = 222
    TIMER_SETTIME = 223
    TIMER_DELETE = 226


class Futex(IntEnum):
    """Operations of futex(2) on memory that only this process uses (include/uapi/linux/futex.h)."""

    WAIT_PRIVATE = 128
    WAKE_PRIVATE = 129


class Errno(IntEnum):
    """errno(3), as positive numbers."""

    ESRCH = errno.ESRCH
    EINTR = errno.EINTR
    ECHILD = errno.ECHILD


ERESTARTNOHAND = 514
"""Kernel-internal: restart the call unless a handler runs, which then sees EINTR (include/linux/errno.h)."""

AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_I386 = 0x40000003
USER32_CS = 0x23
"""Code segment of 32-bit user mode."""

USER_REGS_SIZE = 27 * 8
"""Bytes of struct user_regs_struct."""


class UserRegs(IntEnum):
    """Offsets in struct user_regs_struct; those up to SS are struct pt_regs too."""

    R15 = 0
    R14 = 8
    R13 = 16
    R12 = 24
    BP = 32
    BX = 40
    R11 = 48
    R10 = 56
    R9 = 64
    R8 = 72
    AX = 80
    CX = 88
    DX = 96
    SI = 104
    DI = 112
    ORIG_AX = 120
    IP = 128
    CS = 136
    FLAGS = 144
    SP = 152
    SS = 160


class Info(IntEnum):
    """Offsets in struct ptrace_syscall_info."""

    OP = 0
    ARCH = 4
    IP = 8
    SP = 16
    NR = 24
    ARGS = 32
    SIZE = 88


class InfoOp(IntEnum):
    """PTRACE_SYSCALL_INFO_*."""

    NONE = 0
    ENTRY = 1
    EXIT = 2
