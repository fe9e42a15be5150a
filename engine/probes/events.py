"""Process events: what the tracer tells of a thread's birth, new program, new name and end, natively.

Each fires the functions and tracepoints that Linux passes then, in its order. `Env` describes the current
thread, as for a system call. Rows of the site table follow those of the system calls in order of `Event`.
"""

from enum import IntEnum

from engine.abi.syscalls import NR_SYSCALLS
from engine.env import TASK_COMM_LEN, Env
from engine.epoch import epoch_enter, epoch_leave
from engine.jit.lang import local, memcpy, memset, native, put16, put32, put64, strnlen, u32, u64
from engine.kernel.layout import ALIAS, NAME_BUFFER, Slot, Task
from engine.kernel.tasks import current_slot
from engine.probes.fire import fire_list, site_at
from engine.probes.frames import fire_frame
from engine.probes.layout import SITE_HEAD, Site

__all__ = [
    "FIRST_ROW",
    "Event",
    "thread_exec",
    "thread_exit",
    "thread_fork",
    "thread_killed",
    "thread_renamed",
]

FIRST_ROW = NR_SYSCALLS + 2
"""Row of the first event."""
_PRIO = 120
_PATH_MAX = 4096


class Event(IntEnum):
    """Events that have a row in the site table."""

    KILLED = 0
    """`do_group_exit` of a thread that ends without exit_group of its own."""
    EXIT = 1
    """`do_exit` and sched:sched_process_exit."""
    NEWTASK = 2
    FORK = 3
    EXEC = 4
    RENAME = 5
    VFS_OPEN = 6
    """From here on: operations on the mount, in order of `MOUNT_CALLS`."""


@native
def _fire(env: int, slot: int, event: int, value: int, record: int, size: int, raw_args: int) -> int:
    """Functions, then tracepoints, of one event. The caller is inside a read section."""
    site = site_at(env, FIRST_ROW + event)
    if site == 0:
        return 0
    for i in range(u32(site + Site.COUNT)):
        fire_frame(env, slot, value, u64(site + SITE_HEAD + i * 8))
    if u64(site + Site.ENTER_LIST) != 0:
        fire_list(env, u64(site + Site.ENTER_LIST), record, size, raw_args)
    return 1


@native
def thread_killed(env: int, signal: int) -> int:
    """The current thread ends by `signal`, or as another thread of its process has ended all (SIGKILL)."""
    slot = current_slot(env)
    if slot == 0:
        return 0
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    _fire(env, slot, Event.KILLED, signal, 0, 0, 0)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return 0


@native
def thread_exit(env: int, code: int) -> int:
    """The current thread is in do_exit(code): PTRACE_EVENT_EXIT, once a thread however it ends."""
    slot = current_slot(env)
    if slot == 0:
        return 0
    record = local(32)
    raw_args = local(8)
    memset(record, 0, 8)
    memcpy(record + 8, env + Env.COMM, TASK_COMM_LEN)
    put32(record + 24, u32(env + Env.TID))
    put32(record + 28, _PRIO)
    put64(raw_args, u64(env + Env.TASK))
    put32(slot + Task.EXIT_CODE, code)
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    _fire(env, slot, Event.EXIT, code, record, 32, raw_args)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return 0


@native
def thread_fork(env: int, child: int, clone_flags: int) -> int:
    """The current thread has made `child` (kernel alias of its task, filled): newtask, then fork."""
    slot = current_slot(env)
    if slot == 0 or child == 0:
        return 0
    made = child - ALIAS
    raw_args = local(16)
    put64(raw_args, child)
    put64(raw_args + 8, clone_flags)
    record = local(48)
    memset(record, 0, 48)
    put32(record + 8, u32(made + Task.PID))
    memcpy(record + 12, made + Task.COMM, TASK_COMM_LEN)
    put64(record + 32, clone_flags)
    put16(record + 40, 0)
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    _fire(env, slot, Event.NEWTASK, 0, record, 48, raw_args)
    memset(record, 0, 8)
    memcpy(record + 8, env + Env.COMM, TASK_COMM_LEN)
    put32(record + 24, u32(env + Env.TID))
    memcpy(record + 28, made + Task.COMM, TASK_COMM_LEN)
    put32(record + 44, u32(made + Task.PID))
    put64(raw_args, u64(env + Env.TASK))
    put64(raw_args + 8, child)
    _fire(env, slot, Event.FORK, 0, record, 48, raw_args)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return 0


@native
def thread_renamed(env: int, old: int) -> int:
    """The current thread's name was the 16 bytes at host address `old` and is `Env.COMM` now."""
    slot = current_slot(env)
    if slot == 0:
        return 0
    record = local(48)
    raw_args = local(16)
    memset(record, 0, 48)
    put32(record + 8, u32(env + Env.TID))
    memcpy(record + 12, old, TASK_COMM_LEN)
    memcpy(record + 28, env + Env.COMM, TASK_COMM_LEN)
    put64(raw_args, u64(env + Env.TASK))
    put64(raw_args + 8, slot + Task.COMM + ALIAS)
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    _fire(env, slot, Event.RENAME, 0, record, 48, raw_args)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return 0


@native
def thread_exec(env: int, filename: int, old_tid: int) -> int:
    """The current thread runs a new program, the NUL-terminated path at host address `filename`.

    `old_tid` is the id that it had before.
    """
    slot = current_slot(env)
    if slot == 0:
        return 0
    # The record may be long and handlers own the scratch buffer: it goes where the second path would be.
    record = slot + Slot.NAMES + NAME_BUFFER
    length = strnlen(filename, _PATH_MAX - 1)
    memset(record, 0, 24)
    put32(record + 8, (length + 1) << 16 | 20)
    put32(record + 12, u32(env + Env.TID))
    put32(record + 16, old_tid)
    memcpy(record + 20, filename, length)
    memset(record + 20 + length, 0, 8)
    bprm = slot + Slot.BPRM
    put64(bprm, slot + Slot.NAMES + ALIAS)
    put64(bprm + 8, slot + Slot.NAMES + ALIAS)
    memcpy(slot + Slot.NAMES, filename, length + 1)
    raw_args = local(24)
    put64(raw_args, u64(env + Env.TASK))
    put64(raw_args + 8, old_tid)
    put64(raw_args + 16, bprm + ALIAS)
    put64(slot + Slot.NAME_SERIAL, 0)
    put64(slot + Slot.NAME_SERIAL + 8, 0)
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    _fire(env, slot, Event.EXEC, 0, record, (20 + length + 1 + 7) & ~7, raw_args)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return 0
