"""Machine code kept on disk by content, so that a second start compiles nothing.

One file per object, named by the digest of all that it was made from. Files are written beside their
place and renamed; the directory must belong to us and be closed to others, or it is not used at all. A file
begins with a digest of its name and of what follows: one that is damaged, or lies under another's name,
counts as absent. Those not used for longest go first when the cache is full; files that are not ours to
name are left alone.
"""

import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["LIMIT_BYTES", "directory", "load", "store"]

LIMIT_BYTES = 64 << 20
_DIGEST = hashlib.sha256().digest_size
_NEW = ".new-"
_OURS = re.compile(rf"[0-9a-f]{{{2 * _DIGEST}}}|{re.escape(_NEW)}\w+")
"""Names that we give: keys, and files that are being written (or were, when we were killed)."""
_room: dict[Path, int] = {}
"""Bytes that may be stored before the directory, which other processes fill too, is looked through again."""


def _safe(path: Path) -> bool:
    status = os.lstat(path)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _named() -> Path:
    """`$BPFFS_CACHE_DIR`, `$XDG_CACHE_HOME/bpffs` (absolute, or it does not count) or `~/.cache/bpffs`."""
    named = os.environ.get("BPFFS_CACHE_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache")) / "bpffs"


@cache
def directory() -> Path | None:
    """Where objects are kept; None when it cannot be made or is not safely ours."""
    path = _named()
    if not path.is_absolute():
        return None
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path if _safe(path) else None
    except OSError:
        return None


def _digest(key: str, image: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + image).digest()


def load(key: str) -> bytes | None:
    """The object stored under `key`, or None."""
    where = directory()
    if where is None:
        return None
    try:
        # Without O_NONBLOCK a FIFO of that name would keep us waiting.
        descriptor = os.open(where / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = _read(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    digest, image = data[:_DIGEST], data[_DIGEST:]
    return image if _digest(key, image) == digest else None


def _read(descriptor: int) -> bytes:
    """The whole of a file that only we could have written; nothing of any other."""
    status = os.fstat(descriptor)
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
    if not ours or status.st_size > LIMIT_BYTES:
        return b""
    with open(descriptor, "rb", closefd=False) as file:
        data = file.read(LIMIT_BYTES)
    with suppress(OSError):
        os.utime(descriptor)
    return data


def store(key: str, image: bytes) -> None:
    """Keep `image` under `key`; a full disk or a missing directory only means that it is not kept."""
    where = directory()
    if where is None or len(image) > LIMIT_BYTES // 4:
        return
    with suppress(OSError):
        _write(where, key, image)
        _room[where] = _room.get(where, 0) - len(image) - _DIGEST
        if _room[where] < 0:
            _room[where] = min(_evict(where), LIMIT_BYTES // 16)


def _write(where: Path, key: str, image: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=where, prefix=_NEW, delete=False) as file:
        try:
            file.write(_digest(key, image) + image)
            file.flush()
            os.replace(file.name, where / key)
        except OSError:
            os.unlink(file.name)
            raise


def _evict(where: Path) -> int:
    """Remove the files that were not used for longest until the rest fits; how much more would fit."""
    found = []
    for entry in os.scandir(where):
        status = entry.stat(follow_symlinks=False)
        if _OURS.fullmatch(entry.name) and stat.S_ISREG(status.st_mode):
            found.append((status.st_mtime_ns, status.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= LIMIT_BYTES:
            break
        with suppress(OSError):
            os.unlink(path)
        total -= size
    return LIMIT_BYTES - total
