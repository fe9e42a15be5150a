"""What the operations of eBPF mean, on plain integers (RFC 9669, sections 4.1 to 4.3 and 5.3).

Values are unsigned 64-bit registers in and out. Interpreter and tests read them here; the verifier may fold
constants with them.
"""

from collections.abc import Callable

from engine.isa.opcodes import Alu, Atomic, Jmp, Opcode

__all__ = ["alu", "atomic", "byte_order", "compare", "sign_extend"]

_U64 = (1 << 64) - 1


def _signed(value: int, bits: int) -> int:
    """`value`, a number of `bits` bits, read as two's complement."""
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _truncated_div(x: int, y: int) -> int:
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


_ALU: dict[Alu, Callable[[int, int, int], int]] = {
    Alu.ADD: lambda x, y, bits: x + y,
    Alu.SUB: lambda x, y, bits: x - y,
    Alu.MUL: lambda x, y, bits: x * y,
    Alu.DIV: lambda x, y, bits: x // y if y else 0,
    Alu.MOD: lambda x, y, bits: x % y if y else x,
    Alu.OR: lambda x, y, bits: x | y,
    Alu.AND: lambda x, y, bits: x & y,
    Alu.XOR: lambda x, y, bits: x ^ y,
    Alu.LSH: lambda x, y, bits: x << (y & bits - 1),
    Alu.RSH: lambda x, y, bits: x >> (y & bits - 1),
    Alu.ARSH: lambda x, y, bits: _signed(x, bits) >> (y & bits - 1),
    Alu.MOV: lambda x, y, bits: y,
}
_SIGNED: dict[Alu, Callable[[int, int], int]] = {
    Alu.DIV: lambda x, y: _truncated_div(x, y) if y else 0,
    Alu.MOD: lambda x, y: x - y * _truncated_div(x, y) if y else x,
}
_JUMPS: dict[Jmp, Callable[[int, int], bool]] = {
    Jmp.JEQ: lambda x, y: x == y,
    Jmp.JNE: lambda x, y: x != y,
    Jmp.JGT: lambda x, y: x > y,
    Jmp.JGE: lambda x, y: x >= y,
    Jmp.JLT: lambda x, y: x < y,
    Jmp.JLE: lambda x, y: x <= y,
    Jmp.JSET: lambda x, y: bool(x & y),
    Jmp.JSGT: lambda x, y: x > y,
    Jmp.JSGE: lambda x, y: x >= y,
    Jmp.JSLT: lambda x, y: x < y,
    Jmp.JSLE: lambda x, y: x <= y,
}
_SIGNED_JUMPS = frozenset((Jmp.JSGT, Jmp.JSGE, Jmp.JSLT, Jmp.JSLE))
_RMW: dict[Atomic, Callable[[int, int], int]] = {
    Atomic.ADD: lambda old, operand: old + operand,
    Atomic.OR: lambda old, operand: old | operand,
    Atomic.AND: lambda old, operand: old & operand,
    Atomic.XOR: lambda old, operand: old ^ operand,
    Atomic.XCHG: lambda old, operand: operand,
}


def alu(row: Opcode, off: int, x: int, y: int) -> int:
    """Result of an ALU operation on the registers' 64-bit values `x` (destination) and `y` (operand)."""
    assert isinstance(row.op, Alu)
    mask = (1 << row.bits) - 1
    if row.op is Alu.MOV and row.reg and off in (8, 16, 32):
        return _signed(y & (1 << off) - 1, off) & mask
    if off == 1 and row.op in _SIGNED:
        return _SIGNED[row.op](_signed(x & mask, row.bits), _signed(y & mask, row.bits)) & mask
    return _ALU[row.op](x & mask, y & mask, row.bits) & mask


def compare(row: Opcode, x: int, y: int) -> bool:
    """Whether a conditional jump on the 64-bit values `x` and `y` is taken."""
    assert isinstance(row.op, Jmp)
    mask = (1 << row.bits) - 1
    x, y = x & mask, y & mask
    if row.op in _SIGNED_JUMPS:
        x, y = _signed(x, row.bits), _signed(y, row.bits)
    return _JUMPS[row.op](x, y)


def byte_order(row: Opcode, bits: int, x: int) -> int:
    """le, be and bswap of the low `bits` of `x`, on a little-endian host."""
    low = x & (1 << bits) - 1
    if row.symbol == "le":
        return low
    return int.from_bytes(low.to_bytes(bits // 8, "little"), "big")


def atomic(op: int, old: int, operand: int) -> int:
    """What ADD, OR, AND, XOR (with FETCH or without) and XCHG leave in memory, before truncation."""
    return _RMW[Atomic(op if op == Atomic.XCHG else op & ~Atomic.FETCH)](old, operand)


def sign_extend(value: int, bits: int) -> int:
    """The low `bits` of `value`, sign-extended to 64."""
    return _signed(value & (1 << bits) - 1, bits) & _U64
