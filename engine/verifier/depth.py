"""How much stack the deepest chain of calls needs (`check_max_stack_depth`)."""

import errno

from engine.abi.bpf import ProgType
from engine.isa import STACK_SIZE
from engine.verifier.effects import callees
from engine.verifier.env import MAX_CALL_FRAMES, Env

__all__ = ["check_stack_depth"]

_TAIL_CALL_LIMIT = 256
_PRIVATE_MIN = 64
_PRIVATE_TYPES = frozenset(
    {ProgType.KPROBE, ProgType.TRACEPOINT, ProgType.PERF_EVENT, ProgType.RAW_TRACEPOINT, ProgType.TRACING}
)


class _Depths:
    """The walk over the call graph."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.callees = [callees(env, number) for number in range(len(env.subprogs))]
        self.best: dict[tuple[int, int], int] = {}
        tail_calls = any(subprog.has_tail_call for subprog in env.subprogs)
        self.private = env.spec.type in _PRIVATE_TYPES and not tail_calls

    def visit(self, number: int, before: int, level: int) -> None:
        """Function `number`, called at `level` with `before` bytes of stack in use above it."""
        env = self.env
        subprog = env.subprogs[number]
        if number and subprog.has_tail_call and before >= _TAIL_CALL_LIMIT:
            env.deny(
                f"tail_calls are not allowed when call stack of previous frames is {before} bytes. Too large"
            )
        own = (subprog.stack_depth + 15) // 16 * 16
        depth = before
        if self.private and own >= _PRIVATE_MIN:
            if own > STACK_SIZE:
                env.deny(f"stack size of subprog {number} is {own}. Too large")
        else:
            depth += own
            if depth > STACK_SIZE:
                env.deny(f"combined stack size of {level + 1} calls is {depth}. Too large")
        key = (number, level)
        if self.best.get(key, -1) >= depth:
            return
        self.best[key] = depth
        if self.callees[number] and level + 1 >= MAX_CALL_FRAMES:
            env.reject(errno.E2BIG, f"the call stack of {level + 1} frames is too deep !")
        for callee in self.callees[number]:
            self.visit(callee, depth, level + 1)


def check_stack_depth(env: Env) -> None:
    """Refuse chains of calls that need more than 512 bytes together, or that are deeper than eight frames.

    Types that the kernel gives a private stack may use 512 bytes in every function, without tail calls.
    """
    depths = _Depths(env)
    depths.visit(0, 0, 0)
