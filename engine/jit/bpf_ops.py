"""Arithmetic and jumps of eBPF as LLVM IR (RFC 9669, sections 4.1 to 4.3).

One row per operation. LLVM leaves a zero divisor, INT_MIN / -1 and wide shifts undefined: divisors are
replaced and shift counts masked before, the RFC's results selected after.
"""

from collections.abc import Callable

from engine.isa import Alu, Form, Insn, Jmp, Opcode
from engine.jit.bpf_ir import Body

__all__ = ["condition", "emit_alu", "emit_end", "emit_neg"]

Row = Callable[[Body, str, str, str], str]
"""(body, type, destination, operand) -> result."""


def _plain(name: str) -> Row:
    return lambda b, kind, x, y: b.value(f"{name} {kind} {x}, {y}")


def _shift(name: str) -> Row:
    def emit(b: Body, kind: str, x: str, y: str) -> str:
        mask = 63 if kind == "i64" else 31
        count = str(int(y) & mask) if _constant(y) else b.value(f"and {kind} {y}, {mask}")
        return b.value(f"{name} {kind} {x}, {count}")

    return emit


def _constant(operand: str) -> bool:
    return not operand.startswith("%")


def _unsigned(name: str, by_zero_keeps: bool) -> Row:
    def emit(b: Body, kind: str, x: str, y: str) -> str:
        if _constant(y) and int(y):
            return b.value(f"{name} {kind} {x}, {y}")
        zero = b.value(f"icmp eq {kind} {y}, 0")
        safe = b.value(f"select i1 {zero}, {kind} 1, {kind} {y}")
        result = b.value(f"{name} {kind} {x}, {safe}")
        return b.value(f"select i1 {zero}, {kind} {x if by_zero_keeps else '0'}, {kind} {result}")

    return emit


def _signed_div(b: Body, kind: str, x: str, y: str) -> str:
    """0 for a zero divisor; INT_MIN / -1 is INT_MIN, which negation gives."""
    if _constant(y) and int(y) not in (0, -1):
        return b.value(f"sdiv {kind} {x}, {y}")
    zero, minus, safe = _signed_divisor(b, kind, y)
    quotient = b.value(f"sdiv {kind} {x}, {safe}")
    negated = b.value(f"sub {kind} 0, {x}")
    result = b.value(f"select i1 {minus}, {kind} {negated}, {kind} {quotient}")
    return b.value(f"select i1 {zero}, {kind} 0, {kind} {result}")


def _signed_mod(b: Body, kind: str, x: str, y: str) -> str:
    """The dividend for a zero divisor; 0 for -1."""
    if _constant(y) and int(y) not in (0, -1):
        return b.value(f"srem {kind} {x}, {y}")
    zero, _, safe = _signed_divisor(b, kind, y)
    rest = b.value(f"srem {kind} {x}, {safe}")
    return b.value(f"select i1 {zero}, {kind} {x}, {kind} {rest}")


def _signed_divisor(b: Body, kind: str, y: str) -> tuple[str, str, str]:
    """(is zero, is -1, divisor that LLVM may divide by: 1 in both cases)."""
    zero = b.value(f"icmp eq {kind} {y}, 0")
    minus = b.value(f"icmp eq {kind} {y}, -1")
    special = b.value(f"or i1 {zero}, {minus}")
    return zero, minus, b.value(f"select i1 {special}, {kind} 1, {kind} {y}")


_ALU: dict[Alu, Row] = {
    Alu.ADD: _plain("add"),
    Alu.SUB: _plain("sub"),
    Alu.MUL: _plain("mul"),
    Alu.DIV: _unsigned("udiv", by_zero_keeps=False),
    Alu.MOD: _unsigned("urem", by_zero_keeps=True),
    Alu.OR: _plain("or"),
    Alu.AND: _plain("and"),
    Alu.XOR: _plain("xor"),
    Alu.LSH: _shift("shl"),
    Alu.RSH: _shift("lshr"),
    Alu.ARSH: _shift("ashr"),
}
_SIGNED: dict[Alu, Row] = {Alu.DIV: _signed_div, Alu.MOD: _signed_mod}
_CONDITIONS: dict[Jmp, str] = {
    Jmp.JEQ: "eq",
    Jmp.JNE: "ne",
    Jmp.JGT: "ugt",
    Jmp.JGE: "uge",
    Jmp.JLT: "ult",
    Jmp.JLE: "ule",
    Jmp.JSGT: "sgt",
    Jmp.JSGE: "sge",
    Jmp.JSLT: "slt",
    Jmp.JSLE: "sle",
}


def emit_alu(b: Body, insn: Insn, row: Opcode) -> None:
    """An ALU or ALU64 instruction with two operands."""
    if row.op is Alu.MOV:
        _emit_mov(b, insn, row)
        return
    assert isinstance(row.op, Alu)
    operation = _SIGNED[row.op] if insn.off == 1 and row.signed_symbol else _ALU[row.op]
    if row.bits == 32:
        operand = b.get32(insn.src) if row.reg else str(insn.imm)
        b.set32(insn.dst, operation(b, "i32", b.get32(insn.dst), operand))
        return
    pointer = _moved_pointer(b, insn, row)
    operand = b.get(insn.src) if row.reg else str(insn.imm)
    b.set(insn.dst, operation(b, "i64", b.get(insn.dst), operand), pointer)


def _moved_pointer(b: Body, insn: Insn, row: Opcode) -> str | None:
    """The pointer view of a sum or difference; None when the result has none (see `bpf_flow`)."""
    if row.op not in (Alu.ADD, Alu.SUB):
        return None
    dst = b.has_view(insn.dst)
    src = row.reg and b.has_view(insn.src)
    if dst == src or (src and row.op is Alu.SUB):
        return None
    if src:
        return b.gep(b.pointer(insn.src), b.get(insn.dst))
    if not row.reg:
        return b.gep(b.pointer(insn.dst), insn.imm if row.op is Alu.ADD else -insn.imm)
    offset = b.get(insn.src)
    return b.gep(b.pointer(insn.dst), offset if row.op is Alu.ADD else b.value(f"sub i64 0, {offset}"))


def _emit_mov(b: Body, insn: Insn, row: Opcode) -> None:
    if not row.reg:
        b.set(insn.dst, str(insn.imm if row.bits == 64 else insn.imm & 0xFFFFFFFF))
    elif insn.off in (8, 16, 32):
        low = b.value(f"trunc i64 {b.get(insn.src)} to i{insn.off}")
        wide = low if insn.off == row.bits else b.value(f"sext i{insn.off} {low} to i{row.bits}")
        if row.bits == 64:
            b.set(insn.dst, wide)
        else:
            b.set32(insn.dst, wide)
    elif row.bits == 32:
        b.set32(insn.dst, b.get32(insn.src))
    else:
        b.set(insn.dst, b.get(insn.src), b.pointer(insn.src) if b.has_view(insn.src) else None)


def emit_neg(b: Body, insn: Insn, row: Opcode) -> None:
    """dst = -dst."""
    if row.bits == 32:
        b.set32(insn.dst, b.value(f"sub i32 0, {b.get32(insn.dst)}"))
    else:
        b.set(insn.dst, b.value(f"sub i64 0, {b.get(insn.dst)}"))


def emit_end(b: Body, insn: Insn, row: Opcode) -> None:
    """Byte order: `le` truncates on this little-endian host, `be` and `bswap` swap the low `imm` bits."""
    bits = insn.imm
    value = b.get(insn.dst) if bits == 64 else b.value(f"trunc i64 {b.get(insn.dst)} to i{bits}")
    if row.form is Form.BSWAP or row.symbol == "be":
        value = b.value(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {value})")
    b.set(insn.dst, value if bits == 64 else b.value(f"zext i{bits} {value} to i64"))


def condition(b: Body, insn: Insn, row: Opcode) -> str:
    """The i1 that the conditional jump `insn` tests."""
    assert isinstance(row.op, Jmp)
    wide = row.bits == 64
    if row.op is Jmp.JSET:
        kind = "i64" if wide else "i32"
        x = b.get(insn.dst) if wide else b.get32(insn.dst)
        y = (b.get(insn.src) if wide else b.get32(insn.src)) if row.reg else str(insn.imm)
        return b.value(f"icmp ne {kind} {b.value(f'and {kind} {x}, {y}')}, 0")
    test = _CONDITIONS[row.op]
    if wide and b.has_view(insn.dst):
        if row.reg and b.has_view(insn.src):
            return b.value(f"icmp {test} ptr {b.pointer(insn.dst)}, {b.pointer(insn.src)}")
        if not row.reg and insn.imm == 0:
            return b.value(f"icmp {test} ptr {b.pointer(insn.dst)}, null")
    if wide:
        return b.value(f"icmp {test} i64 {b.get(insn.dst)}, {b.get(insn.src) if row.reg else insn.imm}")
    return b.value(f"icmp {test} i32 {b.get32(insn.dst)}, {b.get32(insn.src) if row.reg else insn.imm}")
