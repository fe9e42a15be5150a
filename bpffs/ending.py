"""`bpffs umount`: unmount and wait for the daemon, or clear away what a dead one left."""

import errno
import os
import select
from contextlib import suppress

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
    daemon = _daemon(path)
    try:
        mounts.unmount(path, lazy=mounts.is_dead(path))
    except OSError as error:
        busy = "busy, somebody has a file open or works in it"
        raise Failure(f"{directory}: {busy if error.errno == errno.EBUSY else error.strerror}") from None
    if daemon is not None:
        with os.fdopen(daemon) as ended:
            if not select.select([ended], [], [], WAIT_SECONDS)[0]:
                raise Failure(f"{directory}: unmounted, but the daemon has not ended")
    runtime.remove(path)


def _daemon(path: str) -> int | None:
    """A pidfd of the daemon that serves `path`, None if it is dead already."""
    for record in runtime.records():
        if record.directory == path and runtime.is_alive(path):
            with suppress(ProcessLookupError):
                return os.pidfd_open(record.pid)
    return None
