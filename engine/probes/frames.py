"""Firing one call: its registers, its probes, its pending returns, natively.

Arguments are made before the CPU's run lock is taken; handlers run with it held.
"""

from engine.env import Env
from engine.jit.lang import (
    atomic_add64,
    call,
    load_acquire64,
    local,
    memset,
    native,
    put32,
    put64,
    u32,
    u64,
)
from engine.kernel.callparse import RetKind
from engine.kernel.files import file_object
from engine.kernel.layout import ALIAS, Slot
from engine.kernel.objects import filename_is_empty, filename_object, is_error
from engine.probes.args import evaluate, guard_holds, syscall_argument
from engine.probes.layout import (
    INSTANCE_SIZE,
    MAX_ARGS,
    MAX_INSTANCES,
    OP_SIZE,
    Frame,
    Instance,
    Rec,
)
from engine.probes.regs import PT_REGS_SIZE, TRAMPOLINE, Reg
from engine.runlock import run_lock, run_unlock

__all__ = ["SPILLED", "fire_frame", "fire_returns", "run_handler"]

_KERNEL_CS, _KERNEL_SS, _EFLAGS = 0x10, 0x18, 0x246
_STACK_STEP = 128
_ENOENT = -2
SPILLED = 48
"""Bytes below the return address where a call's six arguments are kept."""


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
def _spill(regs: int, stack: int) -> int:
    """Keep the arguments in the function's own part of the stack, for those who ask at its return."""
    to = stack - SPILLED
    put64(to, u64(regs + Reg.DI))
    put64(to + 8, u64(regs + Reg.SI))
    put64(to + 16, u64(regs + Reg.DX))
    put64(to + 24, u64(regs + Reg.CX))
    put64(to + 32, u64(regs + Reg.R8))
    put64(to + 40, u64(regs + Reg.R9))
    return 0


@native
def _name_returned(env: int, slot: int, operand: int) -> int:
    """What `getname` returns for the path that an argument of the system call points to."""
    buffer = operand >> 8
    name = filename_object(env, slot, buffer, syscall_argument(slot + Slot.REGS, operand & 0xFF))
    if not is_error(name) and filename_is_empty(slot, buffer):
        return _ENOENT
    return name


@native
def _push_return(env: int, slot: int, frame: int, rec: int, stack: int) -> int:
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
    if u32(frame + Frame.RET_KIND) == RetKind.NAME:
        put64(at + Instance.RET_IMM, _name_returned(env, slot, u64(frame + Frame.RET_IMM)))
        put32(at + Instance.RET_KIND, RetKind.CONSTANT)
    put32(at + Instance.DEPTH, u32(frame + Frame.DEPTH))
    put32(slot + Slot.INSTANCES, count + 1)
    put64(stack, TRAMPOLINE)
    return 0


@native
def _nobody_follows(probes: int) -> int:
    """Whether no probe of the list may follow pointers to kernel objects."""
    for i in range(u64(probes)):
        if u64(u64(probes + 8 + i * 8) + Rec.OBJECTS):
            return 0
    return 1


@native
def fire_frame(env: int, slot: int, retval: int, frame: int) -> int:
    """One armed call: if its guards hold, make its registers and run its probes."""
    probes = u64(frame + Frame.PROBES)
    put64(env + Env.LIGHT, _nobody_follows(probes))
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
    run_lock(env)
    for i in range(u64(probes)):
        rec = u64(probes + 8 + i * 8)
        if u64(rec + Rec.IS_RETURN):
            _spill(regs, stack)
            _push_return(env, slot, frame, rec, stack)
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
    put64(env + Env.LIGHT, u64(rec + Rec.OBJECTS) == 0)
    regs = local(PT_REGS_SIZE)
    stack = _stack_pointer(slot, u32(at + Instance.DEPTH))
    _kernel_regs(regs, u64(at + Instance.CALLER_IP), stack + 8 + ALIAS)
    put64(regs + Reg.AX, _return_value(env, slot, retval, at))
    put64(env + Env.FUNC, u64(at + Instance.FUNC))
    put64(env + Env.RET_IP, u64(at + Instance.RET_IP))
    put64(env + Env.CALL_ARGS, stack - SPILLED)
    run_lock(env)
    run_handler(env, regs, rec)
    run_unlock(env)
    return 0


@native
def fire_returns(env: int, slot: int, retval: int, depth: int) -> int:
    """The thread's pending returns of calls nested at least `depth` deep, the latest first."""
    count = u32(slot + Slot.INSTANCES)
    while count > 0:
        at = slot + Slot.INSTANCE_TABLE + (count - 1) * INSTANCE_SIZE
        if u32(at + Instance.DEPTH) < depth:
            return count
        count -= 1
        put32(slot + Slot.INSTANCES, count)
        _fire_return(env, slot, retval, at)
    return 0
