"""Firing: from a thread's system call to the handlers of the probes on it, natively.

The tracer calls `syscall_enter` at every entry stop and `syscall_exit` at every return stop of a thread
whose `Env` it has filled. Both follow the published site table inside a read section of the epoch. Arguments
are made before the CPU's run lock is taken; handlers run with it held.

Order is Linux's: calls as they nest, probes of one function from the most recently registered, pending
returns in the reverse order of their entries.
"""

from engine.env import Ctl, Env
from engine.epoch import epoch_enter, epoch_leave
from engine.jit.lang import (
    atomic_add64,
    call,
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
from engine.kernel.callparse import RetKind
from engine.kernel.files import file_object
from engine.kernel.layout import ALIAS, Slot
from engine.kernel.objects import is_error
from engine.kernel.tasks import current_slot, drop_instances
from engine.probes.args import evaluate, guard_holds
from engine.probes.layout import (
    INSTANCE_SIZE,
    MAX_ARGS,
    MAX_INSTANCES,
    OP_SIZE,
    SITE_HEAD,
    Frame,
    Instance,
    Rec,
    Site,
)
from engine.probes.regs import PT_REGS_SIZE, TRAMPOLINE, Reg
from engine.runlock import run_lock, run_unlock

__all__ = ["fire_frame", "fire_returns", "run_handler", "syscall_enter", "syscall_exit"]

_KERNEL_CS, _KERNEL_SS, _EFLAGS = 0x10, 0x18, 0x246
_STACK_STEP = 128


@native
def run_handler(env: int, regs: int, rec: int) -> int:
    """Run one probe's handler, unless one is running already (then it counts as missed)."""
    if u64(env + Env.IN_HIT) != 0:
        return atomic_add64(rec + Rec.NMISSED, 1)
    atomic_add64(rec + Rec.NHIT, 1)
    put64(env + Env.IN_HIT, 1)
    put64(env + Env.REGS, regs)
    call(u64(rec + Rec.HANDLER), env, regs, u64(rec + Rec.PRIV))
    put64(env + Env.IN_HIT, 0)
    return 0


@native
def _stack_pointer(slot: int, depth: int) -> int:
    """Host address of the return address of a call nested `depth` deep."""
    return slot + Slot.STACK_TOP - 8 - (depth + 1) * _STACK_STEP


@native
def _kernel_regs(regs: int, ip: int, sp: int) -> int:
    """A kernel-mode pt_regs with all general registers zero."""
    memset(regs, 0, PT_REGS_SIZE)
    put64(regs + Reg.IP, ip)
    put64(regs + Reg.CS, _KERNEL_CS)
    put64(regs + Reg.FLAGS, _EFLAGS)
    put64(regs + Reg.SP, sp)
    put64(regs + Reg.SS, _KERNEL_SS)
    put64(regs + Reg.ORIG_AX, -1)
    return 0


@native
def _push_return(slot: int, frame: int, rec: int, stack: int) -> int:
    """Make a pending return of `rec`, as rethook_hook; counts a miss when there is no room for it."""
    count = u32(slot + Slot.INSTANCES)
    if count >= MAX_INSTANCES or u64(rec + Rec.ACTIVE) >= u64(rec + Rec.MAX_ACTIVE):
        return atomic_add64(rec + Rec.NMISSED, 1)
    atomic_add64(rec + Rec.ACTIVE, 1)
    at = slot + Slot.INSTANCE_TABLE + count * INSTANCE_SIZE
    put64(at + Instance.REC, rec)
    put64(at + Instance.GENERATION, u64(rec + Rec.GENERATION))
    put64(at + Instance.FUNC, u64(frame + Frame.FUNC))
    put64(at + Instance.RET_IP, u64(stack))
    put64(at + Instance.CALLER_IP, u64(frame + Frame.RET_IP))
    put64(at + Instance.RET_IMM, u64(frame + Frame.RET_IMM))
    put64(at + Instance.RET_MASK, u64(frame + Frame.RET_MASK))
    put32(at + Instance.RET_KIND, u32(frame + Frame.RET_KIND))
    put32(at + Instance.DEPTH, u32(frame + Frame.DEPTH))
    put32(slot + Slot.INSTANCES, count + 1)
    put64(stack, TRAMPOLINE)
    return 0


@native
def fire_frame(env: int, slot: int, retval: int, frame: int) -> int:
    """One armed call: if its guards hold, make its registers and run its probes."""
    ops = frame + Frame.OPS
    guard = ops + MAX_ARGS * OP_SIZE
    for _i in range(u32(frame + Frame.GUARDS)):
        if not guard_holds(env, slot, retval, guard):
            return 0
        guard += OP_SIZE
    regs = local(PT_REGS_SIZE)
    stack = _stack_pointer(slot, u32(frame + Frame.DEPTH))
    # A probe's breakpoint has been executed: Linux shows the address after it.
    _kernel_regs(regs, u64(frame + Frame.FUNC) + 1, stack + ALIAS)
    count = u32(frame + Frame.ARGS)
    if count > 0:
        put64(regs + Reg.DI, evaluate(env, slot, retval, ops))
    if count > 1:
        put64(regs + Reg.SI, evaluate(env, slot, retval, ops + OP_SIZE))
    if count > 2:
        put64(regs + Reg.DX, evaluate(env, slot, retval, ops + 2 * OP_SIZE))
    if count > 3:
        put64(regs + Reg.CX, evaluate(env, slot, retval, ops + 3 * OP_SIZE))
    if count > 4:
        put64(regs + Reg.R8, evaluate(env, slot, retval, ops + 4 * OP_SIZE))
    if count > 5:
        put64(regs + Reg.R9, evaluate(env, slot, retval, ops + 5 * OP_SIZE))
    put64(stack, u64(frame + Frame.RET_IP))
    put64(env + Env.FUNC, u64(frame + Frame.FUNC))
    put64(env + Env.RET_IP, u64(frame + Frame.RET_IP))
    probes = u64(frame + Frame.PROBES)
    run_lock(env)
    for i in range(u64(probes)):
        rec = u64(probes + 8 + i * 8)
        if u64(rec + Rec.IS_RETURN):
            _push_return(slot, frame, rec, stack)
        else:
            run_handler(env, regs, rec)
    run_unlock(env)
    return 1


@native
def _return_value(env: int, slot: int, retval: int, at: int) -> int:
    """What the function of a pending return returned."""
    kind = u32(at + Instance.RET_KIND)
    if kind == RetKind.CONSTANT:
        return u64(at + Instance.RET_IMM)
    if kind == RetKind.FILE and not is_error(retval):
        return file_object(env, slot, retval, 1)
    return retval & u64(at + Instance.RET_MASK)


@native
def _fire_return(env: int, slot: int, retval: int, at: int) -> int:
    """One pending return: run its handler if its probe is still there and enabled."""
    rec = u64(at + Instance.REC)
    if load_acquire64(rec + Rec.GENERATION) != u64(at + Instance.GENERATION):
        return 0
    atomic_add64(rec + Rec.ACTIVE, -1)
    if u32(at + Instance.RET_KIND) == RetKind.NEVER or u64(rec + Rec.ENABLED) == 0:
        return 0
    regs = local(PT_REGS_SIZE)
    stack = _stack_pointer(slot, u32(at + Instance.DEPTH))
    _kernel_regs(regs, u64(at + Instance.CALLER_IP), stack + 8 + ALIAS)
    put64(regs + Reg.AX, _return_value(env, slot, retval, at))
    put64(env + Env.FUNC, u64(at + Instance.FUNC))
    put64(env + Env.RET_IP, u64(at + Instance.RET_IP))
    run_lock(env)
    run_handler(env, regs, rec)
    run_unlock(env)
    return 0


@native
def fire_returns(env: int, slot: int, retval: int) -> int:
    """All pending returns of the thread, the latest first."""
    count = u32(slot + Slot.INSTANCES)
    while count > 0:
        count -= 1
        _fire_return(env, slot, retval, slot + Slot.INSTANCE_TABLE + count * INSTANCE_SIZE)
    put32(slot + Slot.INSTANCES, 0)
    return 0


@native
def _site(env: int, nr: int) -> int:
    """The site of a system call number in the published table; 0 if nothing of it is armed."""
    table = load_acquire64(u64(env + Env.CTL) + Ctl.ENTRY_SITES)
    if table == 0:
        return 0
    rows = u64(table)
    return u64(table + 8 + (nr if ult(nr, rows) else rows) * 8)


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
    put32(slot + Slot.SYSCALL_NR, nr)
    put64(slot + Slot.PENDING, 1)
    if u32(slot + Slot.INSTANCES) != 0:
        drop_instances(slot)
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    site = _site(env, nr)
    wanted = 0
    if site != 0:
        entries = u32(site + Site.COUNT) - u32(site + Site.DEFERRED)
        for i in range(entries):
            fire_frame(env, slot, 0, u64(site + SITE_HEAD + i * 8))
        wanted = u32(site + Site.DEFERRED) != 0 or u32(slot + Slot.INSTANCES) != 0
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return wanted


@native
def syscall_exit(env: int, uregs: int, retval: int) -> int:
    """The running system call of the current thread returns `retval` (a result or a negative errno).

    `uregs` may be 0; the arguments are those seen at entry. A return whose entry was not seen fires nothing.
    """
    slot = current_slot(env)
    if slot == 0 or u64(slot + Slot.PENDING) == 0:
        return 0
    put64(slot + Slot.PENDING, 0)
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    site = _site(env, s32(slot + Slot.SYSCALL_NR))
    # What the system call has done since its entry is not in the objects made then.
    put64(slot + Slot.SERIAL, u64(slot + Slot.SERIAL) + 1)
    if site != 0:
        count = u32(site + Site.COUNT)
        for i in range(count - u32(site + Site.DEFERRED), count):
            fire_frame(env, slot, retval, u64(site + SITE_HEAD + i * 8))
    fire_returns(env, slot, retval)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return 0
