"""Loops while they are walked: where a path entered one, and the paths that ended at a state of it.

A path that comes back to a state which is not finished may end there, but what matters from that state on is
known only when every way out of the loop was walked. Until then the path's end is kept as a back edge; then
what is precise in the state flows along the back edges until nothing changes (`propagate_backedges`,
kernel/bpf/verifier.c).

A helper that calls a function of the program again and again is a loop too. Linux 6.18 forgets that, and
so accepts programs that leave their stack; later ones do not. It is a loop here, but not in the log.
"""

import errno
from collections.abc import Sequence

from engine.verifier.env import Env
from engine.verifier.precision import mark_all_precise
from engine.verifier.propagate import propagate_precision
from engine.verifier.state import State

__all__ = [
    "LoopVisit",
    "add_back_edge",
    "branch_done",
    "count_states",
    "enter_loop",
    "forget_evicted",
    "unfinished",
]

_MAX_ROUNDS = 64
_MAX_STATES = 200_000

Edge = tuple[State, State]
"""The end of a path in a loop, and the state that covers it."""
Key = tuple[int, ...]
"""Calls that lead to a loop, and its number; for a callback's, what no loop's number is."""


class LoopVisit:
    """One loop as reached through one chain of calls.

    entry: the first state in it of the path that is walked. back_edges: paths that ended in it. inner: for a
    loop by callback, those of loops in the function called, which are done with by themselves.
    """

    __slots__ = ("back_edges", "entry", "inner")

    def __init__(self) -> None:
        self.entry: State | None = None
        self.back_edges: list[Edge] = []
        self.inner: list[Edge] = []


def _keys(env: Env, state: State) -> tuple[Key | None, Key | None]:
    """The outermost loop that a state is in (`compute_scc_callchain`), and the outermost one by callback
    around it."""
    if not env.has_loops:
        return None, None
    frames = state.frames
    sites: tuple[int, ...] = ()
    callback: Key | None = None
    for depth in range(len(frames)):
        idx = frames[depth + 1].callsite if depth + 1 < len(frames) else state.insn_idx
        if env.loop_of[idx]:
            return (*sites, env.loop_of[idx]), callback
        if callback is None and env.calls_callback[idx]:
            callback = (*sites, -1 - idx)
        sites = (*sites, idx)
    return None, callback


def _note(env: Env, what: str, key: Key) -> None:
    """A line for the log, with `(callsite,loop)`; a call at instruction 0 ends the list of them there."""
    if env.verbose and key[-1] > 0:
        sites = key[:-1]
        sites = sites[: sites.index(0)] if 0 in sites else sites
        env.say(f"SCC {what} ({','.join(map(str, (*sites, key[-1])))})")


def enter_loop(env: Env, state: State) -> None:
    """A remembered state: the entry of the loop that it is in, unless there is one (`maybe_enter_scc`)."""
    for key in _keys(env, state):
        if key is not None:
            visit = env.visits.setdefault(key, LoopVisit())
            if visit.entry is None:
                visit.entry = state
                _note(env, "enter", key)


def unfinished(env: Env, state: State) -> bool:
    """Whether marks of precision may still be missing in a state all of whose paths were walked
    (`incomplete_read_marks`)."""
    for key in _keys(env, state):
        visit = env.visits.get(key) if key is not None else None
        if visit is not None and visit.back_edges:
            return True
    return False


def add_back_edge(env: Env, old: State, cur: State, insn_idx: int) -> None:
    """The path `cur` ends at `insn_idx` in a loop, where `old` covers it (`add_scc_backedge`)."""
    end = cur.copy()
    end.insn_idx = insn_idx
    loop, callback = _keys(env, old)
    called = bool(env.calls_callback[insn_idx])
    if callback is not None and (called or loop is None):
        env.visits[callback].back_edges.insert(0, (end, old))
        env.callback_edge_count += 1
        count_states(env)
        return
    assert loop is not None
    if not called:
        _note(env, "backedge", loop)
    env.visits[loop].back_edges.insert(0, (end, old))
    env.back_edge_count += 1
    count_states(env)
    if callback is not None:
        env.visits[callback].inner.append((end, old))
        env.callback_edge_count += 1


def count_states(env: Env) -> None:
    """Note how many states are in memory (`update_peak_states`), of which there may be so many."""
    count = env.explored_count + env.evicted_count + env.back_edge_count
    env.peak_states = max(env.peak_states, count)
    if count + env.callback_edge_count > _MAX_STATES:
        env.reject(errno.E2BIG, f"BPF program is too large. Remembered {_MAX_STATES} states")


def branch_done(env: Env, state: State | None) -> None:
    """One way out of `state` was walked to its end: it, and its parents, may be complete now
    (`update_branch_counts`)."""
    while state is not None:
        state.branches -= 1
        if state.branches > 0:
            return
        _leave_loops(env, state)
        forget_evicted(env, state)
        state = state.parent


def forget_evicted(env: Env, state: State) -> None:
    """Count a state that is compared no more as gone, once nothing needs it (`maybe_free_verifier_state`)."""
    if state.evicted and not state.branches and not unfinished(env, state):
        state.evicted = False
        env.evicted_count -= 1


def _leave_loops(env: Env, state: State) -> None:
    """Once every path from the entry of a loop was walked, it is known what matters (`maybe_exit_scc`)."""
    loop, callback = _keys(env, state)
    visit = env.visits.get(loop) if loop is not None else None
    if loop is not None and visit is not None and visit.entry is state:
        _note(env, "exit", loop)
        visit.entry = None
        env.back_edge_count -= len(visit.back_edges)
        count_states(env)
        _propagate(env, visit.back_edges)
        visit.back_edges.clear()
    visit = env.visits.get(callback) if callback is not None else None
    if visit is not None and visit.entry is state:
        visit.entry = None
        env.callback_edge_count -= len(visit.back_edges) + len(visit.inner)
        if visit.back_edges:
            verbose, env.verbose = env.verbose, False
            _propagate(env, visit.back_edges + visit.inner)
            env.verbose = verbose
        visit.back_edges.clear()
        visit.inner.clear()


def _propagate(env: Env, edges: Sequence[Edge]) -> None:
    """Carry what is precise from the states to the ends that they cover, until nothing changes."""
    changed, rounds = bool(edges), 0
    while changed:
        rounds += 1
        if rounds > _MAX_ROUNDS:
            if env.verbose:
                env.say("propagate_backedges: too many iterations")
            for end, _ in edges:
                mark_all_precise(env, end)
            return
        changed = False
        for end, old in edges:
            env.go_on()
            changed |= propagate_precision(env, old, end)
