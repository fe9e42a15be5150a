"""Comparisons of packet pointers with the packet's end: how many bytes they prove present."""

from engine.isa import Insn, Jmp, Opcode
from engine.verifier.env import Env
from engine.verifier.regs import UNKNOWN_SCALAR, Reg, RegType
from engine.verifier.state import MISC_SLOT, Slot, State

__all__ = ["invalidate_packets", "match_packet_pointers", "packet_branch_taken"]

AT_PKT_END = -1
BEYOND_PKT_END = -2
_MAX_OFF = 0xFFFF
_GT, _GE, _LT, _LE = int(Jmp.JGT), int(Jmp.JGE), int(Jmp.JLT), int(Jmp.JLE)
_PACKETS = (RegType.PACKET, RegType.PACKET_META)
_SWAPPED = {_GT: _LT, _LT: _GT, _GE: _LE, _LE: _GE}


def packet_branch_taken(op: int, a: Reg, b: Reg) -> int:
    """Decide a comparison with the end for a pointer that an earlier one has placed
    (`is_pkt_ptr_branch_taken`)."""
    if b.type == RegType.PACKET_END:
        ptr = a
    elif a.type == RegType.PACKET_END:
        ptr, op = b, _SWAPPED.get(op, -1)
    else:
        return -1
    if ptr.n >= 0 or ptr.type == RegType.PACKET_END:
        return -1
    at_end = ptr.n == AT_PKT_END
    beyond = ptr.n == BEYOND_PKT_END
    if op == _LE:
        return 0 if beyond else -1
    if op == _GT:
        return 1 if beyond else -1
    if op == _LT:
        return 0 if beyond or at_end else -1
    if op == _GE:
        return 1 if beyond or at_end else -1
    return -1


def _prove(state: State, ptr: Reg, range_right_open: bool) -> None:
    """Bytes up to `ptr` are present: tell every pointer with the same variable part
    (`find_good_pkt_pointers`)."""
    if ptr.off < 0 or (ptr.off == 0 and range_right_open):
        return
    if ptr.off > _MAX_OFF or ptr.b.umax + ptr.off > _MAX_OFF:
        return
    found = ptr.off
    if range_right_open:
        found += 1
    for frame in state.frames:
        for i, reg in enumerate(frame.regs):
            if reg.type == ptr.type and reg.id == ptr.id and reg.n < found:
                frame.regs[i] = _with_range(reg, found)
        for i, slot in enumerate(frame.stack):
            reg = slot.reg
            if slot.kinds[7] == "r" and reg.type == ptr.type and reg.id == ptr.id and reg.n < found:
                frame.stack[i] = Slot(slot.kinds, _with_range(reg, found))


def _with_range(reg: Reg, found: int) -> Reg:
    new = reg.copy()
    new.n = found
    return new


def _place(state: State, number: int, open_range: bool) -> None:
    """The pointer itself lies at or beyond the end (`mark_pkt_end`)."""
    reg = state.cur.regs[number]
    if reg.type == RegType.PACKET:
        state.cur.regs[number] = _with_range(reg, BEYOND_PKT_END if open_range else AT_PKT_END)


def match_packet_pointers(env: Env, other: State, insn: Insn, row: Opcode, dst: Reg, src: Reg) -> bool:
    """Learn from `pkt op pkt_end` and `pkt_meta op pkt` (`try_match_pkt_pointers`)."""
    if not row.reg or row.bits == 32 or row.op is None:
        return False
    op = int(row.op)
    here = env.state
    if op not in _SWAPPED:
        return False
    if _pair(dst, src):
        ptr, number = dst, insn.dst
    elif _pair(src, dst):
        ptr, number, op = src, insn.src, _SWAPPED[op]
    else:
        return False
    if op == _GT:
        _prove(here, ptr, False)
        _place(other, number, True)
    elif op == _LT:
        _prove(other, ptr, True)
        _place(here, number, False)
    elif op == _GE:
        _prove(here, ptr, True)
        _place(other, number, False)
    else:
        _prove(other, ptr, False)
        _place(here, number, True)
    return True


def _pair(ptr: Reg, end: Reg) -> bool:
    """Whether `end` bounds what `ptr` points into: the end of the packet, or its start for metadata."""
    if ptr.type == RegType.PACKET:
        return end.type == RegType.PACKET_END
    return (
        ptr.type == RegType.PACKET_META
        and end.type == RegType.PACKET
        and not end.off
        and not end.b.m
        and not end.b.v
    )


def invalidate_packets(state: State) -> None:
    """The packet was moved or resized by a helper: no pointer into it is valid any more."""
    kinds = (RegType.PACKET, RegType.PACKET_META, RegType.PACKET_END)
    for frame in state.frames:
        for i, reg in enumerate(frame.regs):
            if reg.type in kinds:
                frame.regs[i] = UNKNOWN_SCALAR
        for i, slot in enumerate(frame.stack):
            if slot.kinds[7] == "r" and slot.reg.type in kinds:
                frame.stack[i] = MISC_SLOT
