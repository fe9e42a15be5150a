"""Remembering states, and ending a path whose state is covered by one found safe before
(`is_state_visited`)."""

import errno
from enum import Enum, auto

from engine.isa import Form
from engine.verifier.compare import Exact, states_equal
from engine.verifier.env import Env, Explored
from engine.verifier.loopvisits import add_back_edge, count_states, enter_loop, forget_evicted, unfinished
from engine.verifier.precision import mark_all_imprecise
from engine.verifier.propagate import propagate_precision
from engine.verifier.regs import NOT_INIT, RegType
from engine.verifier.state import State
from engine.verifier.trace import print_state

__all__ = ["state_visited"]

_MAX_HISTORY = 40


class _Meeting(Enum):
    """What comparing with a state that lies on the path itself gave."""

    HIT = auto()
    MISS = auto()


def _maybe_looping(old: State, cur: State) -> bool:
    """A test before the exact comparison: the registers of the running frame are the same, with their
    identities (`states_maybe_looping`). A loop that gives new ones each turn ends by its length."""
    for a, b in zip(old.cur.regs, cur.cur.regs, strict=True):
        if a is not b and not (
            a.type == b.type
            and a.flags == b.flags
            and a.off == b.off
            and a.id == b.id
            and a.ref == b.ref
            and a.map is b.map
            and (a.n == b.n or a.type == RegType.STACK)
            and a.b.same(b.b)
        ):
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
    known = env.states_at(insn_idx)
    _clean(env, known, cur)
    i = len(known) - 1
    compared = len(known)
    while i >= 0:
        entry = known[i]
        old = entry.state
        if old.insn_idx != insn_idx:
            i -= 1
            continue
        if old.branches:
            loop = _meet(env, old, cur, insn_idx) is _Meeting.HIT
            hit = loop
            if not hit and not force and jumps < 20 and insns < 100:
                add_new = False
        else:
            loop = unfinished(env, old)
            hit = states_equal(env, old, cur, Exact.RANGE if loop else Exact.NOT)
        if hit:
            entry.hits += 1
            if env.jmp_point[insn_idx]:
                env.push_history()
            propagate_precision(env, old, cur)
            if loop:
                add_back_edge(env, old, cur, insn_idx)
            return True
        if add_new:
            entry.misses += 1
        limit = 64 if env.force_checkpoint[insn_idx] and old.branches else 3
        if entry.misses > entry.hits * limit + limit:
            known.pop(i)
            env.explored_count -= 1
            env.evicted_count += 1
            old.evicted = True
            forget_evicted(env, old)
        i -= 1
    env.max_states_per_insn = max(env.max_states_per_insn, compared)
    if add_new:
        _remember(env, known, cur, insn_idx)
    return False


def _clean(env: Env, known: list[Explored], cur: State) -> None:
    """Forget what no path from the states that are complete read (`clean_live_states`)."""
    for entry in known:
        old = entry.state
        if entry.cleaned or old.branches or old.insn_idx != cur.insn_idx or unfinished(env, old):
            continue
        if [frame.callsite for frame in old.frames] == [frame.callsite for frame in cur.frames]:
            entry.cleaned = True
            _clean_regs(env, old)
            env.stack_live.clean(old)


def _clean_regs(env: Env, state: State) -> None:
    last = len(state.frames) - 1
    for number, frame in enumerate(state.frames):
        idx = state.insn_idx if number == last else state.frames[number + 1].callsite
        live = env.live_regs[idx]
        for i in range(10):
            if not live >> i & 1:
                frame.regs[i] = NOT_INIT


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
        if env.log.level:
            for name, state in (("cur", cur), ("old", old)):
                env.log.write(f"{name} state:")
                print_state(env, state, len(state.frames) - 1, everything=True)
        env.stop(errno.EINVAL, f"infinite loop detected at insn {insn_idx}")
    return _Meeting.MISS


def _may_goto_at(env: Env, insn_idx: int) -> bool:
    row = env.rows[insn_idx]
    return row is not None and row.form is Form.MAY_GOTO


def _remember(env: Env, known: list[Explored], cur: State, insn_idx: int) -> None:
    env.total_states += 1
    env.explored_count += 1
    count_states(env)
    env.prev_jmps_processed = env.jmps_processed
    env.prev_insn_processed = env.insn_processed
    mark_all_imprecise(cur)
    new = cur.copy()
    new.insn_idx = insn_idx
    enter_loop(env, new)
    known.append(Explored(new))
    cur.parent = new
    cur.first_insn_idx = insn_idx
    cur.dfs_depth = new.dfs_depth + 1
    cur.history = []
    cur.branches = 1
