"""Random programs, biased to what verifiers get wrong: pointer arithmetic, bounds, spills, sign and
width."""

import random
from dataclasses import dataclass, field

from engine.isa import Alu, Atomic, Class, Insn, Jmp, Mode, Size, Source

__all__ = ["ARRAY_FD", "HASH_FD", "Body", "Generator"]

ARRAY_FD, HASH_FD = 1000, 1001
"""Placeholders in LD_IMM64 for an array map (key 4, value 48, 4 entries) and a hash (key 8, value 64)."""

VALUE_SIZE = {ARRAY_FD: 48, HASH_FD: 64}
_SIZES = {1: Size.B, 2: Size.H, 4: Size.W, 8: Size.DW}
_ALU = (Alu.ADD, Alu.SUB, Alu.MUL, Alu.DIV, Alu.OR, Alu.AND, Alu.LSH, Alu.RSH, Alu.MOD, Alu.XOR, Alu.ARSH)
_JMP = (
    Jmp.JEQ,
    Jmp.JGT,
    Jmp.JGE,
    Jmp.JSET,
    Jmp.JNE,
    Jmp.JSGT,
    Jmp.JSGE,
    Jmp.JLT,
    Jmp.JLE,
    Jmp.JSLT,
    Jmp.JSLE,
)
_EDGES = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 47, 48, 63, 64, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF)


@dataclass
class Body:
    """Instructions so far, and a guess at what each register holds: s scalar, m map value, f stack, c
    context."""

    insns: list[Insn] = field(default_factory=list)
    kinds: dict[int, str] = field(default_factory=dict)
    open_jumps: list[int] = field(default_factory=list)


class Generator:
    """Programs from a seed; the same seed gives the same programs."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def program(self, length: int = 30) -> list[Insn]:
        """One program that ends in `r0 = 0; exit` on every path."""
        body = Body(kinds={1: "c", 10: "f"})
        self.prologue(body)
        while len(body.insns) < length:
            self.statement(body)
        self.close(body)
        return body.insns

    def close(self, body: Body) -> None:
        """Add `r0 = 0; exit`, where the open jumps go."""
        end = len(body.insns)
        for at in body.open_jumps:
            old = body.insns[at]
            body.insns[at] = Insn(old.code, old.dst, old.src, end - at - 1, old.imm)
        body.insns += [Insn(Class.ALU64 | Alu.MOV), Insn(Class.JMP | Jmp.EXIT)]

    def prologue(self, body: Body) -> None:
        """r6 context, r7 a map value, r8 and r9 scalars."""
        self._mov(body, 6, 1)
        fd = self.rng.choice((ARRAY_FD, HASH_FD))
        body.insns += [
            Insn(Class.ALU64 | Alu.MOV | Source.X, 2, 10),
            Insn(Class.ALU64 | Alu.ADD, 2, 0, 0, -8),
            Insn(Class.ST | Mode.MEM | Size.DW, 10, 0, -8, self.rng.randrange(3)),
            Insn(0x18, 1, 1, 0, fd),
            Insn(0),
            Insn(0x85, 0, 0, 0, 1),
        ]
        body.open_jumps.append(len(body.insns))
        body.insns.append(Insn(Class.JMP | Jmp.JEQ, 0, 0, 0, 0))
        self._mov(body, 7, 0)
        body.kinds.update({0: "m", 7: "m", 6: "c"})
        for reg in (8, 9):
            size = self.rng.choice((1, 2, 4, 8))
            mode = Mode.MEMSX if size < 8 and self.rng.random() < 0.3 else Mode.MEM
            body.insns.append(Insn(Class.LDX | mode | _SIZES[size], reg, 7, 8 * self.rng.randrange(4)))
            body.kinds[reg] = "s"
        for reg in (1, 2, 3, 4, 5):
            body.kinds.pop(reg, None)

    def _mov(self, body: Body, dst: int, src: int) -> None:
        body.insns.append(Insn(Class.ALU64 | Alu.MOV | Source.X, dst, src))
        if src in body.kinds:
            body.kinds[dst] = body.kinds[src]

    def _pick(self, body: Body, kinds: str) -> int:
        """A register that probably holds one of `kinds`; now and then any register."""
        if self.rng.random() < 0.01:
            return self.rng.randrange(11)
        found = [reg for reg, kind in body.kinds.items() if kind in kinds]
        return self.rng.choice(found) if found else self.rng.choice((6, 7, 8, 9))

    def _dst(self) -> int:
        return self.rng.choice((0, 1, 2, 3, 4, 5, 8, 9, 8, 9))

    def _imm(self) -> int:
        roll = self.rng.random()
        if roll < 0.5:
            value = self.rng.choice(_EDGES)
        elif roll < 0.8:
            value = self.rng.randrange(64)
        else:
            value = self.rng.getrandbits(31)
        return -value if self.rng.random() < 0.25 else value

    def statement(self, body: Body) -> None:
        choices = (
            (self._scalar_alu, 30),
            (self._move, 14),
            (self._branch, 22),
            (self._mask, 8),
            (self._pointer, 14),
            (self._access, 22),
            (self._spill, 14),
            (self._fill, 12),
            (self._swap, 2),
            (self._atomic, 4),
            (self._context, 2),
            (self._constant, 6),
            (self._helper, 3),
        )
        make = self.rng.choices([c for c, _ in choices], [w for _, w in choices])[0]
        make(body)

    def _scalar_alu(self, body: Body) -> None:
        dst = self._pick(body, "s")
        op, cls = self.rng.choice(_ALU), self.rng.choice((Class.ALU64, Class.ALU64, Class.ALU))
        if self.rng.random() < 0.5:
            src = self._pick(body, "s")
            body.insns.append(Insn(cls | op | Source.X, dst, src, self._signed(op)))
            return
        imm = self._imm()
        if op in (Alu.LSH, Alu.RSH, Alu.ARSH):
            imm = self.rng.choice((1, 2, 8, 16, 31, 32, 33, 48, 56, 63, self.rng.randrange(64)))
            imm &= 63 if cls == Class.ALU64 else 31
        elif op in (Alu.DIV, Alu.MOD) and not imm:
            imm = 3
        body.insns.append(Insn(cls | op, dst, 0, self._signed(op), imm))

    def _signed(self, op: Alu) -> int:
        return int(op in (Alu.DIV, Alu.MOD) and self.rng.random() < 0.4)

    def _move(self, body: Body) -> None:
        dst, src = self._dst(), self._pick(body, "smf")
        roll = self.rng.random()
        if roll < 0.6:
            self._mov(body, dst, src)
            return
        body.kinds[dst] = "s"
        if roll < 0.75:
            body.insns.append(Insn(Class.ALU | Alu.MOV | Source.X, dst, src))
        else:
            bits = self.rng.choice((8, 16, 32))
            cls = Class.ALU if bits < 32 and self.rng.random() < 0.4 else Class.ALU64
            body.insns.append(Insn(cls | Alu.MOV | Source.X, dst, src, bits))

    def _constant(self, body: Body) -> None:
        dst = self._dst()
        body.kinds[dst] = "s"
        if self.rng.random() < 0.2:
            body.insns += [Insn(0x18, dst, 0, 0, self._imm()), Insn(0, 0, 0, 0, self._imm())]
        else:
            cls = self.rng.choice((Class.ALU64, Class.ALU))
            body.insns.append(Insn(cls | Alu.MOV, dst, 0, 0, self._imm()))

    def _branch(self, body: Body) -> None:
        """A jump past the next few statements, or to the end."""
        cls, op = self.rng.choice((Class.JMP, Class.JMP, Class.JMP32)), self.rng.choice(_JMP)
        dst = self._pick(body, "ssssm")
        at = len(body.insns)
        if self.rng.random() < 0.4:
            body.insns.append(Insn(cls | op | Source.X, dst, self._pick(body, "s")))
        else:
            body.insns.append(Insn(cls | op, dst, 0, 0, self._imm()))
        if self.rng.random() < 0.6:
            body.open_jumps.append(at)
            return
        before = dict(body.kinds)
        for _ in range(self.rng.randrange(1, 4)):
            self.statement(body)
        old = body.insns[at]
        body.insns[at] = Insn(old.code, old.dst, old.src, len(body.insns) - at - 1, old.imm)
        body.kinds = {reg: kind for reg, kind in body.kinds.items() if before.get(reg) == kind}

    def _mask(self, body: Body) -> None:
        """Make a scalar small, as a careful programmer does."""
        reg = self._pick(body, "s")
        limit = self.rng.choice((1, 3, 7, 15, 16, 31, 32, 40, 47, 63))
        roll = self.rng.random()
        if roll < 0.5:
            cls = self.rng.choice((Class.ALU64, Class.ALU))
            body.insns.append(Insn(cls | Alu.AND, reg, 0, 0, limit))
        else:
            cls = self.rng.choice((Class.JMP, Class.JMP, Class.JMP32))
            for op, imm in self.rng.choice(
                (((Jmp.JGT, limit),), ((Jmp.JSGT, limit), (Jmp.JSLT, 0)), ((Jmp.JGE, limit + 1),))
            ):
                body.open_jumps.append(len(body.insns))
                body.insns.append(Insn(cls | op, reg, 0, 0, imm))

    def _pointer(self, body: Body) -> None:
        """Copy a pointer and move the copy."""
        dst, src = self._dst(), self._pick(body, "mf")
        if dst == 10 or src not in body.kinds:
            return
        self._mov(body, dst, src)
        for _ in range(self.rng.randrange(1, 3)):
            op = Alu.SUB if self.rng.random() < 0.15 else Alu.ADD
            if self.rng.random() < 0.6:
                body.insns.append(Insn(Class.ALU64 | op | Source.X, dst, self._pick(body, "s")))
            else:
                size = -self.rng.randrange(0, 64) if body.kinds[src] == "f" else self.rng.randrange(0, 50)
                body.insns.append(Insn(Class.ALU64 | op, dst, 0, 0, size))

    def _offset(self, body: Body, base: int, size: int) -> int:
        if body.kinds.get(base) == "f":
            slot = -8 * self.rng.randrange(1, 9)
            return slot + (size * self.rng.randrange(8 // size) if self.rng.random() < 0.5 else 0)
        if self.rng.random() < 0.15:
            return self.rng.randrange(-8, 72)
        return self.rng.randrange(0, 40)

    def _access(self, body: Body) -> None:
        base, size = self._pick(body, "mmmf"), self.rng.choice((1, 2, 4, 8))
        off = self._offset(body, base, size)
        roll = self.rng.random()
        if roll < 0.5:
            dst = self._dst()
            mode = Mode.MEMSX if size < 8 and self.rng.random() < 0.25 else Mode.MEM
            body.insns.append(Insn(Class.LDX | mode | _SIZES[size], dst, base, off))
            body.kinds[dst] = "s"
        elif roll < 0.8:
            body.insns.append(Insn(Class.STX | Mode.MEM | _SIZES[size], base, self._pick(body, "s"), off))
        else:
            body.insns.append(Insn(Class.ST | Mode.MEM | _SIZES[size], base, 0, off, self._imm()))

    def _spill(self, body: Body) -> None:
        src = self._pick(body, "sssmfc")
        size = (
            8 if body.kinds.get(src) != "s" and self.rng.random() < 0.95 else self.rng.choice((1, 2, 4, 8, 8))
        )
        off = -8 * self.rng.randrange(1, 7)
        if size < 8 and self.rng.random() < 0.4:
            off += size * self.rng.randrange(8 // size)
        body.insns.append(Insn(Class.STX | Mode.MEM | _SIZES[size], 10, src, off))

    def _fill(self, body: Body) -> None:
        dst, size = self._dst(), self.rng.choice((1, 2, 4, 8, 8, 8))
        off = -8 * self.rng.randrange(1, 7)
        if size < 8 and self.rng.random() < 0.4:
            off += size * self.rng.randrange(8 // size)
        mode = Mode.MEMSX if size < 8 and self.rng.random() < 0.25 else Mode.MEM
        body.insns.append(Insn(Class.LDX | mode | _SIZES[size], dst, 10, off))
        body.kinds[dst] = "s"

    def _swap(self, body: Body) -> None:
        dst, bits = self._pick(body, "s"), self.rng.choice((16, 32, 64))
        roll = self.rng.random()
        if roll < 0.4:
            cls, source = self.rng.choice(((Class.ALU, 0), (Class.ALU, 8), (Class.ALU64, 0)))
            body.insns.append(Insn(cls | Alu.END | source, dst, 0, 0, bits))
        else:
            body.insns.append(Insn(self.rng.choice((Class.ALU, Class.ALU64)) | Alu.NEG, dst))

    def _atomic(self, body: Body) -> None:
        base, size = self._pick(body, "mmf"), self.rng.choice((4, 8))
        off = self._offset(body, base, size)
        op = self.rng.choice(
            (Atomic.ADD, Atomic.OR, Atomic.AND, Atomic.XOR, Atomic.ADD_FETCH, Atomic.XCHG, Atomic.CMPXCHG)
        )
        src = self._pick(body, "s")
        body.insns.append(Insn(Class.STX | Mode.ATOMIC | _SIZES[size], base, src, off, int(op)))

    def _context(self, body: Body) -> None:
        dst = self._dst()
        body.insns.append(Insn(Class.LDX | Mode.MEM | Size.W, dst, 6, 4 * self.rng.randrange(0, 6)))
        body.kinds[dst] = "s"

    def _helper(self, body: Body) -> None:
        if self.rng.random() < 0.5:
            body.insns.append(Insn(0x85, 0, 0, 0, self.rng.choice((5, 7, 8))))
        else:
            size = self._pick(body, "s")
            body.insns += [
                Insn(Class.ALU64 | Alu.MOV | Source.X, 2, size),
                Insn(Class.ALU64 | Alu.MOV | Source.X, 1, 10),
                Insn(Class.ALU64 | Alu.ADD, 1, 0, 0, -8 * self.rng.randrange(1, 9)),
                Insn(Class.ALU64 | Alu.MOV, 3),
                Insn(0x85, 0, 0, 0, 113),
            ]
        for reg in (1, 2, 3, 4, 5):
            body.kinds.pop(reg, None)
        body.kinds[0] = "s"
