"""Machine code kept on disk by content, so that a second start compiles nothing.

One file per object, named by the digest of all that it was made from. Files are written beside their
place and renamed; the directory must belong to us and be closed to others, or it is not used at all. Objects
carry their own digest: a damaged file counts as absent. The oldest go first when the cache is full.
"""

import hashlib
import os
import stat
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["LIMIT_BYTES", "directory", "load", "store"]

LIMIT_BYTES = 64 << 20
_DIGEST = hashlib.sha256().digest_size


def _safe(path: Path) -> bool:
    status = os.lstat(path)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


@cache
def directory() -> Path | None:
    """Where objects are kept: `$BPFFS_CACHE_DIR`, `$XDG_CACHE_HOME/bpffs` or `~/.cache/bpffs`.

    None when it cannot be made or is not safely ours.
    """
    named = os.environ.get("BPFFS_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = Path(named) if named else Path(base) / "bpffs"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path if path.is_absolute() and _safe(path) else None
    except OSError:
        return None


def load(key: str) -> bytes | None:
    """The object stored under `key`, or None."""
    where = directory()
    if where is None:
        return None
    try:
        descriptor = os.open(where / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022 or status.st_size > LIMIT_BYTES:
            return None
        data = file.read()
    digest, image = data[:_DIGEST], data[_DIGEST:]
    return image if hashlib.sha256(image).digest() == digest else None


def store(key: str, image: bytes) -> None:
    """Keep `image` under `key`; a full disk or a missing directory only means that it is not kept."""
    where = directory()
    if where is None or len(image) > LIMIT_BYTES // 4:
        return
    try:
        with tempfile.NamedTemporaryFile(dir=where, prefix=".new-", delete=False) as file:
            file.write(hashlib.sha256(image).digest() + image)
        os.replace(file.name, where / key)
        _evict(where)
    except OSError:
        return


def _evict(where: Path) -> None:
    """Remove the least recently written files until the rest fits."""
    found = []
    for entry in os.scandir(where):
        status = entry.stat(follow_symlinks=False)
        found.append((status.st_mtime_ns, status.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= LIMIT_BYTES:
            return
        os.unlink(path)
        total -= size
