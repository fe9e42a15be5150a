"""`verify`: the whole of it, from a program spec to a `Verified` or a `VerifierError` (`bpf_check`)."""

import errno
from time import perf_counter_ns

from engine.isa import LD_IMM64, Class, Form, Insn, Mode, Size
from engine.progspec import ProgSpec
from engine.verifier.backtrack import prepare_steps
from engine.verifier.bounds import const_bounds, s32
from engine.verifier.btfinfo import check_btf_info, check_func_records
from engine.verifier.cfg import check_cfg, check_subprogs
from engine.verifier.depth import check_stack_depth
from engine.verifier.effects import note_effects
from engine.verifier.env import Env, Reject
from engine.verifier.globalfuncs import check_main, global_entry
from engine.verifier.liveness import compute_live_regs, live_regs_text
from engine.verifier.log import LEVEL1, LEVEL2, QUIET, STATS, Log
from engine.verifier.programs import check_program
from engine.verifier.regs import Reg, RegType
from engine.verifier.result import Subprog, Verified, VerifierError, VerifierStats
from engine.verifier.scan import resolve_maps
from engine.verifier.state import MAIN_CALLSITE, Frame, State
from engine.verifier.trace import insn_text
from engine.verifier.walk import walk

__all__ = ["verify"]

_MAX_INSNS = 1_000_000
_LOOP_REGISTERS, _MAY_GOTO_COUNTER = 24, 16
"""Bytes of stack that Linux adds to a function for a loop that it makes of a bpf_loop, and for may_goto."""
_WALKED_AGAIN = 100_000
"""Instructions of all paths together that may be walked a second time."""


def verify(spec: ProgSpec, *, log_level: int = LEVEL1, every_path: bool = False) -> Verified:
    """Prove the program safe, or raise VerifierError with the kernel's errno and log.

    Level 1 logs the path that failed, level 2 every path, level 4 statistics only. To be quick, a program
    is verified in silence first; one that is refused is walked a second time to write its log, unless that
    took very long. With `every_path` the log is written at once, so that `log_longest` is Linux's.
    """
    if every_path or not log_level & LEVEL1 or log_level & LEVEL2:
        return _run(spec, Log(log_level))
    try:
        return _run(spec, Log(QUIET | (log_level & STATS), summary=True))
    except VerifierError as refusal:
        if refusal.errno == errno.EAGAIN or refusal.walked > _WALKED_AGAIN:
            raise
    return _run(spec, Log(log_level))


def _run(spec: ProgSpec, log: Log) -> Verified:
    env = Env(spec, log)
    start = perf_counter_ns()
    try:
        _check(env)
    except Reject as refusal:
        _statistics(env, perf_counter_ns() - start, accepted=False)
        walked = env.insn_processed
        raise VerifierError(refusal.errno, refusal.message, log.text, log.longest, walked) from None
    _statistics(env, perf_counter_ns() - start, accepted=True)
    return Verified(
        _rewritten(env),
        env.aux,
        env.subprogs,
        env.used_maps,
        log.text,
        VerifierStats(env.insn_processed, env.max_states_per_insn, env.total_states, env.peak_states),
        env.max_pkt_offset,
        env.max_ctx_offset,
        log.longest,
    )


def _check(env: Env) -> None:
    if not 0 < len(env.insns) <= _MAX_INSNS:
        env.reject(errno.E2BIG, f"program of {len(env.insns)} instructions")
    for prepare in _PREPARATIONS:
        env.until_asked = 0
        env.go_on()
        prepare(env)
    if env.verbose:
        _print_live_regs(env)
    check_main(env)
    frame = Frame(MAIN_CALLSITE, 0, 0)
    frame.regs[1] = Reg(RegType.CTX, const_bounds(0))
    walk(env, State([frame]), 0, 0)
    env.log_success()
    _check_global_functions(env)
    check_stack_depth(env)


_PREPARATIONS = (
    check_func_records,
    check_subprogs,
    check_btf_info,
    resolve_maps,
    check_program,
    check_cfg,
    note_effects,
    compute_live_regs,
    prepare_steps,
)


def _check_global_functions(env: Env) -> None:
    """Verify each global function that is called, also by one another (`do_check_subprogs`)."""
    done: set[int] = set()
    while env.global_calls - done:
        for number in range(1, len(env.subprogs)):
            if number in done or number not in env.global_calls:
                continue
            name, start = env.subprogs[number].name, env.subprogs[number].start
            env.say(f"Validating {name}() func#{number}...")
            walk(env, global_entry(env, number), start, number)
            env.log_success(f"Func#{number} ('{name}') is safe for any args that match its prototype")
            done.add(number)


def _print_live_regs(env: Env) -> None:
    env.say("Live regs before insn:")
    skip = False
    for i in range(len(env.insns)):
        if skip:
            skip = False
            continue
        loop = f"{env.loop_of[i]:3d} " if env.loop_of[i] else "    "
        env.say(f"{loop}{i:3d}: {live_regs_text(env.live_regs[i])} {insn_text(env, i)}")
        skip = env.insns[i].code == 0x18


def _statistics(env: Env, elapsed_ns: int, *, accepted: bool) -> None:
    """The last lines of the log (`print_verification_stats`)."""
    if not env.log.level:
        return
    if env.log.level & STATS:
        depths = "+".join(map(str, _stack_depths(env, accepted=accepted)))
        env.log.write(f"verification time {elapsed_ns // 1000} usec\nstack depth {depths}\n")
    env.log.write(
        f"processed {env.insn_processed} insns (limit 1000000) "
        f"max_states_per_insn {env.max_states_per_insn} total_states {env.total_states} "
        f"peak_states {env.peak_states} mark_read 0\n"
    )


def _stack_depths(env: Env, *, accepted: bool) -> list[int]:
    """Bytes of stack of each function; of an accepted program without those that Linux removes as dead."""
    if not accepted:
        return [subprog.stack_depth for subprog in env.subprogs]
    alive = [subprog for subprog in env.subprogs if env.aux[subprog.start].seen]
    return [_final_depth(env, subprog) for subprog in alive]


def _final_depth(env: Env, subprog: Subprog) -> int:
    """Bytes of stack with those that Linux adds once a program is accepted."""
    inside = range(subprog.start, subprog.end)
    depth = subprog.stack_depth
    if any(inlined and idx in inside for idx, (inlined, _) in env.loops.items()):
        depth += _LOOP_REGISTERS
    if any((row := env.rows[idx]) is not None and row.form is Form.MAY_GOTO for idx in inside):
        depth += _MAY_GOTO_COUNTER
    return depth


def _rewritten(env: Env) -> list[Insn]:
    """The instructions with loads of packet pointers from the context made loads of the native fields, and
    addresses of kernel symbols in place of their types."""
    if not env.ctx_rewrites and not env.symbols:
        return env.insns
    insns = env.insns.copy()
    for idx, off in env.ctx_rewrites.items():
        old = insns[idx]
        insns[idx] = Insn(Class.LDX | Mode.MEM | Size.DW, old.dst, old.src, off, 0)
    for idx, address in env.symbols.items():
        insns[idx] = Insn(LD_IMM64, insns[idx].dst, imm=s32(address))
        insns[idx + 1] = Insn(0, imm=s32(address >> 32))
    return insns
