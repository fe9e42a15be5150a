"""Interrupting a tracee must not show: which system calls are restarted when we interrupted them.

PTRACE_INTERRUPT ends a blocking system call. Most ask the kernel to restart them (-ERESTARTSYS and its
kin), but those that signal(7) lists under "never restarted" have returned -EINTR. For them the stopped
thread's result is replaced by -ERESTARTNOHAND: the kernel restarts the call, unless a signal handler runs
first, and then the program sees EINTR, as it would without us. A relative timeout starts anew.

Tracing alone does the same harm: a signal that the tracee ignores wakes it nevertheless, to be shown to the
tracer. It is undone likewise.

close(2) is not in the table: its descriptor is gone by then. ioctl(2) is not: what it has done is unknown.
"""

from engine.abi.syscalls import NR
from engine.jit.lang import atomic_add64, c_call, native, u32, u64, ult
from engine.tracees.proc import is_ignored
from engine.tracees.ptrace import (
    AUDIT_ARCH_I386,
    AUDIT_ARCH_X86_64,
    ERESTARTNOHAND,
    Errno,
    Info,
    Request,
    Sys,
    UserRegs,
)
from engine.tracees.state import St

__all__ = [
    "IDENTITY_CALLS",
    "RESTARTABLE",
    "RESTARTABLE32",
    "bitmap",
    "in_bitmap",
    "restart",
    "restart_if_ignored",
]

_NAMES = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2
    open openat openat2 getdents getdents64 fcntl flock fsync fdatasync sync_file_range fallocate
    poll select pselect6 ppoll epoll_wait epoll_pwait epoll_pwait2
    connect accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg
    semop semtimedop msgsnd msgrcv mq_timedsend mq_timedreceive
    pause nanosleep clock_nanosleep rt_sigtimedwait rt_sigsuspend wait4 waitid
    futex futex_waitv futex_wait io_getevents io_pgetevents io_uring_enter
    sendfile splice tee vmsplice copy_file_range getrandom
"""
RESTARTABLE = frozenset(NR[name] for name in _NAMES.split())
"""x86-64 numbers of calls that have done nothing yet when they return EINTR."""

_NAMES32 = """
    3 read  4 write  5 open  7 waitpid  29 pause  55 fcntl  82 select  102 socketcall  114 wait4
    117 ipc  141 getdents  142 _newselect  143 flock  145 readv  146 writev  162 nanosleep  168 poll
    177 rt_sigtimedwait  179 rt_sigsuspend  180 pread64  181 pwrite64  187 sendfile  220 getdents64
    221 fcntl64  239 sendfile64  240 futex  247 io_getevents  256 epoll_wait  267 clock_nanosleep
    279 mq_timedsend  280 mq_timedreceive  284 waitid  295 openat  308 pselect6  309 ppoll
    313 splice  319 epoll_pwait  324 fallocate  333 preadv  334 pwritev  337 recvmmsg  345 sendmmsg
    355 getrandom  362 connect  364 accept4  369 sendto  370 sendmsg  371 recvfrom  372 recvmsg
    385 io_pgetevents  400 msgsnd  401 msgrcv  407 clock_nanosleep_time64  413 pselect6_time64
    414 ppoll_time64  416 io_pgetevents_time64  417 recvmmsg_time64  418 mq_timedsend_time64
    419 mq_timedreceive_time64  420 semtimedop_time64  421 rt_sigtimedwait_time64  422 futex_time64
    426 io_uring_enter  441 epoll_pwait2
"""
RESTARTABLE32 = frozenset(int(word) for word in _NAMES32.split() if word.isdecimal())
"""The same for i386, whose table is not modelled otherwise (arch/x86/entry/syscalls/syscall_32.tbl)."""

_IDENTITY = """
    execve execveat prctl rseq unshare setns sched_setaffinity
    setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid
"""
IDENTITY_CALLS = frozenset(NR[name] for name in _IDENTITY.split())
"""x86-64 numbers of calls after which ids, name, rseq area or CPU of the caller may be others."""


def bitmap(numbers: frozenset[int]) -> bytes:
    """64 bytes with bit `n` set for each number, least significant bit first."""
    return sum(1 << n for n in numbers).to_bytes(64, "little")


@native(inline=True)
def in_bitmap(bits: int, number: int) -> int:
    """Whether `number` (any word) is in the 512-bit map at `bits`."""
    return (u64(bits + (number >> 6) * 8) >> (number & 63)) & 1 if ult(number, 512) else 0


@native
def restart(st: int, tid: int) -> int:
    """Undo the -EINTR of a restartable call in the registers of stopped thread `tid`, read into St.UREGS."""
    regs = st + St.UREGS
    if u64(regs + UserRegs.AX) != -Errno.EINTR or u64(regs + UserRegs.ORIG_AX) < 0:
        return 0
    info = st + St.INFO
    if c_call("syscall", Sys.PTRACE, Request.GET_SYSCALL_INFO, tid, Info.SIZE, info) < 0:
        return 0
    bits = 0
    if u32(info + Info.ARCH) == AUDIT_ARCH_X86_64:
        bits = st + St.RESTARTABLE
    elif u32(info + Info.ARCH) == AUDIT_ARCH_I386:
        bits = st + St.RESTARTABLE32
    if bits and in_bitmap(bits, u64(regs + UserRegs.ORIG_AX)):
        atomic_add64(st + St.RESTARTS, 1)
        c_call("syscall", Sys.PTRACE, Request.POKEUSER, tid, UserRegs.AX, -ERESTARTNOHAND)
    return 0


@native
def restart_if_ignored(st: int, tid: int, signal: int) -> int:
    """At the delivery of `signal`: if the thread ignores it, it would not have been woken without us."""
    regs = st + St.UREGS
    if u64(regs + UserRegs.AX) == -Errno.EINTR and is_ignored(st, tid, signal):
        restart(st, tid)
    return 0
