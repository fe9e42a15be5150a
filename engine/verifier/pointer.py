"""Arithmetic on pointers: pointer plus or minus a scalar (`adjust_ptr_min_max_vals`)."""

from engine.isa import Alu, Insn
from engine.verifier.bounds import S64_MAX, S64_MIN, U64_MAX, Bounds, s64, sync
from engine.verifier.env import Env
from engine.verifier.regs import MAYBE_NULL, UNKNOWN_SCALAR, UNTRUSTED, Reg, RegType
from engine.verifier.scan import MAX_VAR_OFF
from engine.verifier.tnum import tnum_add, tnum_sub

__all__ = ["pointer_alu"]

_S32 = range(-(1 << 31), 1 << 31)
_FIXED = (RegType.MAP_PTR, RegType.PACKET_END, RegType.FUNC, RegType.DYNPTR, RegType.XDP_SOCK)
_FULL32 = (-(1 << 31), (1 << 31) - 1, 0, (1 << 32) - 1)


def pointer_alu(env: Env, insn: Insn, ptr: Reg, other: Reg) -> Reg:
    """What `ptr += other` or `ptr -= other` gives, put into `insn.dst`; either operand may be the
    destination."""
    op, dst = insn.code & 0xF0, insn.dst
    b = other.b
    if not b.consistent:
        return UNKNOWN_SCALAR
    if insn.code & 7 != 7:
        if op == Alu.SUB:
            return UNKNOWN_SCALAR
        env.deny(f"R{dst} 32-bit pointer arithmetic prohibited")
    if ptr.flags & MAYBE_NULL:
        env.deny(f"R{dst} pointer arithmetic on {ptr.name} prohibited, null-check it first")
    if ptr.type == RegType.MEM and ptr.flags & UNTRUSTED:
        # Linux 6.18 leaves a scalar to which such a pointer is added as it was, with its bounds.
        return ptr if ptr is env.regs[dst] else UNKNOWN_SCALAR
    if ptr.type in _FIXED:
        env.deny(f"R{dst} pointer arithmetic on {ptr.name} prohibited")
    _check_sane(env, other, ptr)
    _check_sane(env, ptr, ptr)
    if op == Alu.ADD:
        result = _add(env, ptr, b)
    elif op == Alu.SUB:
        if ptr is not env.regs[dst] or other is ptr:
            env.deny(f"R{dst} tried to subtract pointer from scalar")
        if ptr.type == RegType.STACK:
            env.deny(f"R{dst} subtraction from stack pointer prohibited")
        result = _sub(env, ptr, b)
    elif op in (Alu.AND, Alu.OR, Alu.XOR):
        env.deny(f"R{dst} bitwise operator {_SYMBOL[op]} on pointer prohibited")
    else:
        env.deny(f"R{dst} pointer arithmetic with {_SYMBOL.get(op, '')} operator prohibited")
    _check_sane(env, result, ptr)
    return result


_SYMBOL: dict[int, str] = {
    Alu.MUL: "*=",
    Alu.DIV: "/=",
    Alu.OR: "|=",
    Alu.AND: "&=",
    Alu.LSH: "<<=",
    Alu.RSH: ">>=",
    Alu.NEG: "neg",
    Alu.MOD: "%=",
    Alu.XOR: "^=",
    Alu.ARSH: "s>>=",
}


def _check_sane(env: Env, reg: Reg, ptr: Reg) -> None:
    """Refuse offsets so large that arithmetic on them could wrap (`check_reg_sane_offset`)."""
    b = reg.b
    value = s64(b.v)
    if not b.m and not -MAX_VAR_OFF < value < MAX_VAR_OFF:
        env.invalid(f"math between {ptr.name} pointer and {value} is not allowed")
    if not -MAX_VAR_OFF < reg.off < MAX_VAR_OFF:
        env.invalid(f"{ptr.name} pointer offset {reg.off} is not allowed")
    if b.smin == S64_MIN:
        env.invalid(f"math between {ptr.name} pointer and register with unbounded min value is not allowed")
    if not -MAX_VAR_OFF < b.smin < MAX_VAR_OFF:
        env.invalid(f"value {b.smin} makes {ptr.name} pointer be out of bounds")


def _fixed(ptr: Reg, off: int) -> Reg:
    result = ptr.copy()
    result.off = off
    return result


def _moved(env: Env, ptr: Reg, b: Bounds, *, forget: bool) -> Reg:
    """The pointer with another variable part; a packet pointer becomes one that was never compared."""
    result = ptr.with_bounds(b)
    if ptr.type in (RegType.PACKET, RegType.PACKET_META):
        result.id = env.next_id()
        if forget:
            result.n = 0
    return result


def _add(env: Env, ptr: Reg, b: Bounds) -> Reg:
    if not b.m and ptr.off + b.smin in _S32:
        return _fixed(ptr, ptr.off + b.smin)
    p = ptr.b
    smin, smax = p.smin + b.smin, p.smax + b.smax
    if smin < S64_MIN or smax > S64_MAX:
        smin, smax = S64_MIN, S64_MAX
    umin, umax = p.umin + b.umin, p.umax + b.umax
    if umax > U64_MAX:
        umin, umax = 0, U64_MAX
    v, m = tnum_add(p.v, p.m, b.v, b.m)
    return _moved(env, ptr, sync(v, m, smin, smax, umin, umax, *_FULL32), forget=True)


def _sub(env: Env, ptr: Reg, b: Bounds) -> Reg:
    if not b.m and ptr.off - b.smin in _S32:
        return _fixed(ptr, ptr.off - b.smin)
    p = ptr.b
    smin, smax = p.smin - b.smax, p.smax - b.smin
    if smin < S64_MIN or smax > S64_MAX:
        smin, smax = S64_MIN, S64_MAX
    umin, umax = p.umin - b.umax, p.umax - b.umin
    if umin < 0:
        umin, umax = 0, U64_MAX
    v, m = tnum_sub(p.v, p.m, b.v, b.m)
    return _moved(env, ptr, sync(v, m, smin, smax, umin, umax, *_FULL32), forget=b.smin < 0)
