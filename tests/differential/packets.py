"""Random programs over packets: pointers compared with the end, moved, spilled, accessed."""

import random

from engine.isa import Alu, Class, Insn, Jmp, Mode, Size, Source

__all__ = ["packet_program"]

_SIZES = {1: Size.B, 2: Size.H, 4: Size.W, 8: Size.DW}
_ORDER = (Jmp.JGT, Jmp.JGE, Jmp.JLT, Jmp.JLE, Jmp.JEQ, Jmp.JNE, Jmp.JSGT)


def packet_program(rng: random.Random, data: int, data_end: int, data_meta: int = -1) -> list[Insn]:
    """A program whose context has packet pointers at these offsets. It keeps the context in r6, the packet in
    r7, its end in r8, its metadata (or the packet again) in r9."""
    load = Class.LDX | Mode.MEM | Size.W
    insns = [
        Insn(Class.ALU64 | Alu.MOV | Source.X, 6, 1),
        Insn(load, 7, 6, data),
        Insn(load, 8, 6, data_end),
        Insn(load, 9, 6, data_meta if data_meta >= 0 else data),
        Insn(load, 3, 6, 0 if data else 12),
        Insn(Class.ALU64 | Alu.MOV | Source.X, 2, 7),
        Insn(Class.ALU64 | Alu.ADD, 2, 0, 0, rng.choice((14, 20, 34, 64))),
        Insn(Class.ALU64 | Alu.MOV | Source.X, 4, 7),
        Insn(Class.ALU64 | Alu.MOV | Source.X, 5, 2),
    ]
    exits = [len(insns)]
    insns.append(Insn(Class.JMP | rng.choice((Jmp.JGT, Jmp.JGE)) | Source.X, 2, 8))
    for _ in range(rng.randrange(4, 22)):
        _step(rng, insns, exits)
    end = len(insns)
    for at in exits:
        old = insns[at]
        insns[at] = Insn(old.code, old.dst, old.src, end - at - 1, old.imm)
    return [*insns, Insn(Class.ALU64 | Alu.MOV), Insn(Class.JMP | Jmp.EXIT)]


def _step(rng: random.Random, insns: list[Insn], exits: list[int]) -> None:
    pointers = (2, 4, 5, 7, 9)
    match rng.randrange(10):
        case 0 | 1:
            dst, src = rng.choice((2, 4, 5)), rng.choice((7, 7, 9, 2))
            insns.append(Insn(Class.ALU64 | Alu.MOV | Source.X, dst, src))
            insns.append(Insn(Class.ALU64 | Alu.ADD, dst, 0, 0, rng.choice((0, 1, 2, 4, 8, 14, 20, 54, -4))))
        case 2 | 3 | 4:
            a, b = rng.choice(pointers), rng.choice((8, 8, 8, 8, 7))
            if rng.random() < 0.3:
                a, b = b, a
            if rng.random() < 0.7:
                exits.append(len(insns))
                skip = 0
            else:
                skip = 1
            insns.append(Insn(Class.JMP | rng.choice(_ORDER) | Source.X, a, b, skip))
            if skip:
                insns.append(_access(rng, rng.choice(pointers)))
        case 5 | 6 | 7:
            insns.append(_access(rng, rng.choice(pointers)))
        case 8:
            insns.append(Insn(Class.ALU64 | Alu.AND, 3, 0, 0, rng.choice((1, 15, 60, 255, 0xFFFF))))
            insns.append(Insn(Class.ALU64 | Alu.ADD | Source.X, rng.choice((2, 4, 5)), 3))
        case _:
            slot = -8 * rng.randrange(1, 3)
            if rng.random() < 0.5:
                insns.append(Insn(Class.STX | Mode.MEM | Size.DW, 10, rng.choice(pointers), slot))
            else:
                insns.append(Insn(Class.LDX | Mode.MEM | Size.DW, rng.choice((2, 4, 5)), 10, slot))


def _access(rng: random.Random, base: int) -> Insn:
    size, off = rng.choice((1, 2, 4, 8)), rng.choice((0, 0, 0, 0, 2, 4, 6, 8, 12, 13, 14, 33, -1, -14))
    if rng.random() < 0.2:
        return Insn(Class.ST | Mode.MEM | _SIZES[size], base, 0, off, 1)
    return Insn(Class.LDX | Mode.MEM | _SIZES[size], 3, base, off)
