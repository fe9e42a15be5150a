"""Firing: from a thread's system call to the handlers of the probes on it, natively.

The tracer calls `syscall_enter` at every entry stop and `syscall_exit` at every return stop of a thread
whose `Env` it has filled. Both follow the published site table inside a read section of the epoch.

Order is Linux's: `do_syscall_64`, the tracepoints of entry, then calls as they nest; probes of one function
from the most recently registered; pending returns in the reverse order of their entries, the tracepoints
of return before that of `do_syscall_64`.
"""

from engine.env import Ctl, Env
from engine.epoch import epoch_enter, epoch_leave
from engine.jit.lang import (
    load_acquire64,
    local,
    memcpy,
    memset,
    native,
    put32,
    put64,
    s32,
    u32,
    u64,
    ult,
)
from engine.kernel.layout import ALIAS, Slot
from engine.kernel.tasks import current_slot, drop_instances
from engine.probes.args import syscall_argument
from engine.probes.frames import fire_frame, fire_returns, run_handler
from engine.probes.layout import SITE_HEAD, Rec, RecKind, Site
from engine.probes.regs import PT_REGS_SIZE, Reg
from engine.runlock import run_lock, run_unlock

__all__ = ["fire_list", "site_at", "site_of", "syscall_enter", "syscall_exit"]

_RECORD_SIZE = 64
_NR_RT_SIGRETURN = 15


@native
def site_at(env: int, row: int) -> int:
    """The site in a row of the published table; 0 if nothing of it is armed."""
    table = load_acquire64(u64(env + Env.CTL) + Ctl.ENTRY_SITES)
    return u64(table + 8 + row * 8) if table != 0 else 0


@native
def site_of(env: int, nr: int) -> int:
    """The site of a system call number; 0 if nothing of it is armed."""
    table = load_acquire64(u64(env + Env.CTL) + Ctl.ENTRY_SITES)
    if table == 0:
        return 0
    row = u64(table)
    if ult(nr, row):
        row = nr
    elif nr == -1:
        row += 1
    return u64(table + 8 + row * 8)


@native
def fire_list(env: int, records: int, record: int, size: int, raw_args: int) -> int:
    """Run the probes of a tracepoint, each with what it asked for: the record, or the raw arguments."""
    put64(env + Env.FUNC, 0)
    put64(env + Env.RET_IP, 0)
    run_lock(env)
    for i in range(u64(records)):
        rec = u64(records + 8 + i * 8)
        raw = u64(rec + Rec.KIND) == RecKind.RAW_ARGS
        put64(env + Env.RECORD_SIZE, size)
        run_handler(env, raw_args if raw else record, rec)
    run_unlock(env)
    return 0


@native
def _fire_syscall_event(env: int, slot: int, records: int, nr: int, is_exit: int, retval: int) -> int:
    """Tracepoints of entry or return: raw_syscalls and syscalls differ in the type of the number only."""
    raw_args = local(16)
    raw_args_1 = nr
    if is_exit:
        raw_args_1 = retval
    put64(raw_args, slot + Slot.REGS + ALIAS)
    put64(raw_args + 8, raw_args_1)
    record = local(_RECORD_SIZE)
    memset(record, 0, 8)
    put64(record + 8, nr)
    size = 24
    if is_exit:
        put64(record + 16, retval)
    else:
        size = _RECORD_SIZE
        for i in range(6):
            put64(record + 16 + i * 8, syscall_argument(slot + Slot.REGS, i))
    return fire_list(env, records, record, size, raw_args)


@native
def _fire_entries(env: int, slot: int, site: int, nr: int) -> int:
    """Everything that an entry fires; returns whether its return fires something."""
    frames = u32(site + Site.COUNT) - u32(site + Site.DEFERRED)
    i = 0
    if u32(site + Site.OUTERMOST):
        fire_frame(env, slot, 0, u64(site + SITE_HEAD))
        i = 1
    if u64(site + Site.ENTER_LIST) != 0:
        _fire_syscall_event(env, slot, u64(site + Site.ENTER_LIST), nr, 0, 0)
    while i < frames:
        fire_frame(env, slot, 0, u64(site + SITE_HEAD + i * 8))
        i += 1
    if u64(site + Site.EXIT_LIST) != 0:
        return 1
    return u32(site + Site.DEFERRED) != 0 or u32(slot + Slot.INSTANCES) != 0


@native
def syscall_enter(env: int, uregs: int) -> int:
    """A system call of the current thread begins. `uregs` is its user_regs_struct (PTRACE_GETREGS).

    Returns 1 if its return fires anything, so that `syscall_exit` matters; else 0.
    """
    slot = current_slot(env)
    if slot == 0:
        return 0
    memcpy(slot + Slot.REGS, uregs, PT_REGS_SIZE)
    nr = s32(uregs + Reg.ORIG_AX)
    put64(slot + Slot.SERIAL, u64(slot + Slot.SERIAL) + 1)
    put64(slot + Slot.CALL_SERIAL, u64(slot + Slot.SERIAL))
    put32(slot + Slot.SYSCALL_NR, nr)
    put64(slot + Slot.PENDING, 1)
    if u32(slot + Slot.INSTANCES) != 0:
        drop_instances(slot)
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    site = site_of(env, nr)
    wanted = 0
    if site != 0:
        wanted = _fire_entries(env, slot, site, nr)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return wanted


@native
def _fire_deferred(env: int, slot: int, site: int, retval: int) -> int:
    """Calls that are known of only now."""
    count = u32(site + Site.COUNT)
    i = count - u32(site + Site.DEFERRED)
    while i < count:
        fire_frame(env, slot, retval, u64(site + SITE_HEAD + i * 8))
        i += 1
    return 0


@native
def syscall_exit(env: int, uregs: int, retval: int) -> int:
    """The running system call of the current thread returns `retval` (a result or a negative errno).

    `uregs` may be 0; arguments are those seen at entry. Of a return whose entry was not seen, only the
    tracepoints fire, as on Linux; so also for a new thread, which returns 0 from its clone.
    """
    slot = current_slot(env)
    if slot == 0:
        return 0
    pending = u64(slot + Slot.PENDING)
    put64(slot + Slot.PENDING, 0)
    entered = s32(slot + Slot.SYSCALL_NR)
    nr = s32(uregs + Reg.ORIG_AX) if uregs != 0 else entered
    if nr != entered and entered != _NR_RT_SIGRETURN:
        # The entry that was seen is another call's, whose return was not.
        pending = 0
    if not pending:
        drop_instances(slot)
        if uregs == 0:
            return 0
        memcpy(slot + Slot.REGS, uregs, PT_REGS_SIZE)
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    # What the system call has done since its entry is not in the objects made then.
    put64(slot + Slot.SERIAL, u64(slot + Slot.SERIAL) + 1)
    if pending:
        site = site_of(env, entered)
        if site != 0:
            _fire_deferred(env, slot, site, retval)
        fire_returns(env, slot, retval, 1)
    site = site_of(env, nr)
    if site != 0 and u64(site + Site.EXIT_LIST) != 0:
        _fire_syscall_event(env, slot, u64(site + Site.EXIT_LIST), nr, 1, retval)
    fire_returns(env, slot, retval, 0)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return 0
