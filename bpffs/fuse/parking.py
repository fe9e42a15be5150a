"""Those who wait: parked readers, woken by their queue or ended by a signal, and callers of long work.

A read that FUSE does not answer cannot be killed. So one task looks at all that wait every few
hundredths of a second and ends those whose task has a signal waiting with EINTR, as Linux does.
"""

import errno
from collections.abc import Callable
from contextlib import suppress

import trio

from bpffs.fuse.readers import is_interrupted, signal_waits
from engine.errors import KernelError
from engine.kernfs import WaitQueue

__all__ = ["Expecting", "Parked", "ParkingLot"]

LOOK_SECONDS = 0.06
"""Between two looks at the signals of all parked readers."""

MOST_PARKED = 2048
"""More readers than this are turned away with EAGAIN: each holds one of the tasks that serve requests."""


class Parked:
    """One waiting reader. `wait` returns at each wake of the queue."""

    patient = False

    def __init__(self, lot: "ParkingLot", queue: WaitQueue, tid: int) -> None:
        self.tid = tid
        self._lot = lot
        self._queue = queue
        self._woken = trio.Event()
        self._told = False
        self._errno = 0
        self._token = queue.subscribe(self._wake)

    def _wake(self) -> None:
        """Any thread: have the waiting task look again. Wakes that come before it looked are one."""
        if not self._told:
            self._told = True
            self._lot.call_soon(self._stir)

    def _stir(self) -> None:
        self._woken.set()

    def end(self, number: int) -> None:
        """On the main thread: the wait ends with this errno."""
        self._errno = number
        self._woken.set()

    async def wait(self) -> None:
        """Until the queue wakes. Raises KernelError(EINTR) on a signal, ENODEV when the mount goes away."""
        await self._woken.wait()
        if self._errno:
            raise KernelError(self._errno)
        self._woken = trio.Event()
        self._told = False

    def leave(self) -> None:
        """Out of the lot and of the queue."""
        self._queue.unsubscribe(self._token)
        self._lot.remove(self)


class Expecting:
    """Thread `tid` waits for work that a worker thread does, or will do at its `turn`.

    `errno` is not 0 once the work is to end; any thread may look. When the thread is gone, somebody else
    holds the descriptor. `find`, if there is one, tells who really waits; it is asked once, and only if the
    work takes long enough to be looked at.
    """

    patient = True

    def __init__(self, lot: "ParkingLot", tid: int, find: Callable[[], int] | None) -> None:
        self.tid = tid
        self.errno = 0
        self._find = find
        self.turn = trio.CancelScope()
        self._lot = lot

    def look(self) -> None:
        """Find out who really waits, the first time."""
        if self._find is not None:
            self.tid, self._find = self._find(), None

    def end(self, number: int) -> None:
        """On the main thread: have the work end, or not begin."""
        self.errno = number
        self.turn.cancel()

    def leave(self) -> None:
        """Out of the lot."""
        self._lot.remove(self)


class ParkingLot:
    """All who wait at a mount and the one task that watches them. Made inside the trio run."""

    def __init__(self) -> None:
        self._parked: set[Parked | Expecting] = set()
        self._trio = trio.lowlevel.current_trio_token()
        self._somebody = trio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, queue: WaitQueue, tid: int) -> Parked:
        """Subscribe thread `tid` to `queue`. Raises KernelError: EAGAIN lot full, ENODEV lot closed."""
        if self._closed:
            raise KernelError(errno.ENODEV)
        if len(self._parked) >= MOST_PARKED:
            raise KernelError(errno.EAGAIN, f"{MOST_PARKED} readers wait already")
        parked = Parked(self, queue, tid)
        self._parked.add(parked)
        self._somebody.set()
        return parked

    def expect(self, tid: int, find: Callable[[], int] | None = None) -> Expecting:
        """Thread `tid`, or whom `find` finds, waits for long work. Raises KernelError(ENODEV): lot closed."""
        if self._closed:
            raise KernelError(errno.ENODEV)
        expecting = Expecting(self, tid, find)
        self._parked.add(expecting)
        self._somebody.set()
        return expecting

    def remove(self, parked: Parked | Expecting) -> None:
        """It no longer waits."""
        self._parked.discard(parked)

    def call_soon(self, function: Callable[[], None]) -> None:
        """Run `function` on the main thread, soon; from any thread."""
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(function)

    def close(self) -> None:
        """End every wait, and every later one, with ENODEV: the mount goes away."""
        self._closed = True
        for parked in self._parked:
            parked.end(errno.ENODEV)

    async def watch(self) -> None:
        """The task that ends waits whose reader was interrupted, or is gone."""
        while True:
            await self._somebody.wait()
            while self._parked:
                await trio.sleep(LOOK_SECONDS)
                for parked in self._parked:
                    if isinstance(parked, Expecting):
                        parked.look()
                    # Work that would be lost is not ended because a debugger has a look.
                    waits = (signal_waits if parked.patient else is_interrupted)(parked.tid)
                    if waits or (waits is None and not parked.patient):
                        parked.end(errno.EINTR)
            self._somebody = trio.Event()
