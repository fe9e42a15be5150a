"""Open files and open directories by file handle number."""

import errno
import os

import pyfuse3

from bpffs.fuse.parking import ParkingLot
from engine.errors import KernelError
from engine.kernfs import Handle, Node, WaitQueue

__all__ = ["OpenFile", "OpenFiles"]


class OpenFile:
    """One open: the node, its handle, who opened it, and the poller that waits for it."""

    def __init__(
        self, node: Node, handle: Handle, inode: int, path: str, flags: int, who: tuple[int, int, int]
    ) -> None:
        self.node = node
        self.handle = handle
        self.inode = inode
        self.path = path
        self.flags = flags
        self.tid, self.uid, self.gid = who
        self.nonblocking = bool(flags & os.O_NONBLOCK)
        self._poller: pyfuse3.PollHandle | None = None
        self._queue: WaitQueue | None = None
        self._token = 0

    @property
    def name(self) -> str:
        """The last part of the path that it was opened by."""
        return self.path.rpartition("/")[2]

    @property
    def who(self) -> tuple[int, int, int]:
        """Thread, user and group of who opened it; the thread of who waited last."""
        return self.tid, self.uid, self.gid

    def poll(self, poller: pyfuse3.PollHandle | None, lot: ParkingLot) -> int:
        """The mask that holds now; `poller`, if there is one, is told once when it may have changed."""
        queue = self.handle.poll_queue()
        if poller is not None and queue is not None:
            self._poller = poller
            if self._queue is None:
                self._queue = queue
                self._token = queue.subscribe(lambda: lot.call_soon(self._notify))
        return self.handle.poll()

    def _notify(self) -> None:
        """On the main thread: pass the wake on. The kernel asks again with a new poller if it still cares."""
        self._unsubscribe()
        if self._poller is not None:
            poller, self._poller = self._poller, None
            poller.notify()

    def _unsubscribe(self) -> None:
        if self._queue is not None:
            self._queue.unsubscribe(self._token)
            self._queue = None

    def forget_poller(self) -> None:
        """Nobody polls any more."""
        self._unsubscribe()
        self._poller = None


class OpenFiles:
    """File handle numbers, each given once."""

    def __init__(self) -> None:
        self._files: dict[int, OpenFile] = {}
        self._next = 0

    def add(self, file: OpenFile) -> int:
        """The number of a new open file."""
        self._next += 1
        self._files[self._next] = file
        return self._next

    def get(self, number: int) -> OpenFile:
        """The open file numbered so. Raises KernelError(EBADF)."""
        try:
            return self._files[number]
        except KeyError:
            raise KernelError(errno.EBADF) from None

    def remove(self, number: int) -> OpenFile:
        """The last descriptor is gone. Raises KernelError(EBADF)."""
        file = self.get(number)
        del self._files[number]
        file.forget_poller()
        return file

    def drain(self) -> list[OpenFile]:
        """Everything still open, when the mount has gone."""
        files = list(self._files.values())
        self._files.clear()
        for file in files:
            file.forget_poller()
        return files
