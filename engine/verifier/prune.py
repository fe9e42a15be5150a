"""Remembering states, and ending a path whose state is covered by one found safe before
(`is_state_visited`)."""

import errno
from enum import Enum, auto

from engine.isa import Form
from engine.verifier.compare import Exact, states_equal
from engine.verifier.env import Env, Explored
from engine.verifier.precision import mark_all_imprecise
from engine.verifier.propagate import propagate_precision
from engine.verifier.state import State
from engine.verifier.trace import print_state

__all__ = ["branch_done", "state_visited"]

_MAX_HISTORY = 40
_MAX_STATES = 200_000


class _Meeting(Enum):
    """What comparing with a state that lies on the path itself gave."""

    HIT = auto()
    MISS = auto()


def branch_done(state: State | None) -> None:
    """One way out of `state` was walked to its end: it, and its parents, may be complete now."""
    while state is not None:
        state.branches -= 1
        if state.branches > 0:
            return
        state = state.parent


def _maybe_looping(old: State, cur: State) -> bool:
    """A cheap test before the exact comparison: the registers of the running frame are the same."""
    for a, b in zip(old.cur.regs, cur.cur.regs, strict=True):
        if a is not b and (a.type != b.type or a.off != b.off or not a.b.same(b.b)):
            return False
    return True


def state_visited(env: Env, insn_idx: int) -> bool:
    """True when the path may end here. Otherwise the state may have been remembered, and the walk goes
    on."""
    cur = env.state
    force = bool(env.test_state_freq or env.force_checkpoint[insn_idx] or len(cur.history) > _MAX_HISTORY)
    jumps = env.jmps_processed - env.prev_jmps_processed
    insns = env.insn_processed - env.prev_insn_processed
    add_new = force or (jumps >= 2 and insns >= 8)
    known = env.explored.setdefault((insn_idx, cur.cur.callsite), [])
    i = len(known) - 1
    compared = len(known)
    while i >= 0:
        entry = known[i]
        old = entry.state
        if old.branches:
            if _meet(env, old, cur, insn_idx) is _Meeting.HIT:
                entry.hits += 1
                _close_loop(env, cur)
                return True
            if not force and jumps < 20 and insns < 100:
                add_new = False
        elif _covers(env, entry, cur):
            entry.hits += 1
            if env.jmp_point[insn_idx]:
                env.push_history()
            if old.in_loop:
                _taint(cur)
            else:
                propagate_precision(env, old, cur)
            return True
        if add_new:
            entry.misses += 1
        limit = 64 if env.force_checkpoint[insn_idx] and old.branches else 3
        if entry.misses > entry.hits * limit + limit:
            known.pop(i)
            env.explored_count -= 1
        i -= 1
    env.max_states_per_insn = max(env.max_states_per_insn, compared)
    if add_new:
        _remember(env, known, cur, insn_idx)
    return False


def _covers(env: Env, entry: Explored, cur: State) -> bool:
    """Whether a state all of whose paths were walked covers the current one."""
    old = entry.state
    if old.in_loop:
        return states_equal(env, old, cur, Exact.RANGE)
    if not entry.cleaned:
        entry.cleaned = True
        env.stack_live.clean(old)
    return states_equal(env, old, cur, Exact.NOT)


def _meet(env: Env, old: State, cur: State, insn_idx: int) -> _Meeting:
    """Compare with a state that the path itself came through: a loop without progress never ends, unless a
    helper
    counts its turns."""
    if env.calls_callback[insn_idx]:
        return _Meeting.HIT if states_equal(env, old, cur, Exact.RANGE) else _Meeting.MISS
    another_turn = old.may_goto_depth != cur.may_goto_depth
    if another_turn and _may_goto_at(env, insn_idx) and states_equal(env, old, cur, Exact.RANGE):
        return _Meeting.HIT
    if (
        not another_turn
        and _maybe_looping(old, cur)
        and old.callback_unroll_depth == cur.callback_unroll_depth
        and states_equal(env, old, cur, Exact.ALL)
    ):
        env.say(f"infinite loop detected at insn {insn_idx}")
        if env.logging:
            for name, state in (("cur", cur), ("old", old)):
                env.log.write(f"{name} state:")
                print_state(env, state, len(state.frames) - 1, everything=True)
        env.stop(errno.EINVAL, f"infinite loop detected at insn {insn_idx}")
    return _Meeting.MISS


def _may_goto_at(env: Env, insn_idx: int) -> bool:
    row = env.rows[insn_idx]
    return row is not None and row.form is Form.MAY_GOTO


def _close_loop(env: Env, cur: State) -> None:
    """The path returned to a state that is not finished. What matters from there on is not known yet, so
    every
    scalar of the loop counts as precise, and its states serve only where they match as a whole."""
    if env.jmp_point[env.insn_idx]:
        env.push_history()
    _taint(cur)


def _taint(cur: State) -> None:
    state = cur.parent
    while state is not None:
        state.in_loop = True
        state = state.parent


def _remember(env: Env, known: list[Explored], cur: State, insn_idx: int) -> None:
    env.total_states += 1
    env.explored_count += 1
    env.peak_states = max(env.peak_states, env.explored_count)
    if env.explored_count > _MAX_STATES:
        env.reject(errno.E2BIG, f"BPF program is too large. Remembered {env.explored_count} states")
    env.prev_jmps_processed = env.jmps_processed
    env.prev_insn_processed = env.insn_processed
    mark_all_imprecise(cur)
    new = cur.copy()
    new.insn_idx = insn_idx
    known.append(Explored(new))
    cur.parent = new
    cur.first_insn_idx = insn_idx
    cur.dfs_depth = new.dfs_depth + 1
    cur.history = []
    cur.branches = 1
