"""`bpffs mount`: look before, start the daemon, wait until the mount answers."""

import os
import shutil
import subprocess
import sys

from bpffs import mounts, runtime
from bpffs.failure import Failure

__all__ = ["check", "daemon_command", "launch"]


def daemon_command(*arguments: str) -> list[str]:
    """The command that is the daemon; modules that lie in the working directory are nothing to it."""
    return [sys.executable, "-P", "-m", "bpffs.daemon", *arguments]


def check(directory: str) -> str:
    """The canonical directory if it can be mounted on; a mount that lost its daemon is cleared away.

    Raises Failure with the reason.
    """
    path = mounts.canonical(directory)
    row = mounts.mount_at(path)
    if row is not None and row.fstype == mounts.FSTYPE:
        if not mounts.is_dead(path):
            raise Failure(f"{directory}: already mounted")
        mounts.unmount(path, lazy=True)
    elif row is not None:
        raise Failure(f"{directory}: busy, {row.fstype} is mounted there")
    if runtime.is_alive(path):
        where = "in another mount namespace, or files that are still open, or is just ending"
        raise Failure(f"{directory}: busy, a daemon serves it {where}")
    try:
        if os.listdir(path):
            raise Failure(f"{directory}: not empty")
    except OSError as error:
        raise Failure(f"{directory}: {error.strerror}") from None
    _check_fuse()
    return path


def _check_fuse() -> None:
    if not os.path.exists("/dev/fuse"):
        raise Failure("/dev/fuse is missing: load the kernel module fuse (modprobe fuse)")
    if os.geteuid() == 0:
        return
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise Failure("/dev/fuse: Permission denied")
    if shutil.which("fusermount3") is None:
        raise Failure("fusermount3 not found: install the package fuse3")


def launch(path: str) -> None:
    """Start the daemon for the checked directory `path`. Raises Failure with what it said if it failed."""
    log = runtime.log_path(path)
    reading, writing = os.pipe()
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            daemon_command(path, log, str(writing)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
            cwd="/",
        )
    os.close(writing)
    with open(reading, encoding="utf-8") as report:
        answer = report.readline().strip()
    if answer != "ok":
        process.wait()
        raise Failure(answer or f"the daemon ended, its log is {log}")
