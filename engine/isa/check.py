"""Whether a program is well-formed: known opcodes, fields that must be zero, registers and jumps in range.

This is what can be said of a program without following its paths; the verifier says the rest. What RFC 9669
defines is well-formed even where Linux refuses it: shifts by more than the width, division by a constant 0.
"""

from collections.abc import Sequence

from engine.isa.insn import LD_IMM64, Insn
from engine.isa.opcodes import FP, REGS, Alu, Atomic, Field, Form, Opcode, PseudoSrc

__all__ = ["Malformed", "call_target", "check_program"]

_ATOMICS = frozenset(int(op) for op in Atomic)
_ORDERED = frozenset((int(Atomic.LOAD_ACQ), int(Atomic.STORE_REL)))
_WRITES_DST = frozenset((Form.ALU, Form.NEG, Form.END, Form.BSWAP, Form.LOAD, Form.LD_IMM64))


class Malformed(ValueError):
    """The program cannot be run; the message names instruction and reason."""


def call_target(insn: Insn, index: int) -> int | None:
    """First instruction of the subprogram that the instruction at `index` calls or points to, or None."""
    row = insn.opcode
    if row is None:
        return None
    local = row.form is Form.CALL and insn.src == PseudoSrc.CALL
    pointer = row.form is Form.LD_IMM64 and insn.src == PseudoSrc.FUNC
    return index + 1 + insn.imm if local or pointer else None


def check_program(insns: Sequence[Insn]) -> None:
    """Raise Malformed unless every instruction of `insns` is well-formed and control stays inside."""
    if not insns:
        raise Malformed("no instructions")
    starts = set()
    index = 0
    while index < len(insns):
        starts.add(index)
        _check(insns, index)
        index += 2 if insns[index].code == LD_IMM64 else 1
    for index in starts:
        for target in _targets(insns[index], index):
            if target not in starts:
                raise Malformed(f"insn {index}: jump to {target}, which is no instruction")
    last = max(starts)
    row = insns[last].opcode
    if row is None or row.form not in (Form.EXIT, Form.GOTO):
        raise Malformed(f"insn {last}: the program runs past its end")


def _targets(insn: Insn, index: int) -> list[int]:
    row = insn.opcode
    if row is None:
        return []
    if row.form in (Form.JUMP, Form.MAY_GOTO):
        return [index + 1 + insn.off]
    if row.form is Form.GOTO:
        return [index + 1 + (insn.off if row.symbol == "goto" else insn.imm)]
    target = call_target(insn, index)
    return [] if target is None else [target]


def _check(insns: Sequence[Insn], index: int) -> None:
    insn = insns[index]
    row = insn.opcode
    if row is None:
        raise Malformed(f"insn {index}: unknown opcode {insn.code:02x}")
    if insn.dst >= REGS or insn.src >= REGS:
        raise Malformed(f"insn {index}: no such register")
    used = {Field.DST: insn.dst, Field.SRC: insn.src, Field.OFF: insn.off, Field.IMM: insn.imm}
    for field, value in used.items():
        if value and not row.fields & field:
            raise Malformed(f"insn {index}: opcode {insn.code:02x} uses reserved field {field.name}")
    if row.form in _WRITES_DST and insn.dst == FP:
        raise Malformed(f"insn {index}: the frame pointer is read only")
    reason = _bad_variant(insn, row)
    if reason:
        raise Malformed(f"insn {index}: {reason}")
    if row.form is Form.LD_IMM64:
        _check_wide(insns, index)


def _check_wide(insns: Sequence[Insn], index: int) -> None:
    second = insns[index + 1] if index + 1 < len(insns) else None
    if second is None or second.code or second.dst or second.src or second.off:
        raise Malformed(f"insn {index}: second half of LD_IMM64 missing")
    if insns[index].src > max(PseudoSrc.MAP_IDX_VALUE, PseudoSrc.FUNC):
        raise Malformed(f"insn {index}: unknown source of LD_IMM64")


def _bad_variant(insn: Insn, row: Opcode) -> str | None:
    """What is wrong with the `off` or `imm` that select a variant of the opcode."""
    if row.form is Form.ALU:
        if row.op is Alu.MOV and row.reg:
            good = insn.off in (0, 8, 16) or (insn.off == 32 and row.bits == 64)
        else:
            good = insn.off in (0, 1)
        return None if good else f"no variant {insn.off} of opcode {insn.code:02x}"
    if row.form in (Form.END, Form.BSWAP):
        return None if insn.imm in (16, 32, 64) else f"no byte swap of {insn.imm} bits"
    if row.form is Form.ATOMIC:
        known = _ATOMICS if row.size >= 4 else _ORDERED
        return None if insn.imm in known else f"no atomic operation {insn.imm:#x}"
    if row.form is Form.CALL:
        return None if insn.src <= PseudoSrc.KFUNC_CALL else f"no call of kind {insn.src}"
    return None
