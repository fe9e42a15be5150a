"""`bpffs umount`: unmount and wait for the daemon, or clear away what a dead one left."""

import errno
import time

from bpffs import mounts, runtime
from bpffs.failure import Failure

__all__ = ["end"]

WAIT_SECONDS = 10.0
"""How long the daemon may take to detach its processes and leave."""


def end(directory: str) -> None:
    """Unmount `directory`; returns when its daemon is gone. Raises Failure."""
    path = mounts.canonical(directory)
    row = mounts.mount_at(path)
    if row is None or row.fstype != mounts.FSTYPE:
        if row is None and not runtime.is_alive(path):
            runtime.remove(path)
        raise Failure(f"{directory}: not mounted")
    try:
        mounts.unmount(path, lazy=mounts.is_dead(path))
    except OSError as error:
        reason = (
            "busy, somebody has a file open or works in it" if error.errno == errno.EBUSY else error.strerror
        )
        raise Failure(f"{directory}: {reason}") from None
    deadline = time.monotonic() + WAIT_SECONDS
    while runtime.is_alive(path):
        if time.monotonic() > deadline:
            raise Failure(f"{directory}: unmounted, but the daemon has not ended")
        time.sleep(0.02)
    runtime.remove(path)
