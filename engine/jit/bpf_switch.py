"""Trees of comparisons, as compilers make them of a C switch, found again: LLVM makes jump tables of them.

eBPF has no indirect jump, so a switch arrives as a chain or tree of blocks that each compare one register
with a constant and do nothing else. Followed with every value that the register may have, the tree is a map
from values to the blocks where it ends.

Sets of values are lists of intervals (first, last) of unsigned numbers, in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.isa import Form, Insn, Jmp
from engine.jit.bpf_flow import Block, jump_target

__all__ = ["Switch", "find_switch"]

_FEWEST_COMPARISONS = 4
_MOST_VISITS = 128
_MOST_VALUES = 512
_SIGNED = {Jmp.JSGT: Jmp.JGT, Jmp.JSGE: Jmp.JGE, Jmp.JSLT: Jmp.JLT, Jmp.JSLE: Jmp.JLE}
_FOLLOWED = frozenset((Jmp.JEQ, Jmp.JNE, Jmp.JGT, Jmp.JGE, Jmp.JLT, Jmp.JLE, *_SIGNED))

Values = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Switch:
    """Where control goes for each value of `reg`, `bits` wide; blocks are named by their first instruction.

    inner: the blocks that only compare, which are passed over.
    """

    reg: int
    bits: int
    default: int
    cases: Mapping[int, int]
    inner: frozenset[int]


def find_switch(insns: Sequence[Insn], blocks: Mapping[int, Block], root: Block) -> Switch | None:
    """The tree of comparisons that begins at the end of `root`; None when a branch does as well."""
    first = insns[root.end - 1]
    if not _compares(first):
        return None
    row = first.opcode
    assert row is not None
    leaves: dict[int, Values] = {}
    inner: set[int] = set()
    comparisons = visits = 1
    todo = _ways(first, root.end - 1, [(0, (1 << row.bits) - 1)])
    while todo:
        start, values = todo.pop()
        insn = insns[start]
        visits += 1
        alone = blocks[start].end == start + 1 and visits < _MOST_VISITS
        if alone and insn.opcode is not None and insn.opcode.form is Form.GOTO:
            inner.add(start)
            todo.append((blocks[start].successors[0], values))
        elif alone and insn.code & 7 == first.code & 7 and insn.dst == first.dst and _compares(insn):
            comparisons += start not in inner
            inner.add(start)
            todo += _ways(insn, start, values)
        else:
            leaves.setdefault(start, []).extend(values)
    default = max(leaves, key=lambda leaf: _count(leaves[leaf]))
    rare = {leaf: values for leaf, values in leaves.items() if leaf != default}
    if comparisons < _FEWEST_COMPARISONS or sum(map(_count, rare.values())) > _MOST_VALUES:
        return None
    cases = {
        value: leaf for leaf, values in rare.items() for low, high in values for value in range(low, high + 1)
    }
    return Switch(first.dst, row.bits, default, cases, frozenset(inner))


def _compares(insn: Insn) -> bool:
    """Whether it is a conditional jump on the order of a register and a constant."""
    row = insn.opcode
    return row is not None and row.form is Form.JUMP and not row.reg and row.op in _FOLLOWED


def _ways(insn: Insn, index: int, values: Values) -> list[tuple[int, Values]]:
    """Where the jump at `index` goes, with which of the values."""
    taken = _taken(insn)
    target = jump_target(insn, index)
    row = insn.opcode
    assert target is not None
    assert row is not None
    ways = [(target, _common(values, taken)), (index + 1, _common(values, _others(taken, row.bits)))]
    return [(way, part) for way, part in ways if part]


def _taken(insn: Insn) -> Values:
    """The values for which the jump is taken."""
    row = insn.opcode
    assert row is not None
    last = (1 << row.bits) - 1
    constant = insn.imm & last
    assert isinstance(row.op, Jmp)
    if row.op in _SIGNED:
        # Adding half of all makes the signed order the unsigned one.
        half = (last + 1) >> 1
        found = _below_or_above(_SIGNED[row.op], constant ^ half, last)
        return sorted(part for each in found for part in _turned(each, half))
    return _below_or_above(row.op, constant, last)


def _below_or_above(op: Jmp, constant: int, last: int) -> Values:
    parts = {
        Jmp.JEQ: [(constant, constant)],
        Jmp.JNE: [(0, constant - 1), (constant + 1, last)],
        Jmp.JGT: [(constant + 1, last)],
        Jmp.JGE: [(constant, last)],
        Jmp.JLT: [(0, constant - 1)],
        Jmp.JLE: [(0, constant)],
    }[op]
    return [part for part in parts if part[0] <= part[1]]


def _turned(part: tuple[int, int], half: int) -> Values:
    """An interval with `half` added to each number, modulo all."""
    low, high = part
    parts = [(low + half, min(high, half - 1) + half), (max(low, half) - half, high - half)]
    return [part for part in parts if part[0] <= part[1]]


def _others(values: Values, bits: int) -> Values:
    """All values but these."""
    found, following = [], 0
    for low, high in values:
        if following < low:
            found.append((following, low - 1))
        following = high + 1
    if following < 1 << bits:
        found.append((following, (1 << bits) - 1))
    return found


def _common(a: Values, b: Values) -> Values:
    """What is in both; in order."""
    parts = [(max(x[0], y[0]), min(x[1], y[1])) for x in a for y in b]
    return sorted(part for part in parts if part[0] <= part[1])


def _count(values: Values) -> int:
    return sum(high - low + 1 for low, high in values)
