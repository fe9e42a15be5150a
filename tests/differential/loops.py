"""Random programs with loops: jumps back, and bpf_loop with a function that does random things."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from engine.abi.bpf import FuncId, ProgType
from engine.btf import Btf
from engine.btf.build import BtfBuilder
from engine.btf.types import Encoding, Param
from engine.isa import LD_IMM64, Alu, Class, Insn, Jmp, Mode, PseudoSrc, Size, Source
from engine.progspec import FuncInfo, FuncLinkage, MapLike, ProgSpec
from tests.differential.generate import Body, Generator

__all__ = ["LoopGenerator", "LoopProgram", "asked_often", "loop_btf", "random_spec"]

_MOV, _ADD = Class.ALU64 | Alu.MOV, Class.ALU64 | Alu.ADD
_EXIT = Insn(Class.JMP | Jmp.EXIT)
_DATA = -16
"""Where the data of a callback begin, from the frame pointer of the main program."""


@cache
def loop_btf() -> tuple[Btf, int, int]:
    """Types of such programs: `int main(void *)` and `long turn(unsigned, void *)`; ids of both functions."""
    builder = BtfBuilder()
    number, word = builder.integer("int", 4, Encoding.SIGNED), builder.integer("unsigned int", 4)
    pointer = builder.pointer(0)
    main = builder.func("main", builder.func_proto(number, [Param("ctx", pointer)]), int(FuncLinkage.GLOBAL))
    proto = builder.func_proto(number, [Param("i", word), Param("data", pointer)])
    turn = builder.func("turn", proto)
    return builder.build(), main, turn


@dataclass(frozen=True)
class LoopProgram:
    """Instructions, and what BTF says of the functions (nothing where there is but one)."""

    insns: list[Insn]
    func_info: tuple[FuncInfo, ...]


def asked_often(times: int) -> Callable[[], bool]:
    """An answer for `engine.interruption`: yes, once it was asked so often."""
    asked = itertools.count()
    return lambda: next(asked) >= times


def random_spec(seed: int, maps: Mapping[int, MapLike], *, loops: bool) -> ProgSpec:
    """A random program, with loops or without, over maps behind the generator's placeholders."""
    if not loops:
        insns = Generator(seed).program(15 + seed % 40)
        return ProgSpec(ProgType.KPROBE, insns, license="GPL", maps=maps)
    program, btf = LoopGenerator(seed).loops(), loop_btf()[0]
    return ProgSpec(
        ProgType.KPROBE, program.insns, license="GPL", maps=maps, btf=btf, func_info=program.func_info
    )


class LoopGenerator(Generator):
    """Programs with loops; the same seed gives the same programs."""

    def loops(self, length: int = 20, *, may_goto: bool = False) -> LoopProgram:
        """One program; with `may_goto`, which takes very long to run, some loops end by that alone."""
        body = Body(kinds={1: "c", 10: "f"})
        self.prologue(body)
        for _ in range(self.rng.randrange(4)):
            self.statement(body)
        calls: list[int] = []
        for _ in range(self.rng.choice((1, 1, 2))):
            if may_goto and self.rng.random() < 0.5:
                self._may_goto(body, self.rng.randrange(1, 5))
            elif self.rng.random() < 0.5:
                self._back(body, self.rng.randrange(1, 6))
            else:
                self._loop(body, calls)
            for _ in range(self.rng.randrange(3)):
                self.statement(body)
        while len(body.insns) < length:
            self.statement(body)
        self.close(body)
        if not calls:
            return LoopProgram(body.insns, ())
        start = len(body.insns)
        for at in calls:
            old = body.insns[at]
            body.insns[at] = Insn(old.code, old.dst, old.src, old.off, start - at - 1)
        body.insns += self._turn()
        _, main, turn = loop_btf()
        infos = FuncInfo(0, main, "main", FuncLinkage.GLOBAL), FuncInfo(start, turn, "turn")
        return LoopProgram(body.insns, infos)

    def _back(self, body: Body, statements: int) -> None:
        """A loop that a counter ends: register 9, or a word of the stack."""
        in_stack = self.rng.random() < 0.4
        if in_stack:
            body.insns.append(Insn(Class.ST | Mode.MEM | Size.DW, 10, 0, -48, 0))
        else:
            body.insns.append(Insn(_MOV, 9))
        body.kinds[9] = "s"
        start, before = len(body.insns), dict(body.kinds)
        if not in_stack:
            del body.kinds[9]
        for _ in range(statements):
            self.statement(body)
        if in_stack:
            body.insns.append(Insn(Class.LDX | Mode.MEM | Size.DW, 9, 10, -48))
        body.insns.append(Insn(_ADD, 9, 0, 0, self.rng.choice((1, 1, 1, 2, 3))))
        if in_stack:
            body.insns.append(Insn(Class.STX | Mode.MEM | Size.DW, 10, 9, -48))
        width, test = (
            self.rng.choice((Class.JMP, Class.JMP, Class.JMP32)),
            self.rng.choice((Jmp.JLT, Jmp.JLE, Jmp.JSLT)),
        )
        jump = width | test
        body.insns.append(Insn(jump, 9, 0, start - len(body.insns) - 1, self.rng.randrange(1, 9)))
        body.kinds = {reg: kind for reg, kind in body.kinds.items() if before.get(reg) == kind}
        body.kinds[9] = "s"

    def _may_goto(self, body: Body, statements: int) -> None:
        """A loop that ends some time."""
        start, before = len(body.insns), dict(body.kinds)
        body.insns.append(Insn(Class.JMP | Jmp.JCOND))
        for _ in range(statements):
            self.statement(body)
        body.insns.append(Insn(Class.JMP | Jmp.JA, 0, 0, start - len(body.insns) - 1))
        body.insns[start] = Insn(Class.JMP | Jmp.JCOND, 0, 0, len(body.insns) - start - 1)
        body.kinds = {reg: kind for reg, kind in body.kinds.items() if before.get(reg) == kind}

    def _loop(self, body: Body, calls: list[int]) -> None:
        """bpf_loop with data on the stack."""
        for slot in range(1, 5):
            if self.rng.random() < 0.7:
                body.insns.append(
                    Insn(Class.ST | Mode.MEM | Size.DW, 10, 0, -8 * slot, self.rng.randrange(9))
                )
        if self.rng.random() < 0.6 or 8 not in body.kinds:
            body.insns.append(Insn(_MOV, 1, 0, 0, self.rng.choice((0, 1, 2, 3, 4, 4))))
        else:
            body.insns.append(Insn(_MOV | Source.X, 1, 8))
            body.insns.append(Insn(Class.ALU64 | Alu.AND, 1, 0, 0, 3))
        calls.append(len(body.insns))
        body.insns += [
            Insn(LD_IMM64, 2, PseudoSrc.FUNC),
            Insn(0),
            Insn(_MOV | Source.X, 3, 10),
            Insn(_ADD, 3, 0, 0, _DATA),
            Insn(_MOV, 4),
            Insn(0x85, 0, 0, 0, FuncId.loop),
        ]
        for reg in range(1, 6):
            body.kinds.pop(reg, None)
        body.kinds[0] = "s"

    def _turn(self) -> list[Insn]:
        """The function: r1 counts turns, r2 points to two words of data. It keeps them in r8 and r7."""
        body = Body(kinds={10: "f"})
        body.insns += [Insn(_MOV | Source.X, 7, 2), Insn(_MOV | Source.X, 8, 1)]
        body.insns += [Insn(Class.LDX | Mode.MEM | Size.DW, 9, 7, 8 * self.rng.randrange(2)), Insn(_MOV, 0)]
        body.kinds.update({7: "f", 8: "s", 9: "s", 0: "s"})
        for _ in range(self.rng.randrange(1, 7)):
            if self.rng.random() < 0.4:
                self._data(body)
            else:
                self.statement(body)
        self.close(body)
        if self.rng.random() < 0.3:
            at = len(body.insns) - 2
            body.insns[at] = Insn(_MOV, 0, 0, 0, self.rng.choice((0, 1, 1, 2)))
        return body.insns

    def _data(self, body: Body) -> None:
        """Read, change or use as an offset what the data are."""
        at = 8 * self.rng.randrange(2)
        word = Insn(Class.LDX | Mode.MEM | Size.DW, 9, 7, at)
        match self.rng.randrange(4):
            case 0:
                body.insns += [word, Insn(_ADD, 9, 0, 0, 1), Insn(Class.STX | Mode.MEM | Size.DW, 7, 9, at)]
            case 1:
                body.insns.append(Insn(Class.STX | Mode.MEM | Size.DW, 7, self.rng.choice((8, 8, 9, 10)), at))
            case 2:
                body.open_jumps.append(len(body.insns) + 1)
                body.insns += [word, Insn(Class.JMP | Jmp.JGT, 9, 0, 0, self.rng.choice((7, 8, 15)))]
                body.insns += [Insn(_MOV | Source.X, 3, 7), Insn(Class.ALU64 | Alu.ADD | Source.X, 3, 9)]
                body.insns.append(Insn(Class.ST | Mode.MEM | Size.B, 3, 0, self.rng.choice((0, 0, 1, 8)), 3))
            case _:
                body.insns.append(word)
        body.kinds[9] = "s"
