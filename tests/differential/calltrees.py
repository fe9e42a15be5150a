"""Random programs of many functions: who calls whom, how much stack each uses, which ends in a tail call."""

import random
from dataclasses import dataclass
from functools import cache

from engine.abi.bpf import FuncId, ProgType
from engine.btf import Btf
from engine.btf.build import BtfBuilder
from engine.btf.types import Encoding, Param
from engine.isa import LD_IMM64, Alu, Class, Insn, Jmp, Mode, PseudoSrc, Size, Source
from engine.progspec import FuncInfo, FuncLinkage

__all__ = ["CallTree", "call_tree", "call_tree_btf"]

_MOST = 12
_MOV = Class.ALU64 | Alu.MOV
_KEEP, _PASS = Insn(_MOV | Source.X, 6, 1), Insn(_MOV | Source.X, 1, 6)
_NUMBER = Insn(_MOV, 1, 0, 0, 1)
_END = [Insn(_MOV), Insn(Class.JMP | Jmp.EXIT)]
_SMALL = (0, 0, 8, 16, 24, 40, 48, 56, 64, 72, 80, 100, 128)
_LARGE = (0, 8, 64, 128, 200, 248, 256, 264, 320, 440, 504, 512)
_TYPES = (
    ProgType.KPROBE,
    ProgType.TRACEPOINT,
    ProgType.PERF_EVENT,
    ProgType.SOCKET_FILTER,
    ProgType.XDP,
    ProgType.SCHED_CLS,
)


@cache
def call_tree_btf() -> tuple[Btf, list[int], list[int]]:
    """Types of `int f(int)`, ids of the static and of the global ones."""
    builder = BtfBuilder()
    number = builder.integer("int", 4, Encoding.SIGNED)
    proto = builder.func_proto(number, [Param("x", number)])
    static = [builder.func(f"f{n}", proto, int(FuncLinkage.STATIC)) for n in range(_MOST)]
    everywhere = [builder.func(f"g{n}", proto, int(FuncLinkage.GLOBAL)) for n in range(_MOST)]
    return builder.build(), static, everywhere


@dataclass(frozen=True)
class CallTree:
    """A program of functions."""

    type: ProgType
    insns: list[Insn]
    func_info: tuple[FuncInfo, ...]


def _callees(rng: random.Random, number: int, count: int) -> list[int]:
    later = range(number + 1, count)
    found = [number + 1] if later else []
    if later and rng.random() < 0.5:
        found.append(rng.choice(later))
    if rng.random() < 0.03:
        found.append(rng.randrange(1, count))
    return found


def call_tree(rng: random.Random, jumps: int) -> CallTree:
    """One program; `jumps` is the descriptor of a program array."""
    kind, count = rng.choice(_TYPES), rng.randrange(2, _MOST + 1)
    sizes = _SMALL if rng.random() < 0.6 else _LARGE
    with_context = rng.random() < 0.5
    tail = [_PASS, Insn(LD_IMM64, 2, PseudoSrc.MAP_FD, 0, jumps), Insn(0), Insn(_MOV, 3, 0, 0, 1)]
    tail.append(Insn(0x85, 0, 0, 0, FuncId.tail_call))
    insns: list[Insn] = []
    starts: list[int] = []
    calls: list[tuple[int, int]] = []
    for number in range(count):
        starts.append(len(insns))
        insns.append(_KEEP)
        size = rng.choice(sizes)
        if size:
            insns.append(Insn(Class.ST | Mode.MEM | Size.B, 10, 0, -size))
        for callee in _callees(rng, number, count):
            insns.append(_PASS if with_context else _NUMBER)
            calls.append((len(insns), callee))
            insns.append(Insn(0x85, 0, PseudoSrc.CALL))
        if (with_context or not number) and rng.random() < 0.15:
            insns += tail
        insns += _END
    for at, callee in calls:
        insns[at] = Insn(0x85, 0, PseudoSrc.CALL, 0, starts[callee] - at - 1)
    _, static, everywhere = call_tree_btf()
    infos = []
    for number, start in enumerate(starts):
        if not number or rng.random() < 0.15:
            infos.append(FuncInfo(start, everywhere[number], f"g{number}", FuncLinkage.GLOBAL))
        else:
            infos.append(FuncInfo(start, static[number], f"f{number}"))
    return CallTree(kind, insns, tuple(infos))
