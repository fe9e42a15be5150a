"""Mounting and serving: one pyfuse3 session per process."""

import ctypes
import os
import signal
import tempfile

import pyfuse3

from bpffs.fuse.operations import Operations
from engine.jit.lang import native

__all__ = ["MountError", "mount", "serve", "stop", "unmount"]

MOST_REQUESTS = 4096
"""Requests that may be under way at once. A parked reader holds one; see `parking.MOST_PARKED`."""

STALL_SECONDS = 0.25
_libc = ctypes.CDLL(None)


@native
def _nothing(signo: int) -> int:
    """Handle a signal by doing nothing."""
    return 0


class MountError(Exception):
    """The mount was refused; the text says why in one line."""


def mount(operations: Operations, directory: str) -> None:
    """Mount on `directory`, an absolute path. Raises MountError with what libfuse or fusermount3 said.

    root mounts for everybody (`allow_other`, permissions checked by the kernel); the mount of an ordinary
    user is theirs alone, as /etc/fuse.conf of most distributions wants it.
    """
    options = {"fsname=bpffs", "subtype=bpffs", "default_permissions"}
    if os.geteuid() == 0:
        options.add("allow_other")
    with tempfile.TemporaryFile() as said:
        saved = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            pyfuse3.init(operations, directory, options)
        except RuntimeError as error:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise MountError(lines[-1] if lines else str(error)) from None
        finally:
            os.dup2(saved, 2)
            os.close(saved)
    _bound_stalls()


def _bound_stalls() -> None:
    """Interrupt the main thread's system calls now and then.

    pyfuse3 reads requests from a blocking descriptor when it is readable. If the request is withdrawn just
    then (its process was killed), the read would hold the interpreter until the next one; a signal ends it.
    Its handler is native, so that the interpreter does not wake up for it.
    """
    _libc.signal(signal.SIGALRM, ctypes.c_void_p(_nothing.address))
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, STALL_SECONDS, STALL_SECONDS)


async def serve() -> None:
    """Answer requests until the mount is gone or `stop` is called."""
    await pyfuse3.main(min_tasks=2, max_tasks=MOST_REQUESTS)


def stop() -> None:
    """Have `serve` return once the requests under way are answered. On the main thread."""
    pyfuse3.terminate()


def unmount() -> None:
    """Unmount (lazily, if somebody is still in it) and end the session."""
    pyfuse3.close(unmount=True)
    # The interpreter gives signals back their deadly default before it ends: no alarm may be left by then.
    signal.setitimer(signal.ITIMER_REAL, 0)
