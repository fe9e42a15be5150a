"""Which registers may still be read from each instruction on, by data flow alone
(`compute_live_registers`).

A register that is dead at a point takes no part in comparing states there.
"""

from engine.helpers.proto import Arg, Proto
from engine.isa import Atomic, Form, Insn, Opcode
from engine.verifier.cfg import successors
from engine.verifier.env import Env
from engine.verifier.graph import components, loops_back
from engine.verifier.protos import find_proto
from engine.verifier.stackflow import ControlFlow

__all__ = ["compute_live_regs", "live_regs_text", "solve"]

_CALLER_SAVED = 0b111111
_ARGS = 0b111110
_UNARY = (Form.NEG, Form.END, Form.BSWAP)
_ALU, _LOAD, _STORE, _JUMP = Form.ALU, Form.LOAD, Form.STORE, Form.JUMP


def _use_def(env: Env, insn: Insn, row: Opcode) -> tuple[int, int]:
    """Bit masks of the registers that an instruction reads and writes."""
    dst, src = 1 << insn.dst, 1 << insn.src
    form = row.form
    if form is _ALU:
        reads = src if row.reg else 0
        if row.symbol != "=":
            reads |= dst
        return reads, dst
    if form is _LOAD:
        return src, dst
    if form is _STORE or form is _JUMP:
        return dst | (src if row.reg else 0), 0
    if form in _UNARY:
        return dst, dst
    if form is Form.ATOMIC:
        return _atomic(insn, dst, src)
    if form is Form.LD_IMM64:
        return 0, dst
    if form in (Form.LD_ABS, Form.LD_IND):
        return 1 << 6 | (src if form is Form.LD_IND else 0), _CALLER_SAVED
    if form is Form.EXIT:
        return 1, 0
    if form is Form.CALL:
        proto: Proto | None = find_proto(insn.imm) if insn.src == 0 else None
        return (_argument_mask(proto) if proto else _ARGS), _CALLER_SAVED
    return 0, 0


def _argument_mask(proto: Proto) -> int:
    """Registers of a helper's arguments; those that it takes as they come do not count."""
    count = proto.args.index(Arg.DONTCARE) if Arg.DONTCARE in proto.args else len(proto.args)
    return ((1 << count) - 1) << 1


def _atomic(insn: Insn, dst: int, src: int) -> tuple[int, int]:
    op = insn.imm
    if op == Atomic.LOAD_ACQ:
        return src, dst
    if op == Atomic.STORE_REL:
        return src | dst, 0
    if op == Atomic.CMPXCHG:
        return 1 | src | dst, 1
    return src | dst, src if op & Atomic.FETCH else 0


def compute_live_regs(env: Env) -> None:
    """Fill `env.live_regs`: registers that may be read at or after each instruction before they are
    written."""
    count = len(env.insns)
    rules: list[tuple[int, int]] = []
    followers: list[list[int]] = []
    for i in range(count):
        row = env.rows[i]
        if row is None:
            rules.append((0, 0))
            followers.append([i + 1] if i + 1 < count else [])
        else:
            rules.append(_use_def(env, env.insns[i], row))
            followers.append(successors(env, i))
    starts = [subprog.start for subprog in env.subprogs]
    looping = loops_back(followers)
    control = ControlFlow.of(followers, starts, env.prune_point, ordered=looping or env.verbose)
    env.stack_live.prepare(control, starts, env.calls_callback)
    env.loop_of = components(followers) if looping else [0] * count
    env.has_loops = looping or 1 in env.calls_callback
    env.live_regs = [mask & 0x3FF for mask in solve(rules, followers, control.predecessors)]


def solve(
    rules: list[tuple[int, int]], followers: list[list[int]], predecessors: list[list[int]]
) -> list[int]:
    """Live registers before each instruction. Each is looked at once, and again when what follows it changed:
    the order of blocks, which a hostile program chooses, cannot make that more than a few times."""
    count = len(rules)
    live = [0] * count
    todo = list(range(count))
    waiting = bytearray(b"\1") * count
    while todo:
        i = todo.pop()
        waiting[i] = 0
        after = 0
        for follower in followers[i]:
            after |= live[follower]
        use, define = rules[i]
        before = use | (after & ~define)
        if before != live[i]:
            live[i] = before
            for earlier in predecessors[i]:
                if not waiting[earlier]:
                    waiting[earlier] = 1
                    todo.append(earlier)
    return live


def live_regs_text(mask: int) -> str:
    """One instruction's live registers as the log shows them."""
    return "".join(str(n) if mask >> n & 1 else "." for n in range(10))
