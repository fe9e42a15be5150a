"""How much stack the deepest chain of calls needs (`check_max_stack_depth`)."""

import errno

from engine.isa import LD_IMM64, STACK_SIZE, PseudoSrc
from engine.verifier.env import MAX_CALL_FRAMES, Env

__all__ = ["check_stack_depth"]

_TAIL_CALL_LIMIT = 256


def _callees(env: Env, number: int) -> list[int]:
    """Functions that a function calls, or hands to a helper as a callback."""
    subprog = env.subprogs[number]
    found = []
    i = subprog.start
    while i < subprog.end:
        insn = env.insns[i]
        if insn.code == LD_IMM64:
            if insn.src == PseudoSrc.FUNC:
                found.append(env.subprog_at[i + insn.imm + 1])
            i += 1
        elif insn.code == 0x85 and insn.src == PseudoSrc.CALL:
            found.append(env.subprog_at[i + insn.imm + 1])
        i += 1
    return found


def check_stack_depth(env: Env) -> None:
    """Refuse chains of calls that need more than 512 bytes together, or that are deeper than eight
    frames."""
    callees = [sorted(set(_callees(env, number))) for number in range(len(env.subprogs))]
    best: dict[tuple[int, int], int] = {}

    def visit(number: int, before: int, chain: tuple[int, ...]) -> None:
        depth = before + (env.subprogs[number].stack_depth + 15) // 16 * 16
        if depth > STACK_SIZE:
            env.deny(f"combined stack size of {len(chain) + 1} calls is {depth}. Too large")
        if best.get((number, len(chain)), -1) >= depth:
            return
        best[number, len(chain)] = depth
        if callees[number] and len(chain) + 1 >= MAX_CALL_FRAMES:
            env.reject(errno.E2BIG, f"the call stack of {len(chain) + 2} frames is too deep !")
        if callees[number] and env.subprogs[number].has_tail_call and depth >= _TAIL_CALL_LIMIT:
            env.deny(
                f"tail_calls are not allowed when call stack of previous frames is {depth} bytes. Too large"
            )
        for callee in callees[number]:
            visit(callee, depth, (*chain, number))

    visit(0, 0, ())
    for number, subprog in enumerate(env.subprogs):
        if subprog.is_async_cb or (number and subprog.is_global):
            visit(number, 0, ())
