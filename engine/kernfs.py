"""Pseudo-file vocabulary: directories, files, symbolic links and open handles, without FUSE.

Modelled after what `fs/libfs.c`, `fs/seq_file.c` and gVisor's kernfs offer. tracefs and bpffs
build their trees of these nodes; `bpffs` alone knows how a request reaches them. Everything here is
synchronous: an operation that would have to wait raises `WouldBlock`, and the caller parks.

Errors are `KernelError`s. No node holds a lock while it raises `WouldBlock`.
"""

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from select import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM

from engine.errors import KernelError

__all__ = [
    "READY",
    "Caller",
    "Dir",
    "File",
    "Handle",
    "Node",
    "StaticDir",
    "Symlink",
    "TextFile",
    "WaitQueue",
    "WouldBlock",
]

READY = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM
"""What `poll` answers for a file that never blocks (DEFAULT_POLLMASK of the kernel)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: thread id, user, group and umask of the requesting process."""

    tid: int = 0
    uid: int = 0
    gid: int = 0
    umask: int = 0


class WaitQueue:
    """Parked readers. `wake` may be called from any thread; callbacks must not block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0

    def subscribe(self, callback: Callable[[], None]) -> int:
        """Call `callback` at every wake until the returned token is unsubscribed."""
        with self._lock:
            self._next += 1
            self._callbacks[self._next] = callback
            return self._next

    def unsubscribe(self, token: int) -> None:
        """Forget a subscription; unknown tokens are ignored."""
        with self._lock:
            self._callbacks.pop(token, None)

    def wake(self) -> None:
        """Tell every subscriber that its condition may have changed."""
        with self._lock:
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            callback()

    @property
    def parked(self) -> int:
        """How many are subscribed."""
        return len(self._callbacks)


class WouldBlock(Exception):
    """The operation has to wait: subscribe to `queue`, then try again. EAGAIN under O_NONBLOCK."""

    def __init__(self, queue: WaitQueue) -> None:
        super().__init__("would block")
        self.queue = queue


class Handle:
    """An open file. Offsets and sizes are bytes; `read` at the end of the file returns b""."""

    seekable = True

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes at `offset`."""
        raise KernelError(errno.EINVAL)

    def write(self, offset: int, data: bytes) -> int:
        """Take `data` whole and return its length, or raise."""
        raise KernelError(errno.EINVAL)

    def poll(self) -> int:
        """The poll(2) mask that holds now."""
        return READY

    def poll_queue(self) -> WaitQueue | None:
        """Where a poller waits for a changed mask; None if the mask never changes."""
        return None

    def close(self) -> None:
        """One close(2) of a descriptor (FUSE flush): may come more than once. Its error reaches close(2)."""

    def release(self) -> None:
        """The last descriptor is gone."""


class Node:
    """An inode: file type and permissions, owner, times.

    `slow` sends its operations to a worker thread; closing one that is `heavy` may take minutes, and is told
    to end (`engine.interruption`) when nobody wants to wait for it any more.
    """

    kind = 0
    slow = False
    heavy = False

    def __init__(self, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.perm = mode & 0o7777
        self.uid = uid
        self.gid = gid
        self.atime_ns = self.mtime_ns = self.ctime_ns = time.time_ns()

    @property
    def mode(self) -> int:
        """File type and permissions, as `st_mode`."""
        return self.kind | self.perm

    @property
    def nlink(self) -> int:
        """Number of names, as `st_nlink`."""
        return 1

    @property
    def size(self) -> int:
        """`st_size`: zero for a file whose content is made when it is read."""
        return 0

    def setattr(
        self,
        *,
        perm: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> None:
        """chmod, chown, utimes. Permission of the caller is checked above."""
        self.perm = self.perm if perm is None else perm & 0o7777
        self.uid = self.uid if uid is None else uid
        self.gid = self.gid if gid is None else gid
        self.atime_ns = self.atime_ns if atime_ns is None else atime_ns
        self.mtime_ns = self.mtime_ns if mtime_ns is None else mtime_ns
        self.ctime_ns = time.time_ns()


class Symlink(Node):
    """A symbolic link to `target`, a path as text."""

    kind = stat.S_IFLNK

    def __init__(self, target: str, mode: int = 0o777, uid: int = 0, gid: int = 0) -> None:
        super().__init__(mode, uid, gid)
        self.target = target


class File(Node):
    """A regular file. `open` makes the handle; truncation on open (O_TRUNC in `flags`) happens in it."""

    kind = stat.S_IFREG

    def open(self, flags: int, caller: Caller) -> Handle:
        """Open it; permission bits were checked already. Raises KernelError."""
        raise KernelError(errno.EINVAL)

    def truncate(self, size: int) -> None:
        """truncate(2) by path or descriptor. Pseudo-files ignore it."""


class Dir(Node):
    """A directory. Subclasses say what is in it; by default it cannot be changed (EPERM)."""

    kind = stat.S_IFDIR

    def lookup(self, name: str, caller: Caller) -> Node:
        """The node called `name`. Raises KernelError(ENOENT)."""
        for found, node in self.entries():
            if found == name:
                return node
        raise KernelError(errno.ENOENT)

    def entries(self) -> Iterable[tuple[str, Node]]:
        """What readdir shows, in its order, without . and .. ."""
        return ()

    @property
    def nlink(self) -> int:
        """Two and one for every subdirectory, as on most filesystems."""
        return 2 + sum(isinstance(node, Dir) for _, node in self.entries())

    def create(self, name: str, mode: int, flags: int, caller: Caller) -> tuple[File, Handle]:
        """open(O_CREAT) of a name that does not exist."""
        raise KernelError(errno.EACCES)

    def mknod(self, name: str, mode: int, caller: Caller) -> Node:
        """mknod(2). Raises KernelError: EACCES for a regular file (vfs_create), else EPERM (vfs_mknod)."""
        raise KernelError(errno.EACCES if stat.S_ISREG(mode) else errno.EPERM)

    def mkdir(self, name: str, mode: int, caller: Caller) -> "Dir":
        """mkdir(2)."""
        raise KernelError(errno.EPERM)

    def rmdir(self, name: str, caller: Caller) -> None:
        """rmdir(2)."""
        raise KernelError(errno.EPERM)

    def unlink(self, name: str, caller: Caller) -> None:
        """unlink(2)."""
        raise KernelError(errno.EPERM)

    def symlink(self, name: str, target: str, caller: Caller) -> Symlink:
        """symlink(2)."""
        raise KernelError(errno.EPERM)

    def link(self, name: str, node: Node, caller: Caller) -> Node:
        """link(2)."""
        raise KernelError(errno.EPERM)

    def rename(self, name: str, to: "Dir", new_name: str, flags: int, caller: Caller) -> None:
        """rename(2) of `name` to `new_name` in `to`; `flags` as of renameat2(2)."""
        raise KernelError(errno.EPERM)


class StaticDir(Dir):
    """A directory that is one literal table: name -> node."""

    def __init__(self, mode: int, table: Mapping[str, Node], uid: int = 0, gid: int = 0) -> None:
        super().__init__(mode, uid, gid)
        self.table = dict(table)

    def lookup(self, name: str, caller: Caller) -> Node:
        """The node of the table's row `name`."""
        try:
            return self.table[name]
        except KeyError:
            raise KernelError(errno.ENOENT) from None

    def entries(self) -> Iterable[tuple[str, Node]]:
        """The table's rows."""
        return list(self.table.items())


class _TextHandle(Handle):
    """Content is made at the first read and again whenever a read starts at 0, as `seq_file` does."""

    def __init__(self, file: "TextFile") -> None:
        self._file = file
        self._text: bytes | None = None

    def read(self, offset: int, size: int) -> bytes:
        if self._file.show is None:
            raise KernelError(errno.EINVAL)
        if self._text is None or offset == 0:
            shown = self._file.show()
            self._text = shown if isinstance(shown, bytes) else shown.encode("utf-8", "surrogateescape")
        return self._text[offset : offset + size]

    def write(self, offset: int, data: bytes) -> int:
        if self._file.store is None:
            raise KernelError(errno.EINVAL)
        self._file.store(data)
        return len(data)


class TextFile(File):
    """A small file made by `show()` when it is read; `store(data)` takes each write whole.

    `truncated()` runs when it is opened with O_TRUNC for writing.
    """

    def __init__(
        self,
        mode: int,
        show: Callable[[], str | bytes] | None = None,
        store: Callable[[bytes], None] | None = None,
        *,
        truncated: Callable[[], None] | None = None,
        slow: bool = False,
        uid: int = 0,
        gid: int = 0,
    ) -> None:
        super().__init__(mode, uid, gid)
        self.show = show
        self.store = store
        self.truncated = truncated
        self.slow = slow

    def open(self, flags: int, caller: Caller) -> Handle:
        """A handle; an opening that truncates tells `truncated` first."""
        if flags & os.O_TRUNC and flags & os.O_ACCMODE != os.O_RDONLY and self.truncated is not None:
            self.truncated()
        return _TextHandle(self)
