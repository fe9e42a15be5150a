"""Programs that apply one instruction to many operands, for tests that run them in several engines.

They are XDP programs over a packet of `SIZE` bytes: OPERANDS pairs of u64 (x, y), then three u64 results of
each. Every operand meets every other in the packets of `packets()`.
"""

import itertools
import struct
from collections.abc import Callable, Iterator

from engine.isa import OPCODES, Alu, Atomic, Class, Form, Insn, Mode, Opcode, Size, assemble

__all__ = ["OPERANDS", "RESULTS", "SIZE", "cases", "packets"]

OPERANDS = 16
RESULTS = OPERANDS * 16
SIZE = RESULTS + OPERANDS * 24
_U64 = (1 << 64) - 1
_VALUES = (
    *(0, 1, 2, 7, -1, -2, -7, 31, 32, 33, 63, 64, 65, 0x80, 0x8000),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, -0x80000000),
    *((1 << 63) - 1, 1 << 63, 0x123456789ABCDEF0, 0x8000000080000000),
)
_CONSTANTS = (0, 1, 2, 3, -1, -2, -7, 31, 32, 63, 255, 256, -256, 0x7FFFFFFF, -0x80000000, 0x12345678)
_HEAD = assemble(
    f"r2 = *(u32 *)(r1 +4)\nr6 = *(u32 *)(r1 +0)\nr3 = r6\nr3 += {SIZE}\nif r3 <= r2 goto pc+2\nr0 = 1\nexit"
)
_TAIL = assemble("r0 = 2\nexit")
_X, _Y, _OLD, _TAKEN = 3, 4, 0, 5
_SHIFTS = (Alu.LSH, Alu.RSH, Alu.ARSH)

Emit = Callable[[int], list[Insn]]
"""The instructions for pair i, x in r3 and y in r4, which store their results themselves."""


def packets() -> Iterator[bytes]:
    """Packets in which every two values are a pair once."""
    pairs = list(itertools.product(_VALUES, repeat=2))
    for start in range(0, len(pairs), OPERANDS):
        chunk = [*pairs[start : start + OPERANDS], *[(0, 0)] * OPERANDS][:OPERANDS]
        yield struct.pack(f"<{2 * OPERANDS}Q", *(v & _U64 for pair in chunk for v in pair)).ljust(SIZE, b"\0")


def _result(pair: int, number: int, reg: int) -> Insn:
    return Insn(Class.STX | Mode.MEM | Size.DW, 6, reg, RESULTS + 24 * pair + 8 * number)


def _program(emit: Emit) -> list[Insn]:
    body = []
    for pair in range(OPERANDS):
        load = Class.LDX | Mode.MEM | Size.DW
        body += [Insn(load, _X, 6, 16 * pair), Insn(load, _Y, 6, 16 * pair + 8), *emit(pair)]
    return [*_HEAD, *body, *_TAIL]


def _arithmetic(row: Opcode, off: int) -> Emit:
    def emit(pair: int) -> list[Insn]:
        if row.reg:
            return [Insn(row.code, _X, _Y, off), _result(pair, 0, _X)]
        value = _CONSTANTS[pair]
        if row.op in _SHIFTS:
            value &= row.bits - 1
        elif row.op in (Alu.DIV, Alu.MOD):
            value = value or 5
        return [Insn(row.code, _X, 0, off, value), _result(pair, 0, _X)]

    return emit


def _unary(row: Opcode, imm: int) -> Emit:
    return lambda pair: [Insn(row.code, _X, 0, 0, imm), _result(pair, 0, _X)]


def _jump(row: Opcode) -> Emit:
    def emit(pair: int) -> list[Insn]:
        imm = 0 if row.reg else _CONSTANTS[pair]
        taken = [Insn(Class.ALU64 | Alu.MOV, _TAKEN, imm=value) for value in (1, 0)]
        jump = Insn(row.code, _X, _Y if row.reg else 0, 1, imm)
        return [taken[0], jump, taken[1], _result(pair, 0, _TAKEN)]

    return emit


def _atomic(row: Opcode, op: int, off: int) -> Emit:
    """On a cell of the stack that holds x, with operand y; r0, for CMPXCHG, is x where y is even."""
    before = assemble(f"*(u64 *)(r10 -8) = r{_X}\nr0 = r{_X}\nr5 = r{_Y}\nr5 &= 1\nr0 ^= r5")
    after = assemble(f"r{_TAKEN} = *(u64 *)(r10 -8)")

    def emit(pair: int) -> list[Insn]:
        base = (_Y, 10) if op == Atomic.LOAD_ACQ else (10, _Y)
        results = [_result(pair, number, reg) for number, reg in enumerate((_TAKEN, _Y, _OLD))]
        return [*before, Insn(row.code, *base, off, op), *after, *results]

    return emit


def _load(row: Opcode) -> Emit:
    return lambda pair: [Insn(row.code, _X, 6, 3 * pair), _result(pair, 0, _X)]


def _store(row: Opcode) -> Emit:
    """Among the results, also where it is not aligned."""

    def emit(pair: int) -> list[Insn]:
        where = RESULTS + 24 * pair + pair
        return [Insn(row.code, 6, _X if row.reg else 0, where, 0 if row.reg else _CONSTANTS[pair])]

    return emit


def _variants(row: Opcode) -> Iterator[tuple[str, Emit]]:
    match row.form:
        case Form.ALU:
            offs = [0, *([1] if row.signed_symbol else [])]
            if row.op is Alu.MOV and row.reg:
                offs = [0, 8, 16, *([32] if row.bits == 64 else [])]
            for off in offs:
                yield f"off {off}", _arithmetic(row, off)
        case Form.NEG:
            yield "", _unary(row, 0)
        case Form.END | Form.BSWAP:
            for bits in (16, 32, 64):
                yield f"{bits}", _unary(row, bits)
        case Form.JUMP:
            yield "", _jump(row)
        case Form.LOAD:
            yield "", _load(row)
        case Form.STORE:
            yield "", _store(row)
        case Form.ATOMIC:
            ordered = (Atomic.LOAD_ACQ, Atomic.STORE_REL)
            for op in Atomic if row.size >= 4 else ordered:
                for off in range(-8, 0, row.size):
                    yield f"{op.name} {off}", _atomic(row, op, off)


def cases(form: Form) -> Iterator[tuple[str, list[Insn]]]:
    """Name and program of every variant of every opcode of a form."""
    for code, row in OPCODES.items():
        if row.form is form:
            for variant, emit in _variants(row):
                yield f"{code:02x} {variant}", _program(emit)
