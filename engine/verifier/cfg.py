"""Control flow before the walk: subprograms, jumps, reachability, points where states are compared.

The rules are those of `add_subprog`, `check_subprogs` and `check_cfg` (kernel/bpf/verifier.c).
"""

import errno
from typing import NoReturn

from engine.abi.bpf import FuncId
from engine.btf import Btf
from engine.btf.types import Func
from engine.isa import Class, Form, Jmp, PseudoSrc
from engine.progspec import FuncLinkage
from engine.verifier.env import Env
from engine.verifier.result import Subprog

__all__ = ["CALLBACK_HELPERS", "check_cfg", "check_subprogs", "jump_target", "successors"]

_MAX_SUBPROGS = 256
_EXIT, _GOTO, _CALL, _LD_IMM64, _GOTOL = Form.EXIT, Form.GOTO, Form.CALL, Form.LD_IMM64, Class.JMP32 | Jmp.JA
_CONDITIONAL = (Form.JUMP, Form.MAY_GOTO)
_LD_PACKET = (Form.LD_ABS, Form.LD_IND)
_JUMPS = frozenset(
    cls | op << 4 | source
    for cls in (Class.JMP, Class.JMP32)
    for op in range(16)
    for source in (0, 8)
    if op << 4 not in (Jmp.CALL, Jmp.EXIT)
)
"""Codes with the class and operation of a jump, even of one that does not exist."""
CALLBACK_HELPERS = frozenset(
    {FuncId.for_each_map_elem, FuncId.loop, FuncId.find_vma, FuncId.user_ringbuf_drain}
)


def jump_target(env: Env, idx: int) -> int:
    """Where the jump at `idx` goes; `gotol` has its distance in `imm`."""
    insn = env.insns[idx]
    if insn.code == _GOTOL:
        return idx + insn.imm + 1
    return idx + insn.off + 1


def find_subprogs(env: Env) -> None:
    """Fill `env.subprogs` from the calls and function addresses of the program."""
    count = len(env.insns)
    starts = {0}
    skip = False
    for i, insn in enumerate(env.insns):
        row = env.rows[i]
        if skip or row is None:
            skip = False
            continue
        if row.form is _LD_IMM64:
            skip = True
            if insn.src != PseudoSrc.FUNC:
                continue
        elif row.form is not _CALL or insn.src == PseudoSrc.CALL_HELPER:
            continue
        elif insn.src == PseudoSrc.KFUNC_CALL:
            _refuse_kernel_function(env, insn.imm)
        elif insn.src != PseudoSrc.CALL:
            continue
        target = i + insn.imm + 1
        if not 0 <= target < count:
            env.invalid("call to invalid destination")
        starts.add(target)
        if len(starts) > _MAX_SUBPROGS:
            env.reject(errno.E2BIG, "too many subprograms")
    ordered = sorted(starts)
    names = {info.insn_off: info for info in env.spec.func_info}
    for number, start in enumerate(ordered):
        end = ordered[number + 1] if number + 1 < len(ordered) else count
        info = names.get(start)
        env.subprogs.append(
            Subprog(
                start,
                end,
                name=info.name if info else "",
                is_global=bool(info and number and info.linkage == FuncLinkage.GLOBAL),
            )
        )
        env.subprog_at[start] = number
        if env.verbose:
            env.say(f"func#{number} @{start}")


def _refuse_kernel_function(env: Env, type_id: int) -> NoReturn:
    """No kernel function may be called: none is modelled (`add_kfunc_call`)."""
    btf = env.spec.kernel_btf
    record = btf.type(type_id) if isinstance(btf, Btf) and 0 <= type_id < len(btf) else None
    if not isinstance(record, Func):
        env.invalid(f"kernel btf_id {type_id & 0xFFFFFFFF} is not a function")
    env.deny(f"calling kernel function {record.name} is not allowed")


def check_subprogs(env: Env) -> None:
    """Jumps stay in their subprogram, and none falls through into the next."""
    find_subprogs(env)
    for subprog in env.subprogs:
        for i in range(subprog.start, subprog.end):
            insn, row = env.insns[i], env.rows[i]
            if insn.code in _JUMPS:
                target = jump_target(env, i)
                if not subprog.start <= target < subprog.end:
                    env.invalid(f"jump out of range from insn {i} to {target}")
            if row is None:
                continue
            if row.form is _CALL and insn.src == 0 and insn.imm == FuncId.tail_call:
                subprog.has_tail_call = True
            elif row.form in _LD_PACKET:
                subprog.has_ld_abs = True
        last = env.rows[subprog.end - 1]
        if last is None or last.form not in (Form.EXIT, Form.GOTO):
            env.invalid("last insn is not an exit or jmp")


def successors(env: Env, idx: int) -> list[int]:
    """Instructions that may follow `idx` within its subprogram."""
    row = env.rows[idx]
    form = row.form if row else None
    if form is _EXIT:
        return []
    if form is _GOTO:
        return [jump_target(env, idx)]
    if form in _CONDITIONAL:
        return [idx + 1, jump_target(env, idx)]
    return [idx + 2 if form is _LD_IMM64 else idx + 1]


def check_cfg(env: Env) -> None:
    """Every instruction is reachable, no jump leads into the middle of one; mark prune and history
    points."""
    count = len(env.insns)
    seen = bytearray(count)
    work = [0]
    seen[0] = 1
    while work:
        idx = work.pop()
        for target in _edges(env, idx):
            if not 0 <= target < count:
                env.invalid(f"jump out of range from insn {idx} to {target}")
            if not seen[target]:
                seen[target] = 1
                work.append(target)
    i = 0
    while i < count:
        if not seen[i]:
            env.invalid(f"unreachable insn {i}")
        row = env.rows[i]
        if row is not None and row.form is _LD_IMM64:
            if i + 1 < count and seen[i + 1]:
                env.invalid(f"jump into the middle of ldimm64 insn {i}")
            i += 1
        i += 1


def _edges(env: Env, idx: int) -> list[int]:
    """Successors of `idx`, called subprograms included; marks the points on the way."""
    insn, row = env.insns[idx], env.rows[idx]
    form = row.form if row else None
    if form is _LD_IMM64 and insn.src == PseudoSrc.FUNC:
        _mark(env, idx + 2)
        _mark(env, idx + insn.imm + 1)
        env.prune_point[idx] = 1
        return [idx + 2, idx + insn.imm + 1]
    if form is _CALL:
        _mark(env, idx + 1)
        if insn.src == PseudoSrc.CALL:
            _mark(env, idx + insn.imm + 1)
            env.prune_point[idx] = 1
            return [idx + 1, idx + insn.imm + 1]
        if insn.imm in CALLBACK_HELPERS:
            env.calls_callback[idx] = env.force_checkpoint[idx] = 1
            _mark(env, idx)
        elif insn.imm == FuncId.timer_set_callback:
            env.prune_point[idx] = 1
        return [idx + 1]
    if form is _GOTO:
        _mark(env, jump_target(env, idx))
    elif form in _CONDITIONAL:
        env.prune_point[idx] = 1
        if form is Form.MAY_GOTO:
            env.force_checkpoint[idx] = 1
        _mark(env, jump_target(env, idx))
    return successors(env, idx)


def _mark(env: Env, idx: int) -> None:
    if 0 <= idx < len(env.insns):
        env.prune_point[idx] = env.jmp_point[idx] = 1
