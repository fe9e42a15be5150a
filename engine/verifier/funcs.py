"""Calls of the program's own functions, callbacks of helpers, and the ways back (`check_func_call`)."""

import errno

from engine.abi.bpf import FuncId
from engine.progspec import MapLike
from engine.verifier.bounds import UNKNOWN
from engine.verifier.compare import Ids
from engine.verifier.env import MAX_CALL_FRAMES, Env, push_branch
from engine.verifier.mapinfo import has_lock
from engine.verifier.packets import invalidate_packets
from engine.verifier.precision import mark_chain_precision
from engine.verifier.regs import (
    NOT_INIT,
    SCALAR,
    UNKNOWN_SCALAR,
    ZERO,
    Reg,
    RegType,
)
from engine.verifier.state import Frame, Slot, State
from engine.verifier.trace import print_state

__all__ = [
    "do_subprog_call",
    "leave_by_failed_load",
    "leave_by_tail_call",
    "leave_frame",
    "push_callback",
    "widen_scalars",
]


def _enter(env: Env, state: State, subprog: int) -> Frame:
    """A new frame of `state` for a function called at the current instruction (`setup_func_entry`)."""
    depth = len(state.frames)
    if depth >= MAX_CALL_FRAMES:
        env.reject(errno.E2BIG, f"the call stack of {depth + 1} frames is too deep")
    frame = Frame(env.insn_idx, depth, subprog)
    state.frames.append(frame)
    return frame


def _clear_caller_saved(regs: list[Reg]) -> None:
    for number in range(6):
        regs[number] = NOT_INIT


def do_subprog_call(env: Env, target: int) -> int:
    """A call of the function at `target`; the next instruction."""
    number = env.subprog_at[target]
    subprog = env.subprogs[number]
    state = env.state
    caller = state.cur
    if subprog.is_global:
        if state.active_lock is not None:
            env.invalid(
                "global function calls are not allowed while holding a lock,\nuse static function instead"
            )
        env.say(f"Func#{number} ('{subprog.name}') is global and assumed valid.")
        env.global_calls.add(number)
        if subprog.changes_packet:
            invalidate_packets(state)
        _clear_caller_saved(caller.regs)
        env.regs[0] = UNKNOWN_SCALAR
        env.touch(0)
        return env.insn_idx + 1
    frame = _enter(env, state, number)
    frame.regs[1:6] = caller.regs[1:6]
    _clear_caller_saved(caller.regs)
    env.enter(state)
    if env.logging:
        env.say("caller:")
        print_state(env, state, caller.frameno, everything=True)
        env.say("callee:")
        print_state(env, state, frame.frameno, everything=True)
    env.touch_all()
    return target


def push_callback(env: Env, helper: int, subprog: int | None, target: MapLike | None) -> None:
    """Put a path aside that enters the callback of a helper; this one goes on past the call."""
    if subprog is None:
        env.invalid("kernel subsystem misconfigured verifier")
    info = env.subprogs[subprog]
    info.is_cb = True
    caller = env.state.cur
    env.stack_live.write(env.insn_idx, 0)
    other = push_branch(env, info.start, env.insn_idx)
    frame = _enter(env, other, subprog)
    if helper == FuncId.for_each_map_elem:
        frame.regs[1] = Reg(RegType.MAP_PTR, ZERO.b, map=target)
        frame.regs[2] = Reg(RegType.MAP_KEY, ZERO.b, map=target)
        id = env.next_id() if target is not None and has_lock(target) else 0
        frame.regs[3] = Reg(RegType.MAP_VALUE, ZERO.b, map=target, id=id)
        frame.regs[4] = caller.regs[3]
    else:
        frame.regs[1] = Reg(SCALAR, UNKNOWN)
        frame.regs[2] = caller.regs[3]
    frame.in_callback = True
    frame.callback_ret = (0, 1)
    other.callback_unroll_depth += 1
    other.frames[-2].callback_depth += 1
    caller.callback_depth = 0
    env.touch_all()


def leave_by_tail_call(env: Env) -> int:
    """A tail call in a function: when it succeeds, another program's end is this function's, with any result
    and a changed packet; when it fails, the function goes on, which is put aside. The next instruction."""
    push_branch(env, env.insn_idx + 1, env.insn_idx)
    invalidate_packets(env.state)
    env.write_reg(0, UNKNOWN_SCALAR)
    return leave_frame(env)


def leave_by_failed_load(env: Env) -> int:
    """LD_ABS or LD_IND in a function: outside of the packet it ends the function with 0; where it does not,
    the function goes on, which is put aside. The next instruction.

    Linux 6.18 overlooks that way out (`bpf_gen_ld_abs`, net/core/filter.c, makes it): a caller that relies on
    another result than 0 is accepted there and must not be here.
    """
    push_branch(env, env.insn_idx + 1, env.insn_idx)
    env.write_reg(0, ZERO)
    return leave_frame(env)


def leave_frame(env: Env) -> int:
    """BPF_EXIT of a function that was called; the next instruction (`prepare_func_exit`)."""
    env.update_stack()
    state = env.state
    callee, caller = state.frames[-1], state.frames[-2]
    result = callee.regs[0]
    if result.type == RegType.STACK:
        env.invalid("cannot return stack pointer to the caller")
    if callee.in_callback:
        if result.type != SCALAR:
            env.deny("R0 not a scalar value")
        mark_chain_precision(env, 0)
        low, high = callee.callback_ret
        if not low <= result.b.smin <= result.b.smax <= high:
            env.invalid(bad_scalar(result, callee.callback_ret, "callback return"))
    else:
        caller.regs[0] = result
    resume = callee.callsite if callee.in_callback else callee.callsite + 1
    if env.logging:
        env.say("returning from callee:")
        print_state(env, state, callee.frameno, everything=True)
        env.say(f"to caller at {resume}:")
        print_state(env, state, caller.frameno, everything=True)
    state.frames.pop()
    env.enter(state)
    if callee.in_callback:
        widen_scalars(env, state, resume, state.dfs_depth)
    return resume


def widen_scalars(env: Env, state: State, insn_idx: int, depth: int) -> None:
    """Scalars that changed during one turn of a loop and that nothing depends on become unknown, so
    that
    turns come to look alike (`widen_imprecise_scalars`)."""
    sites = [frame.callsite for frame in state.frames]
    for entry in reversed(env.states_at(insn_idx)):
        old = entry.state
        if (
            old.insn_idx == insn_idx
            and old.branches
            and old.dfs_depth < depth
            and [frame.callsite for frame in old.frames] == sites
        ):
            break
    else:
        return
    ids = Ids()
    for a, b in zip(reversed(old.frames), reversed(state.frames), strict=True):
        for i in range(10):
            if _widens(a.regs[i], b.regs[i], ids):
                b.regs[i] = UNKNOWN_SCALAR
        for x, (i, y) in zip(a.stack, enumerate(b.stack), strict=False):
            if x.spilled and y.spilled and _widens(x.reg, y.reg, ids):
                b.stack[i] = Slot(y.kinds, UNKNOWN_SCALAR)


def _widens(old: Reg, cur: Reg, ids: Ids) -> bool:
    if old.type != SCALAR or cur.type != SCALAR or old.precise or cur.precise:
        return False
    return not (old.off == cur.off and old.b.same(cur.b) and ids.match(old.id, cur.id))


def bad_scalar(reg: Reg, allowed: tuple[int, int], where: str, name: str = "R0") -> str:
    """The complaint about a value out of range (`verbose_invalid_scalar`)."""
    text = f"At {where} the register {name} has"
    known = False
    if reg.b.smin > -(1 << 63):
        text += f" smin={reg.b.smin}"
        known = True
    if reg.b.smax < (1 << 63) - 1:
        text += f" smax={reg.b.smax}"
        known = True
    if not known:
        text += " unknown scalar value"
    return f"{text} should have been in [{allowed[0]}, {allowed[1]}]"
