"""Control flow of one subprogram, and which registers are known to hold pointers where.

A register has two views in the compiled code: its 64-bit word, always right, and a typed pointer that
LLVM can reason about (which object it points into), right only where every path agrees that it is one.
`views` computes where: a forward dataflow with one bit for each register, met with AND. It is a matter of
speed, not of safety, except that a view must never claim a scalar to be a pointer; so it follows only
moves, additions and subtractions, and ends where a pointer is found to be null.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.isa import FP, LD_IMM64, Alu, Form, Insn, Jmp, PseudoSrc

__all__ = ["FP_VIEW", "Block", "blocks_of", "jump_target", "transfer", "views"]

FP_VIEW = 1 << FP
_CALLER_SAVED = 0b111111
_SCALAR_POINTER_SOURCES = (
    PseudoSrc.MAP_FD,
    PseudoSrc.MAP_VALUE,
    PseudoSrc.MAP_IDX,
    PseudoSrc.MAP_IDX_VALUE,
)
ReturnsPointer = Callable[[Insn], bool]


@dataclass(slots=True)
class Block:
    """Instructions [start, end) with one entry; `successors` are starts of blocks, the fall-through last."""

    start: int
    end: int
    successors: tuple[int, ...]


def jump_target(insn: Insn, index: int) -> int | None:
    """Where the jump at `index` goes when taken; None when it is no jump."""
    row = insn.opcode
    if row is None:
        return None
    if row.form is Form.GOTO:
        return index + 1 + (insn.off if row.symbol == "goto" else insn.imm)
    if row.form in (Form.JUMP, Form.MAY_GOTO):
        return index + 1 + insn.off
    return None


def _width(insn: Insn) -> int:
    return 2 if insn.code == LD_IMM64 else 1


def blocks_of(insns: Sequence[Insn], start: int, end: int) -> dict[int, Block]:
    """The blocks of subprogram [start, end) that its entry reaches, by first instruction."""
    leaders = {start}
    for index in range(start, end):
        target = jump_target(insns[index], index)
        if target is not None:
            leaders |= {target, index + 1}
    found: dict[int, Block] = {}
    todo = [start]
    while todo:
        first = todo.pop()
        if first in found:
            continue
        found[first] = block = _block(insns, first, end, leaders)
        todo += block.successors
    return found


def _block(insns: Sequence[Insn], first: int, end: int, leaders: set[int]) -> Block:
    index = first
    while index < end:
        insn = insns[index]
        following = index + _width(insn)
        row = insn.opcode
        if row is not None and row.form is Form.EXIT:
            return Block(first, following, ())
        target = jump_target(insn, index)
        if target is not None:
            assert row is not None
            both = (target,) if row.form is Form.GOTO else (target, following)
            return Block(first, following, both)
        if following in leaders:
            return Block(first, following, (following,))
        index = following
    return Block(first, end, ())


def transfer(mask: int, insn: Insn, returns_pointer: ReturnsPointer) -> int:
    """Registers with a pointer view after `insn`, given those before."""
    row = insn.opcode
    if row is None:
        return mask
    dst = 1 << insn.dst
    match row.form:
        case Form.ALU:
            return mask | dst if _keeps(mask, insn) else mask & ~dst
        case Form.LD_IMM64:
            return mask | dst if insn.src in _SCALAR_POINTER_SOURCES else mask & ~dst
        case Form.CALL:
            mask &= ~_CALLER_SAVED
            return mask | 1 if returns_pointer(insn) else mask
        case Form.NEG | Form.END | Form.BSWAP | Form.LOAD:
            return mask & ~dst
        case Form.LD_ABS | Form.LD_IND:
            return mask & ~_CALLER_SAVED
        case Form.ATOMIC:
            return mask & ~(dst | 1 << insn.src | 1) | FP_VIEW
        case _:
            return mask


def _keeps(mask: int, insn: Insn) -> bool:
    """Whether the ALU operation `insn` leaves a pointer in its destination."""
    row = insn.opcode
    assert row is not None
    dst = bool(mask >> insn.dst & 1)
    src = row.reg and bool(mask >> insn.src & 1)
    if row.bits == 32:
        return False
    if row.op is Alu.MOV:
        return src and insn.off == 0
    if row.op is Alu.ADD:
        return dst != src
    return row.op is Alu.SUB and dst and not src


def _null_edges(insn: Insn) -> tuple[int, int]:
    """Views that end on the taken and on the other edge: a pointer that compared equal to zero."""
    row = insn.opcode
    if row is None or row.form is not Form.JUMP or row.reg or insn.imm:
        return 0, 0
    ended = 1 << insn.dst
    return (ended if row.op is Jmp.JEQ else 0), (ended if row.op is Jmp.JNE else 0)


def views(
    insns: Sequence[Insn], blocks: dict[int, Block], entry: int, entry_mask: int, returns: ReturnsPointer
) -> dict[int, int]:
    """Registers with a pointer view at the start of each block."""
    at: dict[int, int] = {entry: entry_mask | FP_VIEW}
    todo = [entry]
    while todo:
        block = blocks[todo.pop()]
        mask = at[block.start]
        last = block.start
        index = block.start
        while index < block.end:
            mask = transfer(mask, insns[index], returns)
            last = index
            index += _width(insns[index])
        taken, other = _null_edges(insns[last])
        for position, successor in enumerate(block.successors):
            ended = taken if position == 0 and len(block.successors) == 2 else other
            met = at.get(successor, -1) & (mask & ~ended)
            if met != at.get(successor):
                at[successor] = met
                todo.append(successor)
    return at
