"""Random uses of pointers to kernel objects, from programs on tracepoints that have such arguments."""

import random
from collections.abc import Sequence

from engine.abi.bpf import AttachType, ProgType
from engine.btf import Btf, Kind
from engine.isa import Alu, Class, Insn, Jmp, Mode, Size, Source, encode
from engine.progspec import ProgSpec
from engine.verifier import VerifierError, verify
from tests.differential.verdicts import Both
from tests.kernel_oracle import load

__all__ = ["ask_on_tracepoint", "typed_program"]

_TRACEPOINTS = ("sched_process_exit", "sched_switch", "task_newtask", "netif_receive_skb", "block_rq_issue")
_SIZES = {1: Size.B, 2: Size.H, 4: Size.W, 8: Size.DW}
_EXIT = [Insn(Class.ALU64 | Alu.MOV), Insn(Class.JMP | Jmp.EXIT)]


def ask_on_tracepoint(name: str, insns: Sequence[Insn], btf: Btf, log_level: int = 1) -> Both | None:
    """Both verdicts on a program for a raw tracepoint; None where the kernel has no such tracepoint."""
    target = btf.find(f"btf_trace_{name}", Kind.TYPEDEF)
    if target is None:
        return None
    verdict = load(
        encode(insns),
        ProgType.TRACING,
        log_level=log_level,
        expected_attach_type=AttachType.TRACE_RAW_TP,
        attach_btf_id=target,
    )
    spec = ProgSpec(
        ProgType.TRACING,
        insns,
        license="GPL",
        kernel_btf=btf,
        expected_attach_type=AttachType.TRACE_RAW_TP,
        attach_btf_id=target,
    )
    try:
        return Both(verdict.errno, 0, verdict.log, verify(spec, log_level=log_level).log)
    except VerifierError as refusal:
        return Both(verdict.errno, refusal.errno, verdict.log, refusal.log)


def typed_program(rng: random.Random, btf: Btf, log_level: int = 1) -> tuple[str, Both] | None:
    """Tracepoint and both verdicts; None where the kernel has no such tracepoint."""
    name = rng.choice(_TRACEPOINTS)
    first = rng.choice((1, 2, 4, 8, 8, 8, 8, 8, 8))
    at = rng.choice((0, 0, 0, 8, 8, 16, 16, 4, 32, 90, 96))
    insns = [Insn(Class.LDX | Mode.MEM | _SIZES[first], 3, 1, at)]
    for _ in range(rng.randrange(1, 4)):
        size = rng.choice((1, 2, 4, 8, 8, 8))
        near = rng.choice((8 * rng.randrange(64), rng.randrange(-8, 200)))
        off = rng.choice((near, near, 8 * rng.randrange(400), rng.randrange(3000)))
        insns.append(Insn(Class.LDX | Mode.MEM | _SIZES[size], 3, 3, off))
        if rng.random() < 0.2:
            insns += _use(rng)
    both = ask_on_tracepoint(name, [*insns, *_EXIT], btf, log_level)
    return (name, both) if both is not None else None


def _use(rng: random.Random) -> list[Insn]:
    """Something else that is done with what is in r3."""
    size = rng.choice((Size.B, Size.W, Size.DW, Size.DW))
    match rng.randrange(7):
        case 0:
            op = rng.choice((Alu.ADD, Alu.ADD, Alu.SUB, Alu.AND, Alu.MUL))
            return [Insn(Class.ALU64 | op, 3, 0, 0, rng.choice((1, 8, -8, 4096)))]
        case 1:
            return [Insn(Class.ALU64 | Alu.MOV, 4, 0, 0, 8), Insn(Class.ALU64 | Alu.ADD | Source.X, 3, 4)]
        case 2:
            return [Insn(Class.JMP | rng.choice((Jmp.JEQ, Jmp.JNE)), 3, 0, 0, rng.choice((0, 0, 5)))]
        case 3:
            return [Insn(Class.ST | Mode.MEM | size, 3, 0, 8 * rng.randrange(9), 1)]
        case 4:
            return [Insn(Class.STX | Mode.ATOMIC | Size.DW, 3, 1, 8, rng.choice((0, 1, 0x100)))]
        case 5:
            store = Insn(Class.STX | Mode.MEM | Size.DW, 10, 3, -8)
            return [store, Insn(Class.LDX | Mode.MEM | Size.DW, 3, 10, -8)]
        case _:
            return [Insn(Class.ALU | Alu.ADD, 3, 0, 0, 1)]
