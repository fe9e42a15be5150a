"""Walking a conditional jump: is it decided, and what does each way teach (`check_cond_jmp_op`)."""

import errno

from engine.abi.bpf import MapType
from engine.isa import Insn, Jmp, Opcode
from engine.verifier.bounds import const_bounds
from engine.verifier.env import Env, push_branch
from engine.verifier.links import LinkedRegs, collect_links, sync_links
from engine.verifier.mapinfo import has_lock
from engine.verifier.packets import match_packet_pointers, packet_branch_taken
from engine.verifier.precision import mark_chain_precision
from engine.verifier.refine import FLIP, branch_taken, refine_false, refine_self, refine_true
from engine.verifier.regs import MAYBE_NULL, SCALAR, UNTRUSTED, ZERO, Reg, RegType, const_reg
from engine.verifier.state import Slot, State
from engine.verifier.tnum import M32, M64
from engine.verifier.trace import print_insn_state

__all__ = ["do_jump"]

_JEQ, _JNE = int(Jmp.JEQ), int(Jmp.JNE)
_NEVER_NULL = frozenset({RegType.MAP_PTR, RegType.MAP_VALUE, RegType.MAP_KEY, RegType.MEM})


def _pointer_taken(op: int, a: Reg, b: Reg, is32: bool) -> int:
    """A comparison with a pointer is decided only when it is one that cannot be null against zero."""
    packets = (RegType.PACKET, RegType.PACKET_META, RegType.PACKET_END)
    if a.type in packets and b.type in packets and not is32:
        return packet_branch_taken(op, a, b)
    mask = M32 if is32 else M64
    if b.type != SCALAR or b.b.m & mask:
        a, b, op = b, a, FLIP[op]
    # Linux decides the 32-bit comparisons too, but the low half of an address that is not null may be zero.
    if is32 or b.type != SCALAR or b.b.m & mask:
        return -1
    if a.flags & (MAYBE_NULL | UNTRUSTED) or a.type not in _NEVER_NULL:
        return -1
    if b.b.v & mask:
        return -1
    return {_JEQ: 0, _JNE: 1}.get(op, -1)


def do_jump(env: Env, insn: Insn, row: Opcode) -> int:
    """The next instruction on this path; the other way, when both are possible, is put aside."""
    dst = env.read_reg(insn.dst)
    if row.reg:
        if insn.imm:
            env.invalid("BPF_JMP/JMP32 uses reserved fields")
        src = env.read_reg(insn.src)
    else:
        if insn.src:
            env.invalid("BPF_JMP/JMP32 uses reserved fields")
        src = const_reg(insn.imm)
    is32 = row.bits == 32
    assert row.op is not None
    op = int(row.op)
    both_scalar = dst.type == SCALAR and src.type == SCALAR
    taken = branch_taken(op, dst.b, src.b, is32) if both_scalar else _pointer_taken(op, dst, src, is32)
    idx = env.insn_idx
    if dst.type == RegType.STACK or (row.reg and src.type == RegType.STACK):
        env.push_history(pointers=(dst.type == RegType.STACK) | (row.reg and src.type == RegType.STACK) << 1)
    if taken >= 0:
        if dst.type == SCALAR:
            mark_chain_precision(env, insn.dst)
        if row.reg and src.type == SCALAR:
            mark_chain_precision(env, insn.src)
        if env.logging:
            print_insn_state(env)
        return idx + 1 + (insn.off if taken else 0)

    links: LinkedRegs = ()
    if row.reg and src.type == SCALAR and src.id:
        links = collect_links(env, src.id, links)
    if dst.type == SCALAR and dst.id:
        links = collect_links(env, dst.id, links)
    if len(links) > 1:
        env.push_history(linked=links)
    dst = env.regs[insn.dst]
    src = env.regs[insn.src] if row.reg else src

    other = push_branch(env, idx + insn.off + 1, idx, too_many=errno.EFAULT)
    if both_scalar:
        _refine(env, other, insn, row, dst, src, links)
    elif not _null_checks(env, other, insn, row, dst, src):
        match_packet_pointers(env, other, insn, row, dst, src)
    if env.logging:
        print_insn_state(env)
    return idx + 1


def _refine(env: Env, other: State, insn: Insn, row: Opcode, dst: Reg, src: Reg, links: LinkedRegs) -> None:
    """Both scalars on both ways, and everything equal to them."""
    assert row.op is not None
    op, is32 = int(row.op), row.bits == 32
    here, there = env.state, other
    for state, refine in ((here, refine_false), (there, refine_true)):
        if row.reg and insn.src == insn.dst:
            a = b = refine_self(op, dst.b, is32, holds=state is there)
        else:
            a, b = refine(op, dst.b, src.b, is32)
        regs = state.cur.regs
        if a is not dst.b:
            regs[insn.dst] = dst.with_bounds(a)
        if row.reg and b is not src.b:
            regs[insn.src] = src.with_bounds(b)
        if row.reg and src.id:
            sync_links(state, regs[insn.src], links)
        if dst.id:
            sync_links(state, regs[insn.dst], links)


def _null_checks(env: Env, other: State, insn: Insn, row: Opcode, dst: Reg, src: Reg) -> bool:
    """A pointer that may be null against zero, or against one that is not null; false when it is
    neither."""
    op = int(row.op) if row.op is not None else 0
    if op not in (_JEQ, _JNE) or row.bits == 32:
        return False
    equal, differ = (other, env.state) if op == _JEQ else (env.state, other)
    if not row.reg:
        if insn.imm == 0 and dst.flags & MAYBE_NULL:
            mark_null(equal, dst.id, True)
            mark_null(differ, dst.id, False)
            return True
        return False
    if (
        src.type != SCALAR
        and dst.type != SCALAR
        and bool(src.flags & MAYBE_NULL) != bool(dst.flags & MAYBE_NULL)
    ):
        nullable, solid = (src, dst) if src.flags & MAYBE_NULL else (dst, src)
        if solid.type in _NEVER_NULL and nullable.type != RegType.BTF:
            number = insn.src if nullable is src else insn.dst
            equal.cur.regs[number] = _settled(nullable, False)
    return False


def mark_null(state: State, id: int, is_null: bool) -> None:
    """Every pointer with this id is now known to be null, or known not to be (`mark_ptr_or_null_regs`)."""
    if is_null and any(ref.id == id for ref in state.refs):
        state.refs = tuple(ref for ref in state.refs if ref.id != id)
    for frame in state.frames:
        for i, reg in enumerate(frame.regs):
            if reg.id == id and reg.flags & MAYBE_NULL:
                frame.regs[i] = _settled(reg, is_null)
        for i, slot in enumerate(frame.stack):
            if slot.kinds[7] == "r" and slot.reg.id == id and slot.reg.flags & MAYBE_NULL:
                frame.stack[i] = Slot(slot.kinds, _settled(slot.reg, is_null))


def _settled(reg: Reg, is_null: bool) -> Reg:
    if is_null:
        return ZERO
    new = reg.copy()
    new.flags &= ~MAYBE_NULL
    keeps_id = reg.type == RegType.MAP_VALUE and new.map is not None and has_lock(new.map)
    if not keeps_id:
        new.id = 0
    if new.type == RegType.MAP_VALUE and getattr(new.map, "inner", None) is not None:
        new.type = RegType.MAP_PTR
        new.map = new.map.inner
        new.id = 0
        new.b = const_bounds(0)
    elif new.type == RegType.MAP_VALUE and new.map is not None and new.map.type == MapType.XSKMAP:
        new.type = RegType.XDP_SOCK
        new.map = None
    return new
