"""Calling a node or a handle: at once, in a worker thread if the node is slow, waiting if it has to wait."""

import errno
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import trio

from bpffs.fuse.openfiles import OpenFile
from bpffs.fuse.parking import Expecting, Parked, ParkingLot
from bpffs.fuse.readers import find_reader
from engine.errors import KernelError
from engine.interruption import interruptible
from engine.kernfs import Node, WouldBlock

__all__ = ["Calls"]

WORKERS = 8
"""Worker threads for slow nodes; more operations on them wait for their turn."""

HEAVY_WORKERS = 2
"""Threads for what may take minutes, of their own: it does not keep the others from their turn."""

P = ParamSpec("P")
T = TypeVar("T")


class Calls:
    """How requests call into the tree. One object per mount, made inside the trio run."""

    def __init__(self) -> None:
        self.lot = ParkingLot()
        self._workers = trio.CapacityLimiter(WORKERS)
        self._heavy_workers = trio.CapacityLimiter(HEAVY_WORKERS)

    async def run(self, node: Node, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args)`, off the main thread when `node` is slow. Raises what it raises."""
        if not node.slow:
            return function(*args, **kwargs)
        return await trio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=self._workers)

    async def run_heavy(self, file: OpenFile, function: Callable[[], T]) -> T:
        """As `run`, for the close of `file`; where that is heavy, it ends when who opened it gets a signal.

        Raises KernelError(EINTR) then, ENODEV when the mount goes away.
        """
        if not file.node.heavy:
            return await self.run(file.node, function)
        return await self._run_until_told(self.lot.expect(file.tid), self._heavy_workers, function)

    async def _run_until_told(
        self, wait: Expecting, limiter: trio.CapacityLimiter, function: Callable[[], T]
    ) -> T:
        """`function()` in a worker thread, which may end early when `wait` says so. Raises its errno then."""
        try:
            with wait.turn, interruptible(lambda: wait.errno != 0):
                return await trio.to_thread.run_sync(function, limiter=limiter)
        except KernelError:
            if not wait.errno:
                raise
        finally:
            wait.leave()
        raise KernelError(wait.errno)

    async def run_blocking(
        self, file: OpenFile, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `run`, for a read or write of `file` that may have to wait, or work for long.

        Raises KernelError(EAGAIN) if it has to wait and the descriptor is O_NONBLOCK, EINTR when a signal
        ends the wait or the work, ENODEV when the mount goes away.
        """
        parked: Parked | None = None
        try:
            while True:
                try:
                    if not file.node.slow:
                        return function(*args, **kwargs)
                    wanting = self.lot.expect(file.tid, lambda: self._who_reads(file))
                    return await self._run_until_told(
                        wanting, self._workers, lambda: function(*args, **kwargs)
                    )
                except WouldBlock as wait:
                    if parked is not None:
                        await parked.wait()
                        continue
                    parked = self.lot.park(wait.queue, self._reader(file))
        finally:
            if parked is not None:
                parked.leave()

    def _who_reads(self, file: OpenFile) -> int:
        """The thread that reads `file`, or else the one that opened it."""
        reader = find_reader(file.tid, file.name, file.inode)
        return file.tid if reader is None else reader.tid

    def _reader(self, file: OpenFile) -> int:
        """The thread that waits: usually who opened the file, else who is seen reading it.

        O_NONBLOCK may have been set after the file was opened (fcntl), so the descriptor itself is asked.
        """
        reader = None if file.nonblocking else find_reader(file.tid, file.name, file.inode)
        if file.nonblocking or (reader is not None and reader.flags & os.O_NONBLOCK):
            raise KernelError(errno.EAGAIN)
        if reader is not None:
            file.tid = reader.tid
        return file.tid
