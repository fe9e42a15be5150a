"""The mount table, and unmounting: what `bpffs mount`, `umount` and `status` know without the daemon."""

import ctypes
import errno
import os
import shutil
import subprocess
from dataclasses import dataclass

__all__ = ["FSTYPE", "Mount", "canonical", "is_dead", "mount_at", "mounts", "unmount"]

FSTYPE = "fuse.bpffs"
_MNT_DETACH = 2


@dataclass(frozen=True, slots=True)
class Mount:
    """A row of /proc/self/mountinfo."""

    directory: str
    fstype: str


def _unescape(field: str) -> str:
    """Undo the octal escapes of blanks and backslashes."""
    return field.encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")


def mounts() -> list[Mount]:
    """All mounts that this process sees, oldest first."""
    rows: list[Mount] = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            left, _, right = line.partition(" - ")
            rows.append(Mount(_unescape(left.split()[4]), right.split()[0]))
    return rows


def mount_at(directory: str) -> Mount | None:
    """The topmost mount on `directory`, a canonical path."""
    found = None
    for row in mounts():
        if row.directory == directory:
            found = row
    return found


def canonical(directory: str) -> str:
    """The absolute path without links. Works for a mount whose daemon is dead."""
    return os.path.realpath(directory)


def is_dead(directory: str) -> bool:
    """Whether the mount on `directory` has lost its daemon (ENOTCONN).

    statfs(2) is what the kernel never answers from what it remembers.
    """
    try:
        os.statvfs(directory)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def unmount(directory: str, *, lazy: bool) -> None:
    """Take the mount away: umount2(2) as root, fusermount3 otherwise. Raises OSError, EBUSY among others."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(directory), _MNT_DETACH if lazy else 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), directory)
        return
    helper = shutil.which("fusermount3")
    if helper is None:
        raise OSError(errno.ENOENT, "fusermount3 not found: install the package fuse3", directory)
    command = [helper, "-u", *(["-z"] if lazy else []), "--", directory]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["fusermount3 failed"])[-1]
        number = errno.EBUSY if "busy" in said.lower() else errno.EPERM
        raise OSError(number, said, directory)
