"""Hypothesis strategies for eBPF programs that verifiers accept: arithmetic, stack, forward jumps."""

from hypothesis import strategies as st

from engine.isa import OPCODES, Alu, Atomic, Class, Form, Insn, Jmp, Mode, Opcode, Size, Source

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
    op = draw(st.sampled_from([op for op in Atomic if op not in (Atomic.LOAD_ACQ, Atomic.STORE_REL)]))
    off = _stack_offset(draw, 8 if size is Size.DW else 4)
    return Insn(Class.STX | Mode.ATOMIC | size, 10, draw(_REGS), off, op)


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
def programs(draw: st.DrawFn, size: int = 40) -> list[Insn]:
    """A program that ends: registers and stack hold constants, then anything, then r0 sums it all up."""
    head = [Insn(Class.ALU64 | Alu.MOV, reg, imm=draw(_WORDS)) for reg in range(10)]
    for slot in range(_SLOTS):
        head.append(Insn(Class.STX | Mode.MEM | Size.DW, 10, draw(_REGS), -8 * (slot + 1)))
    kinds = st.one_of(_alu(), _alu(), _unary(), _stack_access(), _atomic(), _jump())
    body: list[Insn] = draw(st.lists(kinds, min_size=1, max_size=size))
    for at, insn in enumerate(body):
        row = insn.opcode
        if row is not None and row.form is Form.JUMP:
            body[at] = Insn(insn.code, insn.dst, insn.src, min(insn.off, len(body) - at - 1), insn.imm)
    return head + body + _sum_up()


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
