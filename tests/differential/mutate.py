"""Programs changed at random in one to three places: near to what compilers emit, and mostly wrong."""

import random
from collections.abc import Sequence

from engine.isa import LD_IMM64, Alu, Class, Insn, Jmp, Mode, Size

__all__ = ["mutated"]

_NOTHING = Insn(Class.JMP | Jmp.JA)
_EDGES = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 40, 63, 64, 65, 255, 512, 0x7FFFFFFF, -1, -8, -16, -64, -512)
_SIZES = (Size.B, Size.H, Size.W, Size.DW)
_OPERATIONS = tuple(op for op in Alu if op not in (Alu.END, Alu.NEG))
_CONDITIONS = tuple(op for op in Jmp if op not in (Jmp.JA, Jmp.CALL, Jmp.EXIT, Jmp.JCOND))
_MEMORY = (Class.LDX, Class.ST, Class.STX)
_ARITHMETIC = (Class.ALU, Class.ALU64)


def _register(rng: random.Random) -> int:
    return rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))


def _other_code(rng: random.Random, insn: Insn) -> int:
    """The code with another size, operation or width; the same where it has none."""
    cls = insn.code & 7
    if cls in _MEMORY and insn.code & 0xE0 in (Mode.MEM, Mode.MEMSX, Mode.ATOMIC):
        return insn.code & ~0x18 | rng.choice(_SIZES)
    if cls in _ARITHMETIC:
        return insn.code ^ 3 if rng.random() < 0.3 else insn.code & 0x0F | rng.choice(_OPERATIONS)
    if cls in (Class.JMP, Class.JMP32) and insn.code & 0xF0 in _CONDITIONS:
        return insn.code ^ 3 if rng.random() < 0.3 else insn.code & 0x0F | rng.choice(_CONDITIONS)
    return insn.code


def _changed(rng: random.Random, insn: Insn) -> Insn:
    code, dst, src, off, imm = insn.code, insn.dst, insn.src, insn.off, insn.imm
    match rng.randrange(8):
        case 0:
            return _NOTHING
        case 1:
            dst = _register(rng)
        case 2:
            src = _register(rng)
        case 3:
            off = rng.choice((off + 1, off - 1, off + 8, off - 8, rng.randrange(-64, 64)))
        case 4:
            imm = rng.choice((imm + 1, imm - 1, -imm, rng.choice(_EDGES)))
        case 5:
            dst, src = src, dst
        case _:
            code = _other_code(rng, insn)
    return Insn(code, dst, src, max(-32768, min(32767, off)), max(-(1 << 31), min((1 << 31) - 1, imm)))


def mutated(rng: random.Random, insns: Sequence[Insn]) -> list[Insn]:
    """A copy with one to three changes; no instruction moves, so that jumps keep their meaning."""
    new = list(insns)
    seconds = {i + 1 for i, insn in enumerate(insns) if insn.code == LD_IMM64}
    places = [i for i in range(len(new)) if i not in seconds]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        at = rng.choice(places)
        wide = insns[at].code == LD_IMM64
        if not wide and rng.random() < 0.1 and at + 1 in places and insns[at + 1].code != LD_IMM64:
            new[at], new[at + 1] = new[at + 1], new[at]
        elif not wide:
            new[at] = _changed(rng, new[at])
        elif insns[at].src in (0, 2):
            second = new[at + 1]
            new[at + 1] = Insn(
                second.code, second.dst, second.src, second.off, rng.choice(_EDGES) & 0x7FFFFFFF
            )
        else:
            new[at] = Insn(LD_IMM64, _register(rng), new[at].src, new[at].off, new[at].imm)
    return new
