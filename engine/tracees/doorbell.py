"""The doorbell: a POSIX timer that signals the tracer thread, and that thread's signal mask.

The signal only ends what the thread waits in: wait4, or PTRACE_SEIZE. See `loop` for the protocol.

PTRACE_SEIZE waits while the process executes a program (cred_guard_mutex, kernel/ptrace.c), which waits for
the end of its other threads (de_thread, fs/exec.c), which wait for us where they are traced. And it would be
restarted after the signal (ERESTARTNOINTR), so the handler steps over it, as if it had returned EINTR.
"""

import ctypes
import signal

from engine.errors import KernelError
from engine.jit.lang import c_call, native, put64, u8, u64
from engine.tracees.ptrace import Errno, Request, Sys
from engine.tracees.state import St

__all__ = [
    "DOORBELL",
    "create_timer",
    "delete_timer",
    "hush",
    "keep_stops_quiet",
    "listen_for_doorbell",
    "ring",
    "ring_unless_seized",
]

DOORBELL = signal.SIGRTMAX - 5
"""Reserved for the tracer; nobody else in the process may use it."""

_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4
_SA_NOCLDSTOP, _SA_SIGINFO = 1, 4
_GREGS = 40
"""Offset of the general registers in ucontext_t of glibc, x86-64; then of some of them."""
_DI, _AX, _IP = _GREGS + 8 * 8, _GREGS + 13 * 8, _GREGS + 16 * 8
_SYSCALL_0, _SYSCALL_1 = 0x0F, 0x05
"""The instruction SYSCALL."""
_SYNCHRONOUS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT}

_libc = ctypes.CDLL(None, use_errno=True)


class _Sigaction(ctypes.Structure):
    """struct sigaction of glibc, x86-64."""

    _fields_ = (
        ("handler", ctypes.c_uint64),
        ("mask", ctypes.c_uint64 * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_uint64),
    )


class _Sigevent(ctypes.Structure):
    """struct sigevent, for SIGEV_THREAD_ID."""

    _fields_ = (
        ("value", ctypes.c_uint64),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("tid", ctypes.c_int),
        ("pad", ctypes.c_int * 11),
    )


@native
def ring(st: int) -> int:
    """Wake the loop, from any thread, after setting COMMANDS or REARM."""
    return c_call("syscall", Sys.TIMER_SETTIME, u64(st + St.TIMER), 0, st + St.RING_SPEC, 0)


@native
def ring_unless_seized(st: int) -> int:
    """Before PTRACE_SEIZE: end it soon if it has to wait. `hush` follows it."""
    return c_call("syscall", Sys.TIMER_SETTIME, u64(st + St.TIMER), 0, st + St.SEIZE_SPEC, 0)


@native
def hush(st: int) -> int:
    """Stop the doorbell. The loop looks at its flags after this, so a later ring is not missed."""
    return c_call("syscall", Sys.TIMER_SETTIME, u64(st + St.TIMER), 0, st + St.HUSH_SPEC, 0)


@native
def _heard(_signal: int, _info: int, context: int) -> int:
    """The doorbell's handler: before a system call that is PTRACE_SEIZE, go on after it with -EINTR."""
    ip = u64(context + _IP)
    seizing = u64(context + _AX) == Sys.PTRACE and u64(context + _DI) == Request.SEIZE
    if seizing and u8(ip) == _SYSCALL_0 and u8(ip + 1) == _SYSCALL_1:
        put64(context + _AX, -Errno.EINTR)
        put64(context + _IP, ip + 2)
    return 0


def _check(result: int, what: str) -> None:
    if result < 0:
        raise KernelError(ctypes.get_errno(), what)


def listen_for_doorbell() -> None:
    """On the tracer thread: take the doorbell, leave every other signal to other threads."""
    action = _Sigaction(handler=_heard.address, flags=_SA_SIGINFO)
    _check(_libc.sigaction(int(DOORBELL), ctypes.byref(action), None), "sigaction")
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - _SYNCHRONOUS - {DOORBELL})


def keep_stops_quiet() -> None:
    """Have no SIGCHLD sent when a child or tracee stops, only when one ends: stops come by the thousand."""
    action = _Sigaction()
    _check(_libc.sigaction(int(signal.SIGCHLD), None, ctypes.byref(action)), "sigaction")
    action.flags |= _SA_NOCLDSTOP
    _check(_libc.sigaction(int(signal.SIGCHLD), ctypes.byref(action), None), "sigaction")


def create_timer(tid: int) -> int:
    """A stopped timer that signals thread `tid` of this process; returns its id."""
    event = _Sigevent(signo=int(DOORBELL), notify=_SIGEV_THREAD_ID, tid=tid)
    timer = ctypes.c_int()
    result = _libc.syscall(Sys.TIMER_CREATE, _CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer))
    _check(result, "timer_create")
    return timer.value


def delete_timer(timer: int) -> None:
    """Give the timer back."""
    _check(_libc.syscall(Sys.TIMER_DELETE, timer), "timer_delete")
