"""Records of running daemons: one locked file per mount in a private directory.

A daemon holds an exclusive flock(2) on its record for as long as it lives, so a record whose lock is free
belongs to a daemon that died, whatever its process id says today. Beside `NAME.json` lies `NAME.log`.
"""

import errno
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

__all__ = ["Record", "RuntimeDirError", "claim", "is_alive", "log_path", "records", "remove", "runtime_dir"]


CLAIM_ATTEMPTS = 20
CLAIM_PAUSE = 0.02
"""A look at somebody's lock (`is_alive`) holds it for an instant: try that often, with seconds between."""


class RuntimeDirError(Exception):
    """No directory for records that is ours alone."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is on file about a mount: its directory, the daemon's process id and log."""

    directory: str
    pid: int
    log: str


def _candidates() -> list[str]:
    if os.environ.get("BPFFS_RUNTIME_DIR"):
        return [os.environ["BPFFS_RUNTIME_DIR"]]
    places = []
    if os.environ.get("XDG_RUNTIME_DIR"):
        places.append(os.path.join(os.environ["XDG_RUNTIME_DIR"], "bpffs"))
    if os.geteuid() == 0:
        places.append("/run/bpffs")
    places.append(f"/tmp/bpffs-{_host_uid()}")
    return places


def _host_uid() -> int:
    """Our user id outside of a user namespace, so that its root and the real one do not meet."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as table:
            for line in table:
                inside, outside, count = (int(word) for word in line.split())
                if inside <= os.geteuid() < inside + count:
                    return outside + os.geteuid() - inside
    except OSError:
        pass
    return os.geteuid()


def _is_ours(path: str) -> bool:
    """A real directory of ours that nobody else may write to."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def runtime_dir() -> str:
    """$BPFFS_RUNTIME_DIR, else $XDG_RUNTIME_DIR/bpffs, /run/bpffs or /tmp/bpffs-UID, made if need be.

    Raises RuntimeDirError when none of them is ours alone.
    """
    for path in _candidates():
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        except OSError:
            continue
        if _is_ours(path):
            return path
    raise RuntimeDirError(f"no private directory for records: {', '.join(_candidates())}")


def _stem(directory: str) -> str:
    return hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]


def log_path(directory: str) -> str:
    """Where the daemon of the mount on `directory` logs."""
    return os.path.join(runtime_dir(), _stem(directory) + ".log")


def claim(record: Record) -> int:
    """Write the record and lock it; the descriptor holds the lock. Raises BlockingIOError if it is taken."""
    path = os.path.join(runtime_dir(), _stem(record.directory) + ".json")
    for attempt in range(CLAIM_ATTEMPTS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if attempt == CLAIM_ATTEMPTS - 1:
                raise
            time.sleep(CLAIM_PAUSE)
            continue
        if _names(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(record)).encode(), 0)
            return descriptor
        os.close(descriptor)
    raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), path)


def _names(path: str, descriptor: int) -> bool:
    """Whether the file is still the one at `path`: the last daemon may have removed it meanwhile."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _record_paths() -> Iterator[str]:
    for place in _candidates():
        if _is_ours(place):
            for name in sorted(os.listdir(place)):
                if name.endswith(".json"):
                    yield os.path.join(place, name)


def records() -> list[Record]:
    """Every record on file, of the living and of the dead."""
    found = []
    for path in _record_paths():
        try:
            with open(path, encoding="utf-8") as file:
                found.append(Record(**json.load(file)))
        except (OSError, ValueError, TypeError):
            continue
    return found


def is_alive(directory: str) -> bool:
    """Whether a daemon holds the record of `directory`."""
    for path in _record_paths():
        if os.path.basename(path) == _stem(directory) + ".json":
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
    return False


def remove(directory: str) -> None:
    """Drop the record of `directory`; its log stays."""
    for path in list(_record_paths()):
        if os.path.basename(path) == _stem(directory) + ".json":
            os.unlink(path)
