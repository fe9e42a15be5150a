"""Numbers of the instruction set (RFC 9669, include/uapi/linux/bpf.h) and one row for each opcode.

An instruction is eight bytes, little-endian:

    63            32 31    16 15  12 11   8 7      0
    +---------------+--------+------+------+--------+
    |      imm      |  off   | src  | dst  |  code  |
    +---------------+--------+------+------+--------+

    code of ALU, ALU64, JMP, JMP32:  op (4 bits) | source (1) | class (3)
    code of LD, LDX, ST, STX:        mode (3) | size (2) | class (3)
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, IntFlag, auto

__all__ = [
    "FP",
    "MAX_TAIL_CALLS",
    "OPCODES",
    "REGS",
    "STACK_SIZE",
    "Alu",
    "Atomic",
    "Class",
    "Field",
    "Form",
    "Jmp",
    "Mode",
    "Opcode",
    "PseudoSrc",
    "Size",
    "Source",
]

REGS = 11
FP = 10
STACK_SIZE = 512
MAX_TAIL_CALLS = 33


class Class(IntEnum):
    """Instruction class: the low three bits of `code`."""

    LD = 0
    LDX = 1
    ST = 2
    STX = 3
    ALU = 4
    JMP = 5
    JMP32 = 6
    ALU64 = 7


class Size(IntEnum):
    """Width of a memory access."""

    W = 0x00
    H = 0x08
    B = 0x10
    DW = 0x18


class Mode(IntEnum):
    """How a load or store finds its operand."""

    IMM = 0x00
    ABS = 0x20
    IND = 0x40
    MEM = 0x60
    MEMSX = 0x80
    ATOMIC = 0xC0


class Source(IntEnum):
    """Second operand: `imm` (K) or the source register (X)."""

    K = 0x00
    X = 0x08


class Alu(IntEnum):
    """Operation of ALU and ALU64.

    With `off` 1 DIV and MOD are signed; with `off` 8, 16 or 32 MOV extends the sign.
    """

    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    DIV = 0x30
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    NEG = 0x80
    MOD = 0x90
    XOR = 0xA0
    MOV = 0xB0
    ARSH = 0xC0
    END = 0xD0


class Jmp(IntEnum):
    """Operation of JMP and JMP32."""

    JA = 0x00
    JEQ = 0x10
    JGT = 0x20
    JGE = 0x30
    JSET = 0x40
    JNE = 0x50
    JSGT = 0x60
    JSGE = 0x70
    CALL = 0x80
    EXIT = 0x90
    JLT = 0xA0
    JLE = 0xB0
    JSLT = 0xC0
    JSLE = 0xD0
    JCOND = 0xE0


class Atomic(IntEnum):
    """`imm` of STX|ATOMIC. FETCH is a flag of the first four."""

    ADD = 0x00
    OR = 0x40
    AND = 0x50
    XOR = 0xA0
    FETCH = 0x01
    ADD_FETCH = 0x01
    OR_FETCH = 0x41
    AND_FETCH = 0x51
    XOR_FETCH = 0xA1
    XCHG = 0xE1
    CMPXCHG = 0xF1
    LOAD_ACQ = 0x100
    STORE_REL = 0x110


class PseudoSrc(IntEnum):
    """`src` of LD_IMM64 (what `imm` means), and of CALL (whom it calls)."""

    NONE = 0
    MAP_FD = 1
    MAP_VALUE = 2
    BTF_ID = 3
    FUNC = 4
    MAP_IDX = 5
    MAP_IDX_VALUE = 6

    CALL_HELPER = 0
    CALL = 1
    KFUNC_CALL = 2


class Form(Enum):
    """Shape of an instruction: which fields it has and how it is written."""

    ALU = auto()
    """dst = dst op operand, at `bits` wide (MOV: dst = operand)"""
    NEG = auto()
    END = auto()
    """dst to little-endian (source K) or big-endian (X), the low `imm` bits of it"""
    BSWAP = auto()
    JUMP = auto()
    """if dst op operand, goto pc + off"""
    GOTO = auto()
    """goto pc + off (JMP), pc + imm (JMP32)"""
    MAY_GOTO = auto()
    CALL = auto()
    CALLX = auto()
    EXIT = auto()
    LOAD = auto()
    """dst = *(size *)(src + off), sign-extended when `signed`"""
    STORE = auto()
    """*(size *)(dst + off) = src or imm"""
    ATOMIC = auto()
    LD_IMM64 = auto()
    """two slots: dst = imm of both; or what `PseudoSrc` says"""
    LD_ABS = auto()
    LD_IND = auto()


class Field(IntFlag):
    """Fields that an opcode uses; the others must be zero."""

    NONE = 0
    DST = 1
    SRC = 2
    OFF = 4
    IMM = 8


@dataclass(frozen=True, slots=True)
class Opcode:
    """One opcode.

    bits: width of the operation, 32 or 64; 0 where it has none. op: its `Alu` or `Jmp`. reg: the second
    operand is the source register. size: bytes of memory accessed. symbol: how the kernel writes the
    operation; signed_symbol: the same for the signed variant (`off` 1).
    """

    code: int
    form: Form
    fields: Field
    bits: int = 0
    op: Alu | Jmp | None = None
    reg: bool = False
    size: int = 0
    signed: bool = False
    symbol: str = ""
    signed_symbol: str = ""


_ALU_SYMBOLS = {
    Alu.ADD: ("+=", ""),
    Alu.SUB: ("-=", ""),
    Alu.MUL: ("*=", ""),
    Alu.DIV: ("/=", "s/="),
    Alu.OR: ("|=", ""),
    Alu.AND: ("&=", ""),
    Alu.LSH: ("<<=", ""),
    Alu.RSH: (">>=", ""),
    Alu.MOD: ("%=", "s%="),
    Alu.XOR: ("^=", ""),
    Alu.MOV: ("=", ""),
    Alu.ARSH: ("s>>=", ""),
}
_JMP_SYMBOLS = {
    Jmp.JEQ: "==",
    Jmp.JGT: ">",
    Jmp.JGE: ">=",
    Jmp.JSET: "&",
    Jmp.JNE: "!=",
    Jmp.JSGT: "s>",
    Jmp.JSGE: "s>=",
    Jmp.JLT: "<",
    Jmp.JLE: "<=",
    Jmp.JSLT: "s<",
    Jmp.JSLE: "s<=",
}
_SIZES = {Size.B: (1, "8"), Size.H: (2, "16"), Size.W: (4, "32"), Size.DW: (8, "64")}


def _alu_rows() -> list[Opcode]:
    rows = []
    for cls, bits in ((Class.ALU, 32), (Class.ALU64, 64)):
        for op, (symbol, signed) in _ALU_SYMBOLS.items():
            off = Field.OFF if signed else Field.NONE
            k, x = Field.DST | Field.IMM | off, Field.DST | Field.SRC | off
            if op is Alu.MOV:
                x |= Field.OFF
            rows.append(Opcode(cls | op | Source.K, Form.ALU, k, bits, op, False, 0, False, symbol, signed))
            rows.append(Opcode(cls | op | Source.X, Form.ALU, x, bits, op, True, 0, False, symbol, signed))
        rows.append(Opcode(cls | Alu.NEG, Form.NEG, Field.DST, bits, Alu.NEG))
    end = Field.DST | Field.IMM
    rows.append(Opcode(Class.ALU | Alu.END | Source.K, Form.END, end, 64, Alu.END, symbol="le"))
    rows.append(Opcode(Class.ALU | Alu.END | Source.X, Form.END, end, 64, Alu.END, symbol="be"))
    rows.append(Opcode(Class.ALU64 | Alu.END | Source.K, Form.BSWAP, end, 64, Alu.END, symbol="bswap"))
    return rows


def _jump_rows() -> list[Opcode]:
    rows = []
    k, x = Field.DST | Field.IMM | Field.OFF, Field.DST | Field.SRC | Field.OFF
    for cls, bits in ((Class.JMP32, 32), (Class.JMP, 64)):
        for op, symbol in _JMP_SYMBOLS.items():
            rows.append(Opcode(cls | op | Source.K, Form.JUMP, k, bits, op, symbol=symbol))
            rows.append(Opcode(cls | op | Source.X, Form.JUMP, x, bits, op, True, symbol=symbol))
    rows += [
        Opcode(Class.JMP | Jmp.JA, Form.GOTO, Field.OFF, op=Jmp.JA, symbol="goto"),
        Opcode(Class.JMP32 | Jmp.JA, Form.GOTO, Field.IMM, op=Jmp.JA, symbol="gotol"),
        Opcode(Class.JMP | Jmp.JCOND, Form.MAY_GOTO, Field.OFF, op=Jmp.JCOND, symbol="may_goto"),
        Opcode(Class.JMP | Jmp.CALL, Form.CALL, Field.SRC | Field.IMM, op=Jmp.CALL, symbol="call"),
        Opcode(Class.JMP | Jmp.CALL | Source.X, Form.CALLX, Field.DST, op=Jmp.CALL, reg=True, symbol="callx"),
        Opcode(Class.JMP | Jmp.EXIT, Form.EXIT, Field.NONE, op=Jmp.EXIT, symbol="exit"),
    ]
    return rows


def _memory_rows() -> list[Opcode]:
    rows = []
    load = Field.DST | Field.SRC | Field.OFF
    every = load | Field.IMM
    for bits, (size, name) in _SIZES.items():
        u, s = f"u{name}", f"s{name}"
        rows.append(Opcode(Class.LDX | Mode.MEM | bits, Form.LOAD, load, size=size, symbol=u))
        if size < 8:
            rows.append(
                Opcode(Class.LDX | Mode.MEMSX | bits, Form.LOAD, load, size=size, signed=True, symbol=s)
            )
            rows.append(Opcode(Class.LD | Mode.ABS | bits, Form.LD_ABS, Field.IMM, size=size, symbol=u))
            rows.append(
                Opcode(Class.LD | Mode.IND | bits, Form.LD_IND, Field.SRC | Field.IMM, size=size, symbol=u)
            )
        store = Field.DST | Field.OFF
        rows.append(Opcode(Class.ST | Mode.MEM | bits, Form.STORE, store | Field.IMM, size=size, symbol=u))
        rows.append(
            Opcode(Class.STX | Mode.MEM | bits, Form.STORE, store | Field.SRC, reg=True, size=size, symbol=u)
        )
        rows.append(Opcode(Class.STX | Mode.ATOMIC | bits, Form.ATOMIC, every, reg=True, size=size, symbol=u))
    imm64 = Field.DST | Field.SRC | Field.IMM
    rows.append(Opcode(Class.LD | Mode.IMM | Size.DW, Form.LD_IMM64, imm64, 64, symbol="="))
    return rows


OPCODES: dict[int, Opcode] = {row.code: row for row in (*_alu_rows(), *_jump_rows(), *_memory_rows())}
"""Every opcode that exists. Narrow atomics are LOAD_ACQ and STORE_REL only."""
