"""Grace periods: when memory that was unpublished can no longer be held by a runner (epoch based, as RCU).

A runner is inside a read section from `epoch_enter(slot)` to `epoch_leave(slot)`; sections nest. A writer
unpublishes with `publish`, then `retire`s what was there. It is reclaimed by `poll` once every
section that was open at that moment has ended.

    slot  +0 epoch seen on entry (0: outside)   +8 address of the global epoch   +16 nesting depth
"""

import threading
from collections import deque
from collections.abc import Callable

from engine.env import Ctl, peek64, poke64
from engine.jit.lang import atomic_add64, load_acquire64, native, put64, store_release64, u64, xchg64
from engine.memory import Heap

__all__ = ["EPOCH_SLOT_SIZE", "Epoch", "epoch_enter", "epoch_leave", "publish"]

EPOCH_SLOT_SIZE = 64


@native(inline=True)
def epoch_enter(slot: int) -> int:
    """Begin a read section. Everything loaded after it stays valid until the matching leave."""
    depth = u64(slot + 16)
    put64(slot + 16, depth + 1)
    if depth == 0:
        # The exchange is a full barrier: no later load of a published pointer passes it.
        xchg64(slot, load_acquire64(u64(slot + 8)))
    return 0


@native(inline=True)
def epoch_leave(slot: int) -> int:
    """End a read section."""
    depth = u64(slot + 16) - 1
    put64(slot + 16, depth)
    if depth == 0:
        store_release64(slot, 0)
    return 0


@native
def publish(address: int, value: int) -> int:
    """Store a pointer that runners load, with a full barrier; returns what was there."""
    return xchg64(address, value)


class Epoch:
    """The writers' side. Thread-safe; reclaiming functions run in `poll`'s caller, without locks held."""

    def __init__(self, heap: Heap, ctl: int) -> None:
        self._heap = heap
        self._global = ctl + Ctl.EPOCH
        # The collector may run a finalizer that retires something, at any allocation, also under this lock.
        self._lock = threading.RLock()
        self._closed = False
        self._slots: list[int] = []
        self._retired: deque[tuple[int, Callable[[], None]]] = deque()
        poke64(self._global, 1)

    def register(self) -> int:
        """A slot for a new runner, for `Env.EPOCH_SLOT`."""
        slot = self._heap.alloc(EPOCH_SLOT_SIZE, 64)
        poke64(slot + 8, self._global)
        with self._lock:
            self._slots.append(slot)
        return slot

    def unregister(self, slot: int) -> None:
        """The runner is gone, outside any section."""
        with self._lock:
            self._slots.remove(slot)
        self._heap.free(slot)

    def retire(self, reclaim: Callable[[], None]) -> None:
        """Call `reclaim` when no runner can hold what was unpublished before this call."""
        with self._lock:
            if not self._closed:
                seen = atomic_add64(self._global, 1)
                self._retired.append((seen, reclaim))
                return
        reclaim()

    def poll(self) -> int:
        """Reclaim what is due; returns how many retired items still wait."""
        with self._lock:
            open_sections = [value for slot in self._slots if (value := peek64(slot))]
            oldest = min(open_sections, default=1 << 64)
            due = []
            while self._retired and self._retired[0][0] < oldest:
                due.append(self._retired.popleft()[1])
            left = len(self._retired)
        for reclaim in due:
            reclaim()
        return left

    def close(self) -> None:
        """No runner is left: reclaim everything, and from now on at once."""
        with self._lock:
            self._closed = True
            due = [reclaim for _, reclaim in self._retired]
            self._retired.clear()
        for reclaim in due:
            reclaim()

    @property
    def pending(self) -> int:
        """Retired items that wait for their grace period."""
        return len(self._retired)
