"""Assembler of the kernel's syntax: what the disassembler (and a verifier log) prints, with labels.

One instruction a line: `r0 = 0`, `if r1 > 7 goto out`, `call bpf_map_lookup_elem`, `out:`. `;` and `//` begin
comments; a leading index (`3:`) and a leading code (`(b7)`) are allowed, so a dump assembles again. Jumps
take `pc+N`, `+N` or a label. As in the kernel's text a hexadecimal operand of `=` is LD_IMM64 and a
decimal one is MOV; `r1 = 18 ll` is LD_IMM64 too, and so are `map_fd[N]`, `map_value[N][0]+M`,
`map_idx[N]`, `map_idx_value[N][0]+M`, `btf_id[N]`, `func[LABEL]`.
"""

import re
import struct
from collections.abc import Callable, Mapping

from engine.abi.bpf import FuncId
from engine.isa.insn import LD_IMM64, Insn
from engine.isa.opcodes import (
    OPCODES,
    Alu,
    Atomic,
    Class,
    Form,
    Jmp,
    Mode,
    Opcode,
    PseudoSrc,
    Size,
    Source,
)

__all__ = ["AsmError", "assemble"]


class AsmError(ValueError):
    """A line that is not an instruction; the message names line and text."""


Labels = Mapping[str, int]
Match = re.Match[str]

_SIZES = {"8": Size.B, "16": Size.H, "32": Size.W, "64": Size.DW}
_NUMBER = r"[+-]?(?:0x[0-9a-f]+|\d+)"
_MEM = r"\*?\(([us])(8|16|32|64) \*\)\(r(\d+) ?([+-] ?(?:0x[0-9a-f]+|\d+))\)"
_TARGET = rf"((?:pc)?{_NUMBER}|[A-Za-z_.]\w*)"
_PSEUDO = {
    "map_fd": PseudoSrc.MAP_FD,
    "map_value": PseudoSrc.MAP_VALUE,
    "map_idx": PseudoSrc.MAP_IDX,
    "map_idx_value": PseudoSrc.MAP_IDX_VALUE,
    "btf_id": PseudoSrc.BTF_ID,
    "func": PseudoSrc.FUNC,
}
_ALU = {
    (row.bits, row.reg, symbol): (row, int(symbol == row.signed_symbol))
    for row in OPCODES.values()
    if row.form is Form.ALU
    for symbol in (row.symbol, row.signed_symbol)
    if symbol
}
_JUMPS = {(row.bits, row.reg, row.symbol): row for row in OPCODES.values() if row.form is Form.JUMP}
_LOCK = {"+=": Atomic.ADD, "|=": Atomic.OR, "&=": Atomic.AND, "^=": Atomic.XOR}
_FETCH = {"add": Atomic.ADD_FETCH, "or": Atomic.OR_FETCH, "and": Atomic.AND_FETCH, "xor": Atomic.XOR_FETCH}


def assemble(text: str) -> list[Insn]:
    """Slots of the program `text`. AsmError (a ValueError) names the first bad line."""
    lines = []
    labels: dict[str, int] = {}
    index = 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.split(r";|//", raw, maxsplit=1)[0].strip()
        line = re.sub(r"^\d+:\s*", "", line)
        while found := re.match(r"([A-Za-z_.]\w*):\s*", line):
            labels[found[1]] = index
            line = line[found.end() :]
        line = re.sub(r"^\([0-9a-f]{2}\)\s*", "", line)
        if line:
            lines.append((number, index, line))
            index += 2 if _is_wide(line) else 1
    return [insn for number, at, line in lines for insn in _line(number, at, line, labels)]


def _is_wide(line: str) -> bool:
    return re.fullmatch(_WIDE, line) is not None


def _line(number: int, at: int, line: str, labels: Labels) -> list[Insn]:
    for pattern, build in _RULES:
        if found := re.fullmatch(pattern, line):
            try:
                insns = build(found, at, labels)
                for insn in insns:
                    insn.encode()
            except (KeyError, ValueError, struct.error) as error:
                raise AsmError(f"line {number}: {line!r}: {error}") from error
            return insns
    raise AsmError(f"line {number}: not an instruction: {line!r}")


def _int(text: str) -> int:
    return int(text.replace(" ", ""), 0)


def _imm32(text: str) -> int:
    """A 32-bit immediate, signed or as the unsigned number of the same bits."""
    value = _int(text)
    return value - (1 << 32) if 1 << 31 <= value < 1 << 32 else value


def _reg(text: str) -> int:
    number = int(text)
    if number >= 16:
        raise ValueError(f"no register r{number}")
    return number


def _target(text: str, at: int, labels: Labels) -> int:
    """Offset of a jump or call at `at`: `pc+N`, or to a label."""
    if text in labels:
        return labels[text] - at - 1
    if re.fullmatch(rf"(pc)?{_NUMBER}", text):
        return _int(text.removeprefix("pc"))
    raise ValueError(f"no label {text}")


def _width(letter: str) -> int:
    return 32 if letter == "w" else 64


def _wide(code_src: int, dst: int, value: int) -> list[Insn]:
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    return [
        Insn(LD_IMM64, dst, code_src, 0, _imm32(str(low))),
        Insn(0, 0, 0, 0, _imm32(str(high))),
    ]


def _load_imm64(m: Match, at: int, labels: Labels) -> list[Insn]:
    value = _int(m[2])
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("more than 64 bits")
    return _wide(PseudoSrc.NONE, _reg(m[1]), value)


def _load_pseudo(m: Match, at: int, labels: Labels) -> list[Insn]:
    src = _PSEUDO[m[2]]
    offset = _int(m[4]) if m[4] else 0
    if src is PseudoSrc.FUNC and not re.fullmatch(_NUMBER, m[3]):
        number = _target(m[3], at, labels)
    else:
        number = _int(m[3])
    return _wide(src, _reg(m[1]), (number & 0xFFFFFFFF) | (offset & 0xFFFFFFFF) << 32)


def _alu_imm(m: Match, at: int, labels: Labels) -> list[Insn]:
    row, off = _ALU[_width(m[1]), False, m[3]]
    return [Insn(row.code, _reg(m[2]), 0, off, _imm32(m[4]))]


def _alu_reg(m: Match, at: int, labels: Labels) -> list[Insn]:
    row, off = _ALU[_width(m[1]), True, m[3]]
    if m[4]:
        if row.op is not Alu.MOV:
            raise ValueError("only = extends sign")
        off = int(m[4])
    return [Insn(row.code, _reg(m[2]), _reg(m[5]), off)]


def _neg(m: Match, at: int, labels: Labels) -> list[Insn]:
    if m[1] + m[2] != m[3] + m[4]:
        raise ValueError("negation is of one register")
    return [Insn((Class.ALU if m[1] == "w" else Class.ALU64) | Alu.NEG, _reg(m[2]))]


_SWAPS = {
    "le": Class.ALU | Alu.END | Source.K,
    "be": Class.ALU | Alu.END | Source.X,
    "bswap": Class.ALU64 | Alu.END,
}


def _swap(m: Match, at: int, labels: Labels) -> list[Insn]:
    if m[1] != m[4]:
        raise ValueError("a byte swap is of one register")
    return [Insn(_SWAPS[m[2]], _reg(m[1]), imm=int(m[3]))]


def _percpu(m: Match, at: int, labels: Labels) -> list[Insn]:
    return [Insn(Class.ALU64 | Alu.MOV | Source.X, _reg(m[1]), _reg(m[2]), -1)]


def _addr_space_cast(m: Match, at: int, labels: Labels) -> list[Insn]:
    spaces = int(m[3]) << 16 | int(m[4])
    return [Insn(Class.ALU64 | Alu.MOV | Source.X, _reg(m[1]), _reg(m[2]), 1, _imm32(str(spaces)))]


def _load(m: Match, at: int, labels: Labels) -> list[Insn]:
    mode = Mode.MEMSX if m[2] == "s" else Mode.MEM
    return [Insn(_known(Class.LDX | mode | _SIZES[m[3]]).code, _reg(m[1]), _reg(m[4]), _int(m[5]))]


def _store(m: Match, at: int, labels: Labels) -> list[Insn]:
    size, dst, off = _SIZES[m[2]], _reg(m[3]), _int(m[4])
    if m[5].startswith("r"):
        return [Insn(Class.STX | Mode.MEM | size, dst, _reg(m[5][1:]), off)]
    return [Insn(Class.ST | Mode.MEM | size, dst, 0, off, _imm32(m[5]))]


def _known(code: int) -> Opcode:
    if code not in OPCODES:
        raise ValueError(f"no opcode 0x{code:02x}")
    return OPCODES[code]


def _atomic(size: str, dst: str, src: str, off: str, op: Atomic) -> list[Insn]:
    return [Insn(Class.STX | Mode.ATOMIC | _SIZES[size], _reg(dst), _reg(src), _int(off), op)]


def _lock(m: Match, at: int, labels: Labels) -> list[Insn]:
    return _atomic(m[2], m[3], m[6], m[4], _LOCK[m[5]])


def _fetch(m: Match, at: int, labels: Labels) -> list[Insn]:
    if m[1] != m[7]:
        raise ValueError("the register fetched into is the operand")
    return _atomic(m[4], m[5], m[7], m[6], _FETCH[m[2]])


def _xchg(m: Match, at: int, labels: Labels) -> list[Insn]:
    if m[1] != m[6]:
        raise ValueError("the register fetched into is the operand")
    return _atomic(m[3], m[4], m[6], m[5], Atomic.XCHG)


def _cmpxchg(m: Match, at: int, labels: Labels) -> list[Insn]:
    return _atomic(m[2], m[3], m[5], m[4], Atomic.CMPXCHG)


def _load_acquire(m: Match, at: int, labels: Labels) -> list[Insn]:
    return _atomic(m[3], m[1], m[4], m[5], Atomic.LOAD_ACQ)


def _store_release(m: Match, at: int, labels: Labels) -> list[Insn]:
    return _atomic(m[2], m[3], m[5], m[4], Atomic.STORE_REL)


def _packet(m: Match, at: int, labels: Labels) -> list[Insn]:
    size = _SIZES[m[1]]
    if m[2]:
        return [Insn(_known(Class.LD | Mode.IND | size).code, 0, _reg(m[2]), 0, _imm32(m[3]))]
    return [Insn(_known(Class.LD | Mode.ABS | size).code, imm=_imm32(m[3]))]


def _jump(m: Match, at: int, labels: Labels) -> list[Insn]:
    bits, reg = _width(m[1]), m[4][0] in "rw"
    if reg and m[4][0] != m[1]:
        raise ValueError("registers of different width")
    row, off = _JUMPS[bits, reg, m[3]], _target(m[5], at, labels)
    if reg:
        return [Insn(row.code, _reg(m[2]), _reg(m[4][1:]), off)]
    return [Insn(row.code, _reg(m[2]), 0, off, _imm32(m[4]))]


def _goto(m: Match, at: int, labels: Labels) -> list[Insn]:
    target = _target(m[2], at, labels)
    if m[1] == "gotol":
        return [Insn(Class.JMP32 | Jmp.JA, imm=target)]
    return [Insn(Class.JMP | (Jmp.JA if m[1] == "goto" else Jmp.JCOND), off=target)]


def _call(m: Match, at: int, labels: Labels) -> list[Insn]:
    code = Class.JMP | Jmp.CALL
    name = m[1]
    if m[2]:
        src = PseudoSrc.KFUNC_CALL if name == "kernel-function" else PseudoSrc.CALL_HELPER
        return [Insn(code, src=src, imm=_int(m[2]))]
    if name not in labels and name.removeprefix("bpf_") in FuncId.__members__:
        return [Insn(code, imm=FuncId[name.removeprefix("bpf_")])]
    if name.isdigit():
        return [Insn(code, imm=int(name))]
    return [Insn(code, src=PseudoSrc.CALL, imm=_target(name, at, labels))]


_Rule = tuple[str, Callable[[Match, int, Labels], list[Insn]]]
_CONSTANT = rf"r(\d+) = (0x[0-9a-f]+|{_NUMBER}(?= ll))(?: ll)?"
_PSEUDO_RULE = r"r(\d+) = (map_\w+|btf_id|func)\[([\w.+-]+)\](?:\[0\])?([+-]\d+)?"
_WIDE = rf"{_CONSTANT}|{_PSEUDO_RULE}"
_RULES: list[_Rule] = [
    (_CONSTANT, _load_imm64),
    (_PSEUDO_RULE, _load_pseudo),
    (rf"([rw])(\d+) (\S*=) ({_NUMBER})", _alu_imm),
    (r"([rw])(\d+) (\S*=) (?:\(s(8|16|32)\))?\1(\d+)", _alu_reg),
    (r"([rw])(\d+) = -([rw])(\d+)", _neg),
    (r"r(\d+) = (le|be|bswap)(\d+) r(\d+)", _swap),
    (r"r(\d+) = &\(void __percpu \*\)\(r(\d+)\)", _percpu),
    (r"r(\d+) = addr_space_cast\(r(\d+), (\d+), (\d+)\)", _addr_space_cast),
    (rf"r(\d+) = {_MEM}", _load),
    (rf"{_MEM} = (r\d+|{_NUMBER})", _store),
    (rf"lock {_MEM} (\S*=) r(\d+)", _lock),
    (rf"r(\d+) = atomic(?:64)?_fetch_(\w+)\({_MEM}, r(\d+)\)", _fetch),
    (rf"r(\d+) = atomic(?:64)?_xchg\({_MEM}, r(\d+)\)", _xchg),
    (rf"r0 = atomic(?:64)?_cmpxchg\({_MEM}, r0, r(\d+)\)", _cmpxchg),
    (rf"r(\d+) = load_acquire\({_MEM}\)", _load_acquire),
    (rf"store_release\({_MEM}, r(\d+)\)", _store_release),
    (rf"r0 = \*\(u(8|16|32|64) \*\)skb\[(?:r(\d+) \+ )?({_NUMBER})\]", _packet),
    (rf"if ([rw])(\d+) (\S+) ([rw]\d+|{_NUMBER}) goto {_TARGET}", _jump),
    (rf"(goto|gotol|may_goto) {_TARGET}", _goto),
    (rf"call ([\w.-]+|pc{_NUMBER})(?:#({_NUMBER}))?", _call),
    (r"callx r(\d+)", lambda m, at, labels: [Insn(Class.JMP | Jmp.CALL | Source.X, _reg(m[1]))]),
    (r"exit", lambda m, at, labels: [Insn(Class.JMP | Jmp.EXIT)]),
]
