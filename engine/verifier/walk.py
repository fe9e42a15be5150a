"""The walk: one path at a time, instruction by instruction, until every path was walked or one was
refused."""

import errno

from engine.isa import Class, Form, Insn, Opcode, PseudoSrc
from engine.verifier.arith import do_alu
from engine.verifier.bounds import const_bounds
from engine.verifier.calls import check_leaks, do_helper_call
from engine.verifier.env import COMPLEXITY_LIMIT, Env, Reject, push_branch
from engine.verifier.funcs import (
    do_subprog_call,
    leave_by_failed_load,
    leave_by_tail_call,
    leave_frame,
    widen_scalars,
)
from engine.verifier.globalfuncs import check_global_args, note_static_args
from engine.verifier.jumps import do_jump
from engine.verifier.loopvisits import branch_done
from engine.verifier.memory import do_atomic, do_ld_abs, do_load, do_store
from engine.verifier.prune import state_visited
from engine.verifier.regs import RDONLY, Reg, RegType, const_reg
from engine.verifier.retval import check_return
from engine.verifier.state import State
from engine.verifier.trace import print_insn, print_state, state_clean

__all__ = ["walk"]

_ARITHMETIC, _JUMPS, _LDX = (Class.ALU64, Class.ALU), (Class.JMP, Class.JMP32), Class.LDX
_JUMP, _STORE, _ATOMIC, _LD_IMM64 = Form.JUMP, Form.STORE, Form.ATOMIC, Form.LD_IMM64
"""Looked up once: in Python 3.11 finding a member of an enum takes longer than a call."""


def walk(env: Env, start: State, insn_idx: int, subprog: int) -> None:
    """Walk every path from `insn_idx` on, beginning in `start`."""
    env.subprog = subprog
    env.pending.clear()
    env.explored.clear()
    env.visits.clear()
    env.enter(start)
    env.insn_idx = insn_idx
    env.prev_insn_idx = -1
    env.prev_line = None
    env.touch_all()
    fresh = False
    steps = _Steps()
    while True:
        while _step(env, steps, fresh):
            fresh = steps.fresh
        branch_done(env, env.state)
        env.update_stack()
        if not env.pending:
            return
        path = env.pending.pop()
        if env.logging and not env.verbose:
            env.log.cut(path.log_pos)
        env.enter(path.state)
        env.insn_idx = path.insn_idx
        env.prev_insn_idx = path.prev_insn_idx
        env.touch_all()
        fresh = True


class _Steps:
    """What goes along with the walk besides the environment."""

    __slots__ = ("fresh",)

    def __init__(self) -> None:
        self.fresh = False


def _step(env: Env, steps: _Steps, fresh: bool) -> bool:
    """Walk one instruction; false at the end of the path."""
    idx = env.insn_idx
    env.hist = None
    env.insn_processed += 1
    if env.insn_processed > COMPLEXITY_LIMIT:
        env.reject(errno.E2BIG, f"BPF program is too large. Processed {env.insn_processed} insn")
    state = env.state
    state.last_insn_idx = env.prev_insn_idx
    state.insn_idx = idx
    if env.prune_point[idx] and state_visited(env, idx):
        if env.logging:
            if fresh:
                env.say(f"\nfrom {env.prev_insn_idx} to {idx}: safe")
            else:
                env.say(f"{idx}: safe")
        return False
    if env.jmp_point[idx]:
        env.push_history()
    env.go_on()
    if env.logging:
        if fresh and env.verbose:
            env.log.write(f"\nfrom {env.prev_insn_idx} to {idx}:")
            print_state(env, state, len(state.frames) - 1, everything=True)
        print_insn(env)
    else:
        state_clean(env)
    env.aux[idx].seen = True
    steps.fresh = False
    following = _execute(env, steps, env.insns[idx], env.rows[idx])
    if following < 0:
        return False
    env.prev_insn_idx = idx
    env.insn_idx = following
    return True


def _execute(env: Env, steps: _Steps, insn: Insn, row: Opcode | None) -> int:
    """Apply an instruction to the state; the index of the next one, -1 at the end of the path."""
    idx = env.insn_idx
    cls = insn.code & 7
    assert row is not None
    if cls in _ARITHMETIC:
        do_alu(env, insn, row)
        return idx + 1
    if cls in _JUMPS:
        env.jmps_processed += 1
        if row.form is _JUMP:
            return do_jump(env, insn, row)
        return _control(env, steps, insn, row)
    if cls == _LDX:
        do_load(env, insn, row)
    elif row.form is _STORE:
        do_store(env, insn, row)
    elif row.form is _ATOMIC:
        do_atomic(env, insn, row)
    elif row.form is _LD_IMM64:
        _load_imm(env, insn)
        return idx + 2
    else:
        do_ld_abs(env, insn, row)
        if len(env.state.frames) > 1:
            return leave_by_failed_load(env)
    return idx + 1


def _control(env: Env, steps: _Steps, insn: Insn, row: Opcode) -> int:
    idx = env.insn_idx
    form = row.form
    if form is Form.GOTO:
        long_jump = insn.code & 7 == Class.JMP32
        if insn.src or insn.dst or (insn.off if long_jump else insn.imm):
            env.invalid("BPF_JA uses reserved fields")
        return idx + 1 + (insn.imm if long_jump else insn.off)
    if form is Form.CALL:
        return _call(env, insn)
    if form is Form.EXIT:
        if insn.imm or insn.src or insn.dst:
            env.invalid("BPF_EXIT uses reserved fields")
        if len(env.state.frames) > 1:
            steps.fresh = True
            return leave_frame(env)
        check_leaks(env, "BPF_EXIT instruction in main prog")
        check_return(env)
        return -1
    return _may_goto(env, insn)


def _may_goto(env: Env, insn: Insn) -> int:
    """The way out of a loop that ends at run time at the latest; staying in it is put aside."""
    if insn.src or insn.dst or insn.imm:
        env.invalid(f"invalid may_goto imm {insn.imm}")
    idx = env.insn_idx
    other = push_branch(env, idx + 1, idx)
    other.may_goto_depth += 1
    if other.parent is not None:
        widen_scalars(env, other, idx, other.parent.dfs_depth)
    return idx + 1 + insn.off


def _call(env: Env, insn: Insn) -> int:
    if insn.off or insn.dst or insn.src not in (PseudoSrc.CALL_HELPER, PseudoSrc.CALL):
        env.invalid("BPF_CALL uses reserved fields")
    if env.state.active_lock is not None and (
        insn.src == PseudoSrc.CALL_HELPER and insn.imm not in _ALLOWED_LOCKED
    ):
        env.invalid("function calls are not allowed while holding a lock")
    if insn.src == PseudoSrc.CALL:
        target = env.insn_idx + insn.imm + 1
        env.aux[env.insn_idx].target = target
        number = env.subprog_at[target]
        if env.subprogs[number].is_global:
            try:
                check_global_args(env, number)
            except Reject:
                env.invalid(f"Caller passes invalid args into func#{number} ('{env.subprogs[number].name}')")
        else:
            note_static_args(env, number)
        return do_subprog_call(env, target)
    do_helper_call(env, insn.imm)
    if insn.imm == _TAIL_CALL and len(env.state.frames) > 1:
        return leave_by_tail_call(env)
    return env.insn_idx + 1


_TAIL_CALL, _SPIN_UNLOCK = 12, 94
_ALLOWED_LOCKED = frozenset({_SPIN_UNLOCK})


def _load_imm(env: Env, insn: Insn) -> None:
    idx = env.insn_idx
    if insn.off:
        env.invalid("BPF_LD_IMM64 uses reserved fields")
    env.check_writable(insn.dst)
    aux = env.aux[idx]
    source = insn.src
    if source == PseudoSrc.NONE:
        value = (env.insns[idx + 1].imm & 0xFFFFFFFF) << 32 | (insn.imm & 0xFFFFFFFF)
        env.write_reg(insn.dst, const_reg(value))
    elif source == PseudoSrc.FUNC:
        env.write_reg(insn.dst, _function(env, insn))
    elif source in (PseudoSrc.MAP_VALUE, PseudoSrc.MAP_IDX_VALUE):
        env.write_reg(insn.dst, Reg(RegType.MAP_VALUE, const_bounds(0), off=aux.map_off, map=aux.map))
    elif source == PseudoSrc.BTF_ID:
        env.write_reg(insn.dst, Reg(RegType.MEM, const_bounds(0), flags=RDONLY))
    else:
        env.write_reg(insn.dst, Reg(RegType.MAP_PTR, const_bounds(0), map=aux.map))


def _function(env: Env, insn: Insn) -> Reg:
    number = env.subprog_at[env.insn_idx + insn.imm + 1]
    if not env.spec.func_info:
        env.invalid("missing btf func_info")
    if env.subprogs[number].is_global:
        env.invalid("callback function not static")
    return Reg(RegType.FUNC, const_bounds(0), n=number)
