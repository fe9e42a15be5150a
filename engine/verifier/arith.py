"""Walking an ALU instruction: moves, byte swaps, arithmetic on scalars and pointers (`check_alu_op`)."""

from engine.isa import Alu, Form, Insn, Opcode
from engine.verifier.bounds import Bounds, const_bounds, s32, unsigned_range
from engine.verifier.env import Env, push_branch
from engine.verifier.pointer import pointer_alu
from engine.verifier.precision import mark_chain_precision
from engine.verifier.regs import (
    ADD_CONST,
    ADD_CONST32,
    ADD_CONST64,
    SCALAR,
    UNKNOWN_SCALAR,
    Reg,
    const_reg,
    scalar,
)
from engine.verifier.scalar import alu, byte_swap, sign_extend, truncate, zext32
from engine.verifier.tnum import M32, M64

__all__ = ["do_alu", "linked_source"]

_ADDR_SPACE_CAST = 1
_S32 = range(-(1 << 31), 1 << 31)
_FORKS = frozenset((Alu.AND, Alu.OR))
_DIVISIONS = frozenset((Alu.DIV, Alu.MOD))
_SHIFTS = frozenset((Alu.LSH, Alu.RSH, Alu.ARSH))
_TWO_OPERANDS, _MOV, _ADD, _SUB = Form.ALU, Alu.MOV, Alu.ADD, Alu.SUB
_WORD = unsigned_range(0, M32)


def do_alu(env: Env, insn: Insn, row: Opcode) -> None:
    """One instruction of class ALU or ALU64."""
    if row.form is _TWO_OPERANDS:
        if row.op is _MOV:
            _move(env, insn, row)
        else:
            _binary(env, insn, row)
        return
    reserved = insn.off or (insn.src if row.form is not Form.NEG else insn.src or insn.imm)
    if reserved or (row.form is not Form.NEG and insn.imm not in (16, 32, 64)):
        env.invalid(
            "BPF_NEG uses reserved fields" if row.form is Form.NEG else "BPF_END uses reserved fields"
        )
    reg = env.read_reg(insn.dst)
    env.check_writable(insn.dst)
    if row.form is Form.NEG and reg.type == SCALAR:
        env.regs[insn.dst] = scalar(alu(Alu.NEG, reg.b, reg.b, row.bits == 32))
    elif reg.type == SCALAR:
        reverse = row.form is Form.BSWAP or bool(insn.code & 8)
        if reverse:
            env.regs[insn.dst] = scalar(byte_swap(reg.b, insn.imm // 8))
        elif insn.imm < 64:
            env.regs[insn.dst] = scalar(truncate(reg.b, insn.imm // 8))
    else:
        env.regs[insn.dst] = UNKNOWN_SCALAR


def linked_source(env: Env, number: int) -> Reg:
    """The scalar in a register with an id that a copy of it can share (`assign_scalar_id_before_mov`)."""
    reg = env.regs[number]
    linked = with_link(env, reg)
    if linked is not reg:
        env.regs[number] = linked
    return linked


def with_link(env: Env, reg: Reg) -> Reg:
    """The register, with an id when it is a scalar that is not constant."""
    if reg.type != SCALAR:
        return reg
    if reg.id & ADD_CONST:
        reg = reg.with_id(0)
        reg.off = 0
    if not reg.id and reg.b.m:
        return reg.with_id(env.next_id())
    return reg


def _move(env: Env, insn: Insn, row: Opcode) -> None:
    is32 = row.bits == 32
    if row.reg:
        if insn.off == _ADDR_SPACE_CAST and not is32:
            if insn.imm not in (1, 1 << 16):
                env.invalid("addr_space_cast insn can only convert between address space 1 and 0")
            env.invalid("addr_space_cast insn can only be used in a program that has an associated arena")
        if insn.imm:
            env.invalid("BPF_MOV uses reserved fields")
        if insn.off not in ((0, 8, 16) if is32 else (0, 8, 16, 32)):
            env.invalid("BPF_MOV uses reserved fields")
        src = env.read_reg(insn.src)
    else:
        if insn.src or insn.off:
            env.invalid("BPF_MOV uses reserved fields")
        env.check_writable(insn.dst)
        value = insn.imm & M32 if is32 else insn.imm
        env.write_reg(insn.dst, const_reg(value))
        return
    env.check_writable(insn.dst)
    if src.type != SCALAR:
        if not is32 and not insn.off:
            env.write_reg(insn.dst, src)
        elif not is32:
            env.write_reg(insn.dst, UNKNOWN_SCALAR)
        else:
            env.write_reg(insn.dst, scalar(_WORD))
        return
    if not is32 and not insn.off:
        env.write_reg(insn.dst, linked_source(env, insn.src))
    elif insn.off:
        _move_signed(env, insn, src, is32)
    else:
        small = src.b.umax <= M32
        if small:
            src = linked_source(env, insn.src)
        moved = src.with_bounds(zext32(src.b))
        if not small:
            moved.id = moved.off = 0
        env.write_reg(insn.dst, moved)


def _move_signed(env: Env, insn: Insn, src: Reg, is32: bool) -> None:
    size = insn.off // 8
    fits = src.b.umax < 1 << (insn.off - 1)
    if fits:
        src = linked_source(env, insn.src)
    moved = src.with_bounds(sign_extend(src.b, size, is32))
    if not fits:
        moved.id = moved.off = 0
    env.write_reg(insn.dst, moved)


def _binary(env: Env, insn: Insn, row: Opcode) -> None:
    signed_division = insn.off == 1 and row.op in _DIVISIONS
    if row.reg:
        if insn.imm or (insn.off and not signed_division):
            env.invalid("BPF_ALU uses reserved fields")
        src = env.read_reg(insn.src)
    else:
        if insn.src or (insn.off and not signed_division):
            env.invalid("BPF_ALU uses reserved fields")
        src = const_reg(insn.imm)
    dst = env.read_reg(insn.dst)
    if not row.reg:
        if not insn.imm and row.op in _DIVISIONS:
            env.invalid("div by zero")
        if not 0 <= insn.imm < row.bits and row.op in _SHIFTS:
            env.invalid(f"invalid shift {insn.imm}")
    env.check_writable(insn.dst)
    if dst.type == SCALAR and src.type == SCALAR:
        if not src.b.m and row.op in _FORKS:
            dst = _fork(env, insn.dst, dst)
        env.regs[insn.dst] = _scalars(row, dst, src)
        return
    if dst.type != SCALAR and src.type != SCALAR:
        if row.op is not _SUB:
            env.deny(f"R{insn.dst} pointer {row.symbol} pointer prohibited")
        env.regs[insn.dst] = UNKNOWN_SCALAR
        return
    if dst.type != SCALAR:
        ptr, other = dst, src
        if row.reg:
            mark_chain_precision(env, insn.src)
    else:
        ptr, other = src, dst
        mark_chain_precision(env, insn.dst)
    if row.reg:
        other = env.regs[insn.src if ptr is dst else insn.dst]
    env.regs[insn.dst] = pointer_alu(env, insn, ptr, other)


def _fork(env: Env, number: int, reg: Reg) -> Reg:
    """A mask of all ones or none is walked once as each: the operand here, which is -1; the other, 0, is
    put aside
    (`maybe_fork_scalars`)."""
    b = reg.b
    if b.smin == -1 and b.smax == 0:
        ones, none = const_bounds(-1), const_bounds(0)
    elif b.s32min == -1 and b.s32max == 0:
        ones, none = _with_low_half(b, M32), _with_low_half(b, 0)
    else:
        return reg
    other = push_branch(env, env.insn_idx, env.insn_idx)
    other.cur.regs[number] = reg.with_bounds(none)
    return reg.with_bounds(ones)


def _with_low_half(b: Bounds, low: int) -> Bounds:
    """The same with the low 32 bits known; the rest is not made to agree."""
    high = M64 ^ M32
    signed = s32(low)
    return Bounds((b.v & high) | low, b.m & high, b.smin, b.smax, b.umin, b.umax, signed, signed, low, low)


def _scalars(row: Opcode, dst: Reg, src: Reg) -> Reg:
    """The result of scalar op scalar."""
    assert row.op is not None
    result = scalar(alu(row.op, dst.b, src.b, row.bits == 32))
    if dst.id and (row.op is _ADD or row.op is _SUB) and not src.b.m and dst is not src:
        _keep_link(row, dst, src, result)
    return result


def _keep_link(row: Opcode, dst: Reg, src: Reg, result: Reg) -> None:
    """`rX += constant` keeps rX tied to the scalars that it was equal to; once, and on 32 bits only where
    the high
    half was zero."""
    is32 = row.bits == 32
    off = src.b.s32min if is32 else src.b.smin
    if row.op is _SUB:
        off = -off
    if dst.id & ADD_CONST or off not in _S32 or (is32 and dst.b.umax > M32):
        return
    result.id = dst.id | (ADD_CONST32 if is32 else ADD_CONST64)
    result.off = off
