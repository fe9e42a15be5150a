"""Assembler and disassembler: inverse of each other, and in the kernel's own words."""

import re

import pytest
from hypothesis import given

from engine.isa import (
    OPCODES,
    AsmError,
    Form,
    Insn,
    PseudoSrc,
    assemble,
    decode,
    disasm,
    disasm_program,
    encode,
    pseudo_imm64,
)
from tests import kernel_oracle
from tests.engine.generated import instructions, programs


@given(instructions())
def test_text_assembles_to_the_same_slots(insns: list[Insn]) -> None:
    assert assemble(disasm(insns[0])) == insns


@given(programs())
def test_bytes_decode_to_the_same_slots(insns: list[Insn]) -> None:
    assert decode(encode(insns)) == insns


@given(programs())
def test_a_listing_assembles_again(insns: list[Insn]) -> None:
    listing = "\n".join(f"{index}: {text}" for index, text in disasm_program(insns))
    assert assemble(listing) == insns


@pytest.mark.parametrize("source", list(PseudoSrc)[:7])
def test_pseudo_sources_round_trip(source: PseudoSrc) -> None:
    high = 24 if source in (PseudoSrc.MAP_VALUE, PseudoSrc.MAP_IDX_VALUE) else 0
    insns = [Insn(0x18, 3, source, 0, 7), Insn(0, imm=high)]
    assert assemble(disasm(insns[0], insns[1], imm64=pseudo_imm64)) == insns


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("r0 = 5", "b700000005000000"),
        ("r1 = 0x100000002", "1801000002000000 0000000001000000"),
        ("r1 = -1 ll", "18010000ffffffff 00000000ffffffff"),
        ("w3 s>>= 4", "c403000004000000"),
        ("r6 = *(u8 *)(r1 +2)", "7116020000000000"),
        ("r6 = *(s16 *)(r1 + 2)", "8916020000000000"),
        ("*(u64 *)(r10 -8) = 7", "7a0af8ff07000000"),
        ("lock *(u64 *)(r1 +0) += r2", "db21000000000000"),
        ("r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)", "db21000001000000"),
        ("if w1 s< 0xffffffff goto pc+2", "c6010200ffffffff"),
        ("gotol pc-2", "06000000feffffff"),
        ("call bpf_map_lookup_elem", "8500000001000000"),
        ("call pc+3", "8510000003000000"),
        ("r0 = *(u16 *)skb[12]", "280000000c000000"),
        ("exit ; the end", "9500000000000000"),
    ],
)
def test_known_encodings(text: str, slots: str) -> None:
    assert encode(assemble(text)) == bytes.fromhex(slots)


def test_labels() -> None:
    program = assemble("top: r1 += 1\nif r1 < 10 goto top\ngoto out\ncall f\nout: exit\nf: exit")
    assert [program[1].off, program[2].off, program[3].imm] == [-2, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "r0",
        "r0 = ",
        "r16 = 0",
        "r0 = r",
        "goto nowhere",
        "r0 += w1",
        "r0 = 0x1ffffffffffffffff",
        "r0 += 0x1ffffffff",
    ],
)
def test_what_is_no_instruction_is_named(text: str) -> None:
    with pytest.raises(AsmError, match="line 2: "):
        assemble(f"exit\n{text}")


_NOT_IN_LOGS = (
    Form.LD_ABS,
    Form.LD_IND,
    Form.MAY_GOTO,
    Form.CALLX,
    Form.EXIT,
    Form.CALL,
    Form.GOTO,
    Form.LD_IMM64,
)


def _sample(code: int) -> list[Insn]:
    """Variants of an opcode that the verifier gets to print, even where it refuses them then."""
    row = OPCODES[code]
    dst, src = 1, 2
    match row.form:
        case Form.ALU:
            offs = [0, *([1] if row.signed_symbol else [])]
            if row.reg and row.symbol == "=":
                offs = [0, 8, 16, *([32] if row.bits == 64 else [])]
            return [Insn(code, dst, src if row.reg else 0, off, 0 if row.reg else 7) for off in offs]
        case Form.END | Form.BSWAP:
            return [Insn(code, dst, imm=bits) for bits in (16, 32, 64)]
        case Form.NEG:
            return [Insn(code, dst)]
        case Form.JUMP:
            return [Insn(code, dst, src if row.reg else 0, 0, 0 if row.reg else -3)]
        case Form.LOAD:
            return [Insn(code, dst, 10, -8)]
        case Form.STORE:
            return [Insn(code, 10, src if row.reg else 0, -8, 0 if row.reg else -3)]
        case _:
            ops = (0x0, 0x40, 0x50, 0xA0, 0x1, 0x41, 0x51, 0xA1, 0xE1, 0xF1) if row.size >= 4 else ()
            released = [Insn(code, 10, src, -8, 0x110), Insn(code, src, 10, -8, 0x100)]
            return [*(Insn(code, 10, src, -8, op) for op in ops), *released]


@pytest.mark.parametrize("code", [code for code, row in OPCODES.items() if row.form not in _NOT_IN_LOGS])
def test_the_kernel_prints_the_same(code: int) -> None:
    if reason := kernel_oracle.kernel_unavailable():
        pytest.skip(reason)
    head = assemble("r0 = 0\nr1 = 7\nr2 = 9\n*(u64 *)(r10 -8) = 5")
    for insn in _sample(code):
        log = kernel_oracle.load(encode([*head, insn, *assemble("r0 = 0\nexit")])).log
        printed = re.search(r"^4: (\([0-9a-f]{2}\) [^;\n]*?) *(?:;|$)", log, re.M)
        if "unknown opcode" in log or "invalid atomic" in log:
            pytest.skip(f"this kernel does not know opcode {code:02x}")
        assert printed, log
        assert disasm(insn) == printed[1], log


_CONTROL = """
    r6 = r1
    r7 = 0x1122334455667788
    r8 = -1 ll
    goto pc+0
    gotol pc+0
    may_goto pc+1
    goto pc-2
    r0 = *(u8 *)skb[14]
    r0 = *(u16 *)skb[-4096]
    r0 = *(u32 *)skb[0]
    r7 = 0
    r0 = *(u8 *)skb[r7 + 14]
    r0 = *(u16 *)skb[r7 + -4096]
    r0 = *(u32 *)skb[r7 + 0]
    call bpf_ktime_get_ns
    r1 = 0
    call f
    call bpf_get_prandom_u32
    if w0 == 0x0 goto pc+2
    if r0 s> 0xffffffff goto pc+1
    if r0 & 0x7fffffff goto pc+0
    r0 = 0
    exit
f:  r0 = r1
    exit
"""


def test_the_kernel_prints_control_flow_the_same() -> None:
    if reason := kernel_oracle.kernel_unavailable():
        pytest.skip(reason)
    insns = assemble(_CONTROL)
    log = kernel_oracle.load(encode(insns)).log
    printed = dict(re.findall(r"^(\d+): (\([0-9a-f]{2}\) [^;\n]*?) *(?:;.*)?$", log, re.M))
    ours = {str(index): text for index, text in disasm_program(insns)}
    assert printed, log
    assert {index: ours[index] for index in printed} == printed
    assert len(printed) == len(ours), log
