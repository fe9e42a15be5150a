"""Hypothesis strategies for eBPF programs that verifiers accept: arithmetic, stack, forward jumps, calls."""

import itertools

from hypothesis import strategies as st

from engine.isa import OPCODES, Alu, Atomic, Class, Form, Insn, Jmp, Mode, Opcode, PseudoSrc, Size, Source

__all__ = ["instructions", "programs"]

_WORDS = st.one_of(
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.sampled_from([0, 1, -1, 2, 7, 31, 32, 63, 64, 255, 256, -256, 0x7FFFFFFF, -0x80000000]),
)
_REGS = st.integers(0, 9)
_SLOTS = 8
_BITS = st.sampled_from([16, 32, 64])


def _rows(*forms: Form) -> list[Opcode]:
    return [row for row in OPCODES.values() if row.form in forms]


@st.composite
def _alu(draw: st.DrawFn) -> Insn:
    row = draw(st.sampled_from(_rows(Form.ALU)))
    off = draw(st.sampled_from([0, 1])) if row.signed_symbol else 0
    imm = 0
    src = 0
    if row.reg:
        src = draw(_REGS)
        if row.op is Alu.MOV:
            off = draw(st.sampled_from([0, 8, 16, *([32] if row.bits == 64 else [])]))
    elif row.op in (Alu.LSH, Alu.RSH, Alu.ARSH):
        imm = draw(st.integers(0, row.bits - 1))
    elif row.op in (Alu.DIV, Alu.MOD):
        imm = draw(_WORDS.filter(bool))
    else:
        imm = draw(_WORDS)
    return Insn(row.code, draw(_REGS), src, off, imm)


@st.composite
def _unary(draw: st.DrawFn) -> Insn:
    row = draw(st.sampled_from(_rows(Form.NEG, Form.END, Form.BSWAP)))
    return Insn(row.code, draw(_REGS), imm=0 if row.form is Form.NEG else draw(_BITS))


def _stack_offset(draw: st.DrawFn, size: int) -> int:
    return -8 * _SLOTS + size * draw(st.integers(0, 8 * _SLOTS // size - 1))


@st.composite
def _stack_access(draw: st.DrawFn) -> Insn:
    row = draw(st.sampled_from(_rows(Form.LOAD, Form.STORE)))
    off = _stack_offset(draw, row.size)
    if row.form is Form.LOAD:
        return Insn(row.code, draw(_REGS), 10, off)
    return Insn(row.code, 10, draw(_REGS) if row.reg else 0, off, 0 if row.reg else draw(_WORDS))


@st.composite
def _atomic(draw: st.DrawFn) -> Insn:
    size = draw(st.sampled_from([Size.W, Size.DW]))
    op = draw(st.sampled_from(list(Atomic)))
    off = _stack_offset(draw, 8 if size is Size.DW else 4)
    dst, src = (draw(_REGS), 10) if op is Atomic.LOAD_ACQ else (10, draw(_REGS))
    return Insn(Class.STX | Mode.ATOMIC | size, dst, src, off, op)


@st.composite
def _jump(draw: st.DrawFn) -> Insn:
    row = draw(st.sampled_from(_rows(Form.JUMP)))
    off = draw(st.integers(0, 6))
    return Insn(row.code, draw(_REGS), draw(_REGS) if row.reg else 0, off, 0 if row.reg else draw(_WORDS))


@st.composite
def instructions(draw: st.DrawFn) -> list[Insn]:
    """The slots of any one instruction, well-formed or nearly so, for round trips of text and bytes."""
    row = draw(st.sampled_from([row for row in OPCODES.values() if row.form is not Form.LD_IMM64]))
    if row.form is Form.ALU:
        return [draw(_alu())]
    off = draw(st.integers(-32768, 32767)) if row.form is not Form.CALL else 0
    imm = draw(_WORDS)
    if row.form in (Form.END, Form.BSWAP):
        imm = draw(_BITS)
    if row.form is Form.ATOMIC:
        narrow = (Atomic.LOAD_ACQ, Atomic.STORE_REL)
        imm = draw(st.sampled_from(list(Atomic) if row.size >= 4 else list(narrow)))
    fields = {"DST": draw(_REGS), "SRC": draw(_REGS), "OFF": off, "IMM": imm}
    kept = {
        name: value if row.fields.name and name in row.fields.name else 0 for name, value in fields.items()
    }
    if row.form is Form.CALL:
        kept["SRC"] = draw(st.integers(0, 2))
        kept["IMM"] = draw(st.integers(0, 211)) if kept["SRC"] == 0 else imm
    return [Insn(row.code, kept["DST"], kept["SRC"], kept["OFF"], kept["IMM"])]


@st.composite
def _early_exit(draw: st.DrawFn) -> list[Insn]:
    """A way out in the middle, with whatever r0 holds."""
    jump = draw(_jump())
    return [Insn(jump.code, jump.dst, jump.src, 1, jump.imm), Insn(Class.JMP | Jmp.EXIT)]


@st.composite
def _call(draw: st.DrawFn, callees: range) -> list[Insn]:
    """A call of a function, its number in `imm` (not yet a distance); r1 to r5 are given values again."""
    kept = st.sampled_from([0, 6, 7, 8, 9])
    again = [Insn(Class.ALU64 | Alu.MOV | Source.X, reg, draw(kept)) for reg in range(1, 6)]
    return [Insn(Class.JMP | Jmp.CALL, 0, PseudoSrc.CALL, 0, draw(st.sampled_from(callees))), *again]


@st.composite
def _goto(draw: st.DrawFn) -> list[Insn]:
    """A jump around an instruction that a conditional jump leads to, so that it is not unreachable."""
    cls = draw(st.sampled_from([Class.JMP, Class.JMP32]))
    jump = draw(_jump())
    away = Insn(cls | Jmp.JA, 0, 0, *((1, 0) if cls is Class.JMP else (0, 1)))
    return [Insn(jump.code, jump.dst, jump.src, 1, jump.imm), away, draw(_alu())]


def _single(strategy: st.SearchStrategy[Insn]) -> st.SearchStrategy[list[Insn]]:
    return strategy.map(lambda insn: [insn])


@st.composite
def _body(draw: st.DrawFn, size: int, callees: range) -> list[Insn]:
    """Statements, and jumps forward over some of them; calls of the functions `callees`."""
    plain = [_single(kind) for kind in (_alu(), _alu(), _unary(), _stack_access(), _atomic(), _jump())]
    kinds = [*plain, _early_exit(), _goto(), *([_call(callees)] if callees else [])]
    statements = draw(st.lists(st.one_of(kinds), min_size=1, max_size=size))
    starts = list(itertools.accumulate((len(statement) for statement in statements), initial=0))
    for at, statement in enumerate(statements):
        insn, row = statement[0], statement[0].opcode
        if len(statement) == 1 and row is not None and row.form is Form.JUMP:
            target = min(at + 1 + insn.off, len(statements))
            statement[0] = Insn(insn.code, insn.dst, insn.src, starts[target] - starts[at] - 1, insn.imm)
    return [insn for statement in statements for insn in statement]


@st.composite
def _function(draw: st.DrawFn, size: int, callees: range, number: int) -> list[Insn]:
    """Registers and stack hold constants or arguments, then anything, then r0 sums it all up.

    Function 0, the program itself, calls every other one at least once.
    """
    fresh = (0, 6, 7, 8, 9) if number else range(10)
    head = [Insn(Class.ALU64 | Alu.MOV, reg, imm=draw(_WORDS)) for reg in fresh]
    for slot in range(_SLOTS):
        head.append(Insn(Class.STX | Mode.MEM | Size.DW, 10, draw(_REGS), -8 * (slot + 1)))
    body = draw(_body(size, callees))
    if number == 0:
        for callee in callees:
            body += draw(_call(range(callee, callee + 1)))
    return head + body + _sum_up()


@st.composite
def programs(draw: st.DrawFn, size: int = 40) -> list[Insn]:
    """A program that ends, of one to three functions."""
    last = draw(st.integers(0, 2))
    functions = [
        draw(_function(10 if number else size, range(number + 1, last + 1), number))
        for number in range(last + 1)
    ]
    starts = list(itertools.accumulate((len(function) for function in functions), initial=0))
    program = [insn for function in functions for insn in function]
    for at, insn in enumerate(program):
        if insn.code == Class.JMP | Jmp.CALL:
            program[at] = Insn(insn.code, 0, insn.src, 0, starts[insn.imm] - at - 1)
    return program


def _sum_up() -> list[Insn]:
    """r0 = a mix of all registers and stack slots, folded into its low half (all that a test run returns)."""
    mix = []
    for reg in range(1, 10):
        mix += [
            Insn(Class.ALU64 | Alu.MUL, 0, imm=31),
            Insn(Class.ALU64 | Alu.XOR | Source.X, 0, reg),
        ]
    for slot in range(_SLOTS):
        mix += [
            Insn(Class.LDX | Mode.MEM | Size.DW, 1, 10, -8 * (slot + 1)),
            Insn(Class.ALU64 | Alu.MUL, 0, imm=31),
            Insn(Class.ALU64 | Alu.ADD | Source.X, 0, 1),
        ]
    fold = [
        Insn(Class.ALU64 | Alu.MOV | Source.X, 1, 0),
        Insn(Class.ALU64 | Alu.RSH, 1, imm=32),
        Insn(Class.ALU64 | Alu.XOR | Source.X, 0, 1),
        Insn(Class.ALU | Alu.MOV | Source.X, 0, 0),
    ]
    return [*mix, *fold, Insn(Class.JMP | Jmp.EXIT)]
