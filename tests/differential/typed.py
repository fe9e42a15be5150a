"""Random loads through pointers to kernel objects, from programs on tracepoints that have such arguments."""

import random

from engine.abi.bpf import AttachType, ProgType
from engine.btf import Btf, Kind
from engine.isa import Alu, Class, Insn, Jmp, Mode, Size, encode
from engine.progspec import ProgSpec
from engine.verifier import VerifierError, verify
from tests.differential.verdicts import Both
from tests.kernel_oracle import load

__all__ = ["typed_program"]

_TRACEPOINTS = ("sched_process_exit", "sched_switch", "task_newtask", "netif_receive_skb", "block_rq_issue")
_SIZES = {1: Size.B, 2: Size.H, 4: Size.W, 8: Size.DW}


def typed_program(rng: random.Random, btf: Btf) -> tuple[str, Both] | None:
    """Tracepoint and both verdicts; None where the kernel has no such tracepoint."""
    name = rng.choice(_TRACEPOINTS)
    target = btf.find(f"btf_trace_{name}", Kind.TYPEDEF)
    if target is None:
        return None
    first = rng.choice((1, 2, 4, 8, 8, 8, 8, 8, 8))
    at = rng.choice((0, 0, 0, 8, 8, 16, 16, 4, 32, 90, 96))
    insns = [Insn(Class.LDX | Mode.MEM | _SIZES[first], 3, 1, at)]
    for _ in range(rng.randrange(1, 4)):
        size = rng.choice((1, 2, 4, 8, 8, 8))
        near = rng.choice((8 * rng.randrange(64), rng.randrange(-8, 200)))
        off = rng.choice((near, near, 8 * rng.randrange(400), rng.randrange(3000)))
        insns.append(Insn(Class.LDX | Mode.MEM | _SIZES[size], 3, 3, off))
    insns += [Insn(Class.ALU64 | Alu.MOV), Insn(Class.JMP | Jmp.EXIT)]
    verdict = load(
        encode(insns),
        ProgType.TRACING,
        log_level=1,
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
        return name, Both(verdict.errno, 0, verdict.log, verify(spec).log)
    except VerifierError as refusal:
        return name, Both(verdict.errno, refusal.errno, verdict.log, refusal.log)
