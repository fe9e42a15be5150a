"""`bpffs run`: a command that is attached before its first instruction, with its own exit status.

The child waits before exec until its process id was written to M/procs, and between that and exec makes no
system call: what is observed begins with execve(2), as under strace. It stays in our process group, so the
terminal's signals and job control reach it as if it had been started directly; we pass on what was
sent to us alone, stop when it stops, and end as it ends.
"""

import ctypes
import errno
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable

from bpffs.failure import Failure

__all__ = ["run"]

_PR_SET_PTRACER = 0x59616D61
_SI_USER_CODES = (0, -1, -6)
"""si_code of kill(2), sigqueue(3), tgkill(2): somebody meant us, not our terminal's whole process group."""

_PATIENCE = 1.0
"""Seconds to wait until the child sleeps; it is attached then all the same."""
_MOMENT = 0.0005

NOT_FOUND, NOT_EXECUTABLE = 127, 126

_UNTOUCHED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU}


def _program(name: str) -> str:
    """Where execvp(3) would find the program; `name` itself if nowhere."""
    if os.sep not in name:
        for directory in os.get_exec_path():
            path = os.path.join(directory, name)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    return name


def _exec(
    ready: int, go: int, arguments: list[str], tracer: int, mask: Iterable[int], ignores_children: bool
) -> int:
    """In the child: wait for the go, then become the command. Returns an exit status if it cannot."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(tracer), 0, 0, 0)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if ignores_children:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    program = _program(arguments[0])
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.write(ready, b"1")
    if os.read(go, 1) != b"1":
        return 1
    try:
        if program == arguments[0]:
            os.execvp(program, arguments)
        os.execv(program, arguments)
    except OSError as error:
        print(f"bpffs: {arguments[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE


def _await(child: int, ready: int) -> None:
    """Until the child waits for its go: it is ready, and has gone to sleep since."""
    os.read(ready, 1)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with open(f"/proc/{child}/stat", encoding="utf-8", errors="replace") as file:
            if file.read().rpartition(")")[2].split()[0] != "R":
                return
        time.sleep(_MOMENT)


def _attach(mount: str, pid: int) -> None:
    """Write the process id to the mount's procs. Raises Failure."""
    try:
        descriptor = os.open(os.path.join(mount, "procs"), os.O_WRONLY)
        try:
            os.write(descriptor, f"{pid}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Failure(f"{mount}/procs: {error.strerror}") from None


def run(mount: str, arguments: list[str], tracer: int) -> int:
    """Run the command attached to `mount`, whose daemon is process `tracer`; the exit status to pass on.

    127 or 126 if it could not be executed. If a signal killed it, the same one kills us. Raises Failure.
    """
    everything = signal.valid_signals() - _UNTOUCHED
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    # Who ignores SIGCHLD, and that is inherited, does not learn how children end.
    ignores_children = signal.signal(signal.SIGCHLD, signal.SIG_DFL) == signal.SIG_IGN
    go, release = os.pipe()
    waiting, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        os.close(waiting)
        status = 1
        try:
            status = _exec(ready, go, arguments, tracer, mask, ignores_children)
        finally:
            os._exit(status)
    os.close(go)
    os.close(ready)
    try:
        _await(child, waiting)
        _attach(mount, child)
    except Failure:
        os.close(release)
        os.waitpid(child, 0)
        raise
    os.close(waiting)
    os.write(release, b"1")
    os.close(release)
    return _follow(child, everything)


def _follow(child: int, signals: Iterable[int]) -> int:
    """Pass signals on until the child ends."""
    while True:
        ended = _look(child)
        if ended is not None:
            return ended
        info = signal.sigwaitinfo(signals)
        if info.si_signo != signal.SIGCHLD and info.si_code in _SI_USER_CODES and info.si_pid != child:
            _send(child, info.si_signo)


def _look(child: int) -> int | None:
    """Take news of the child: an exit status when it ended; when it stopped, stop too, go on together."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return None
        if os.WIFSTOPPED(status):
            os.kill(os.getpid(), signal.SIGSTOP)
            _send(child, signal.SIGCONT)
        elif os.WIFSIGNALED(status):
            return _die_of(os.WTERMSIG(status))
        else:
            return os.WEXITSTATUS(status)


def _die_of(number: int) -> int:
    """End by the signal that ended the command, so that whoever waits for us sees it, without a core file.

    128 + number if that does not end us.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    return 128 + number


def _send(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except ProcessLookupError:
        return
