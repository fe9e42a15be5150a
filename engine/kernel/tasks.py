"""Tasks: a slot of the kernel arena for every attached thread, and its task_struct.

Native, for the tracer: `task_new` when a thread appears, `task_set_*` as facts become known, `task_free`
when it is gone. `Env.TASK` holds the kernel alias of the slot, which is the address of the task_struct.

    allocator  +0 lock u32   +8 next never used   +16 end of arena   +24 first free slot, linked   +32 count
"""

from engine.env import TASK_COMM_LEN, Ctl, Env, peek64, poke64
from engine.jit.lang import (
    atomic_add64,
    load_acquire64,
    memcmp,
    memcpy,
    memset,
    native,
    put32,
    put64,
    u32,
    u64,
)
from engine.kernel.layout import ALIAS, SLOT_SIZE, Slot, Task
from engine.memory import Heap
from engine.probes.layout import INSTANCE_SIZE, Instance, Rec
from engine.spin import spin_lock, spin_unlock

__all__ = [
    "TaskAllocator",
    "current_slot",
    "drop_instances",
    "task_free",
    "task_new",
    "task_renumber",
    "task_set_comm",
    "task_set_creds",
    "task_set_leader",
    "task_set_parent",
]

_NEXT, _END, _FREE, _COUNT = 8, 16, 24, 32
_STATE_SIZE = 64
_CLEARED = 8192
"""Bytes of a reused slot that are zeroed: everything but path and file buffers, which carry serials."""


@native(inline=True)
def current_slot(env: int) -> int:
    """Host address of the current thread's slot; 0 if it has none."""
    task = u64(env + Env.TASK)
    return task - ALIAS if task != 0 else 0


@native
def _take(state: int) -> int:
    """A slot, its head zeroed; 0 when the arena is full."""
    spin_lock(state)
    slot = u64(state + _FREE)
    if slot != 0:
        put64(state + _FREE, u64(slot + Slot.FREE_LINK))
    elif u64(state + _NEXT) + SLOT_SIZE <= u64(state + _END):
        slot = u64(state + _NEXT)
        put64(state + _NEXT, slot + SLOT_SIZE)
    if slot != 0:
        put64(state + _COUNT, u64(state + _COUNT) + 1)
    spin_unlock(state)
    return slot


@native
def task_new(ctl: int, tid: int, tgid: int, start_ns: int) -> int:
    """A task for thread `tid` of process `tgid`: kernel alias for `Env.TASK`, or 0 when there is no room.

    Its parent is itself and its name empty until set.
    """
    slot = _take(u64(ctl + Ctl.TASKS))
    if slot == 0:
        return 0
    serial = u64(slot + Slot.SERIAL)
    memset(slot, 0, _CLEARED)
    # Serials go on from where the slot's last owner left them: cached objects of it never match.
    put64(slot + Slot.SERIAL, serial + 1)
    task = slot + ALIAS
    put32(slot + Task.PID, tid)
    put32(slot + Task.TGID, tgid)
    put64(slot + Task.REAL_PARENT, task)
    put64(slot + Task.PARENT, task)
    put64(slot + Task.GROUP_LEADER, task)
    put64(slot + Task.CRED, task + Slot.CRED)
    put64(slot + Task.REAL_CRED, task + Slot.CRED)
    put64(slot + Task.MM, task + Slot.MM)
    put64(slot + Task.FILES, task + Slot.FILES)
    put64(slot + Task.SIGNAL, task + Slot.SIGNAL)
    put64(slot + Task.NSPROXY, task + Slot.NSPROXY)
    put64(slot + Task.START_TIME, start_ns)
    put64(slot + Task.START_BOOTTIME, start_ns)
    put32(slot + Task.PRIO, 120)
    return task


@native
def drop_instances(slot: int) -> int:
    """Forget the thread's pending return probes, as `kretprobe_flush_task`."""
    count = u32(slot + Slot.INSTANCES)
    for i in range(count):
        at = slot + Slot.INSTANCE_TABLE + i * INSTANCE_SIZE
        rec = u64(at + Instance.REC)
        if load_acquire64(rec + Rec.GENERATION) == u64(at + Instance.GENERATION):
            atomic_add64(rec + Rec.ACTIVE, -1)
    put32(slot + Slot.INSTANCES, 0)
    return 0


@native
def task_free(ctl: int, task: int) -> int:
    """The thread is gone, or detached: drop its pending return probes and reuse its slot."""
    slot = task - ALIAS
    drop_instances(slot)
    state = u64(ctl + Ctl.TASKS)
    spin_lock(state)
    put64(slot + Slot.FREE_LINK, u64(state + _FREE))
    put64(state + _FREE, slot)
    put64(state + _COUNT, u64(state + _COUNT) - 1)
    spin_unlock(state)
    return 0


@native
def task_renumber(task: int, tid: int, tgid: int) -> int:
    """A thread that is not the leader has executed a program and taken over the leader's id."""
    slot = task - ALIAS
    put32(slot + Task.PID, tid)
    put32(slot + Task.TGID, tgid)
    put64(slot + Task.GROUP_LEADER, task)
    return 0


@native
def task_set_comm(task: int, comm: int) -> int:
    """Copy the 16 bytes at host address `comm`; returns whether the name has changed."""
    slot = task - ALIAS
    if memcmp(slot + Task.COMM, comm, TASK_COMM_LEN) == 0:
        return 0
    memcpy(slot + Task.COMM, comm, TASK_COMM_LEN)
    return 1


@native
def task_set_parent(task: int, parent: int) -> int:
    """Make the task at kernel alias `parent` its parent (and tracer's parent: the model shows no ptrace)."""
    put64(task - ALIAS + Task.REAL_PARENT, parent)
    put64(task - ALIAS + Task.PARENT, parent)
    return 0


@native
def task_set_leader(task: int, leader: int) -> int:
    """Make the task at kernel alias `leader` its thread-group leader."""
    put64(task - ALIAS + Task.GROUP_LEADER, leader)
    return 0


@native
def task_set_creds(task: int, uid: int, gid: int, euid: int, egid: int) -> int:
    """Fill `struct cred`: uid, gid, suid, sgid, euid, egid, fsuid, fsgid (saved and fs ids as effective)."""
    cred = task - ALIAS + Slot.CRED
    put32(cred + 4, uid)
    put32(cred + 8, gid)
    put32(cred + 12, euid)
    put32(cred + 16, egid)
    put32(cred + 20, euid)
    put32(cred + 24, egid)
    put32(cred + 28, euid)
    put32(cred + 32, egid)
    return 0


class TaskAllocator:
    """The arena's slots. `count` is how many are in use."""

    def __init__(self, heap: Heap, arena: int, arena_size: int, ctl: int) -> None:
        self._state = heap.alloc(_STATE_SIZE, 64)
        poke64(self._state + _NEXT, -(-arena // SLOT_SIZE) * SLOT_SIZE)
        poke64(self._state + _END, arena + arena_size)
        poke64(ctl + Ctl.TASKS, self._state)

    @property
    def count(self) -> int:
        """Slots in use."""
        return peek64(self._state + _COUNT)
