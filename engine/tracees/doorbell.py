"""The doorbell's plumbing: a POSIX timer that signals one thread, and that thread's signal mask.

The signal does nothing by itself; it only ends a wait4 with EINTR. See `loop` for the protocol.
"""

import ctypes
import signal

from engine.errors import KernelError
from engine.jit.lang import native
from engine.tracees.ptrace import Sys

__all__ = ["DOORBELL", "create_timer", "delete_timer", "keep_stops_quiet", "listen_for_doorbell"]

DOORBELL = signal.SIGRTMAX - 5
"""Reserved for the tracer; nobody else in the process may use it."""

_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4
_SA_NOCLDSTOP = 1
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
def _no_op(_signal: int) -> int:
    """The doorbell's handler: being interrupted is all there is to it."""
    return 0


def _check(result: int, what: str) -> None:
    if result < 0:
        raise KernelError(ctypes.get_errno(), what)


def listen_for_doorbell() -> None:
    """On the tracer thread: take the doorbell, leave every other signal to other threads."""
    action = _Sigaction(handler=_no_op.address)
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
