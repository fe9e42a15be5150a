"""Loads and stores: what an address may be used for, by the type of its register (`check_mem_access`)."""

import errno
from typing import NoReturn

from engine.abi.bpf import MapCreateFlag, MapType, ProgType
from engine.isa import Atomic, Form, Insn, Opcode
from engine.verifier.bounds import S64_MIN
from engine.verifier.context import ctx_access
from engine.verifier.env import Env
from engine.verifier.kernelptr import load_argument, load_member
from engine.verifier.mapinfo import map_rights, special_fields
from engine.verifier.regs import (
    MAYBE_NULL,
    NOT_INIT,
    RDONLY,
    SCALAR,
    UNKNOWN_SCALAR,
    UNTRUSTED,
    Reg,
    RegType,
    const_reg,
    scalar,
)
from engine.verifier.result import PtrClass
from engine.verifier.scalar import sign_extend, truncate
from engine.verifier.scan import MAX_VAR_OFF
from engine.verifier.stack import read_stack, write_stack
from engine.verifier.tnum import tnum_add, tnum_str
from engine.verifier.trace import print_line

__all__ = [
    "check_alignment",
    "check_mem",
    "check_ptr_off",
    "check_region",
    "do_atomic",
    "do_ld_abs",
    "do_load",
    "do_store",
]

_PTR_CLASS: dict[int, PtrClass] = {
    RegType.STACK: PtrClass.STACK,
    RegType.CTX: PtrClass.CTX,
    RegType.MAP_KEY: PtrClass.MAP_KEY,
    RegType.MAP_VALUE: PtrClass.MAP_VALUE,
    RegType.MEM: PtrClass.MEM,
    RegType.PACKET: PtrClass.PACKET,
    RegType.PACKET_META: PtrClass.PACKET,
    RegType.BTF: PtrClass.BTF,
    RegType.XDP_SOCK: PtrClass.XDP_SOCK,
}
_ALONE = frozenset({PtrClass.CTX, PtrClass.BTF, PtrClass.XDP_SOCK})
_NOT_ATOMIC = frozenset({RegType.CTX, RegType.PACKET, RegType.PACKET_META, RegType.BTF, RegType.XDP_SOCK})
_LD_ABS_TYPES = frozenset({ProgType.SOCKET_FILTER, ProgType.SCHED_CLS, ProgType.SCHED_ACT})
_CONST_SIZES = (1, 2, 4, 8)
_XDP_SOCK_SIZE = 4
"""struct bpf_xdp_sock: the number of a queue."""


def check_alignment(env: Env, reg: Reg, off: int, size: int, strict: bool) -> None:
    """Stack accesses are always aligned, others where the loader or, with `strict`, the access asks for it:
    atomic ones, numbers that a helper writes (`check_ptr_alignment`)."""
    stack = reg.type == RegType.STACK
    if size == 1 or not (stack or strict or env.strict_alignment):
        return
    b = reg.b
    ip_align = 2 if reg.type in (RegType.PACKET, RegType.PACKET_META) else 0
    v, m = tnum_add(b.v, b.m, (reg.off + off + ip_align) & ((1 << 64) - 1), 0)
    if (v | m) & (size - 1):
        if ip_align:
            env.deny(
                f"misaligned packet access off {ip_align}+{tnum_str(b.v, b.m)}+{reg.off}+{off} size {size}"
            )
        variable = tnum_str(b.v, b.m)
        what = _ALIGN_NAMES.get(RegType(reg.type), "")
        env.deny(f"misaligned {what}access off {variable}+{reg.off}+{off} size {size}")


_ALIGN_NAMES = {
    RegType.STACK: "stack ",
    RegType.MAP_VALUE: "value ",
    RegType.MAP_KEY: "key ",
    RegType.CTX: "context ",
}


def check_region(
    env: Env, reg: Reg, regno: int, off: int, size: int, limit: int, zero_ok: bool = False
) -> None:
    """Check that `size` bytes from `off` on lie within the `limit` bytes that `reg` points to
    (`check_mem_region_access`)."""
    b = reg.b
    low = b.smin + off
    if b.smin < 0 and (b.smin == S64_MIN or low < 0 or low >= 1 << 31):
        env.deny(f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check.")
    _check_fixed(env, reg, regno, low, size, limit, zero_ok, "min")
    if b.umax >= MAX_VAR_OFF:
        env.deny(f"R{regno} unbounded memory access, make sure to bounds check any such access")
    _check_fixed(env, reg, regno, b.umax + off, size, limit, zero_ok, "max")


def _check_fixed(
    env: Env, reg: Reg, regno: int, off: int, size: int, limit: int, zero_ok: bool, which: str
) -> None:
    if off >= 0 and (size > 0 or (size == 0 and zero_ok)) and off + size <= limit:
        return
    kind = reg.type
    if kind == RegType.MAP_KEY:
        env.say(f"invalid access to map key, key_size={limit} off={off} size={size}")
    elif kind == RegType.MAP_VALUE:
        env.say(f"invalid access to map value, value_size={limit} off={off} size={size}")
    elif kind in (RegType.PACKET, RegType.PACKET_META, RegType.PACKET_END):
        env.say(f"invalid access to packet, off={off} size={size}, R{regno}(id={reg.id},off={off},r={limit})")
    else:
        env.say(f"invalid access to memory, mem_size={limit} off={off} size={size}")
    if kind in (RegType.PACKET, RegType.PACKET_META):
        env.deny(f"R{regno} offset is outside of the packet")
    env.deny(f"R{regno} {which} value is outside of the allowed memory range")


def check_ptr_off(env: Env, reg: Reg, regno: int, fixed_ok: bool = False) -> None:
    """Refuse a pointer that was moved (`__check_ptr_off_reg`)."""
    name = reg.name
    if reg.off < 0:
        env.deny(f"negative offset {name} ptr R{regno} off={reg.off} disallowed")
    if not fixed_ok and reg.off:
        env.deny(f"dereference of modified {name} ptr R{regno} off={reg.off} disallowed")
    if reg.b.m or reg.b.v:
        env.deny(f"variable {name} access var_off={tnum_str(reg.b.v, reg.b.m)} disallowed")


def check_packet(env: Env, reg: Reg, regno: int, off: int, size: int, zero_ok: bool = False) -> None:
    """Check an access against the bytes that comparisons with the packet's end have proven present."""
    b = reg.b
    if b.smin < 0:
        env.deny(f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check.")
    limit = reg.n
    if limit < 0:
        env.invalid(f"R{regno} offset is outside of the packet")
    _check_fixed(env, reg, regno, off, size, limit, zero_ok, "max")
    env.max_pkt_offset = max(env.max_pkt_offset, off + b.umax + size - 1)


def _may_write_packet(env: Env) -> bool:
    return env.spec.type in (
        ProgType.SCHED_CLS,
        ProgType.SCHED_ACT,
        ProgType.XDP,
    )


def _map_value(env: Env, reg: Reg, regno: int, off: int, size: int, write: bool, dst: int) -> None:
    target = reg.map
    readable, writable = map_rights(target)
    if (write and not writable) or (not write and not readable):
        what = "write into" if write else "read from"
        env.deny(f"{what} map forbidden, value_size={target.value_size} off={reg.b.smin + off} size={size}")
    check_region(env, reg, regno, off, size, target.value_size)
    low, high = reg.b.smin + off, reg.b.umax + off
    for name, start, length in special_fields(target):
        if low < start + length and start < high + size:
            env.deny(f"{name} cannot be accessed directly by load/store")
    if write or dst < 0:
        return
    constant = (
        target.flags & MapCreateFlag.RDONLY_PROG
        and target.frozen
        and not reg.b.m
        and target.type == MapType.ARRAY
        and target.max_entries == 1
        and size in _CONST_SIZES
    )
    if constant:
        value = target.lookup(bytes(4))[low : low + size]
        env.write_reg(dst, const_reg(int.from_bytes(value, "little")))
    else:
        env.write_reg(dst, UNKNOWN_SCALAR)


def _refuse_context(env: Env, off: int, size: int) -> NoReturn:
    """The context has nothing there; the line of source is named on every level."""
    message = f"invalid bpf_context access off={off} size={size}"
    env.say(message)
    if env.log.level:
        print_line(env, env.insn_idx, "; ")
    env.stop(errno.EACCES, message)


def _context(env: Env, reg: Reg, regno: int, off: int, size: int, write: bool, dst: int) -> None:
    fixed_ok = env.spec.type == ProgType.SYSCALL
    check_ptr_off(env, reg, regno, fixed_ok)
    if env.spec.type == ProgType.TRACING:
        argument = None if write else load_argument(env, off, size)
        if argument is None:
            _refuse_context(env, off, size)
        if dst >= 0:
            env.write_reg(dst, argument)
        return
    field = ctx_access(env.spec, off, size, write)
    if field is None:
        _refuse_context(env, off, size)
    env.max_ctx_offset = max(env.max_ctx_offset, off + size)
    if field.native_off >= 0:
        env.ctx_rewrites[env.insn_idx] = field.native_off
    if not write and dst >= 0:
        if field.type == SCALAR:
            env.write_reg(dst, UNKNOWN_SCALAR)
        else:
            env.write_reg(dst, Reg(field.type, const_reg(0).b))


def check_mem(
    env: Env,
    regno: int,
    off: int,
    size: int,
    *,
    write: bool,
    value: int = -1,
    insn: Insn,
    strict: bool = False,
) -> None:
    """One access through register `regno`; `value` is the register loaded or stored, -1 for none."""
    reg = env.regs[regno]
    check_alignment(env, reg, off, size, strict)
    off += reg.off
    kind = reg.type
    if reg.flags & MAYBE_NULL:
        env.deny(f"R{regno} invalid mem access '{reg.name}'")
    if kind == RegType.STACK:
        if write:
            write_stack(env, reg, regno, off, size, value, insn)
        else:
            read_stack(env, reg, regno, off, size, value)
        return
    if write:
        env.stack_live.write(env.insn_idx, 0)
    if kind == RegType.MAP_VALUE:
        _map_value(env, reg, regno, off, size, write, value)
    elif kind == RegType.CTX:
        _context(env, reg, regno, off, size, write, value)
    elif kind in (RegType.PACKET, RegType.PACKET_META):
        if write and not _may_write_packet(env):
            env.deny("cannot write into packet")
        check_packet(env, reg, regno, off, size)
        if not write and value >= 0:
            env.write_reg(value, UNKNOWN_SCALAR)
    elif kind == RegType.MAP_KEY:
        if write:
            env.deny(f"write to change key R{regno} not allowed")
        check_region(env, reg, regno, off, size, reg.map.key_size)
        if value >= 0:
            env.write_reg(value, UNKNOWN_SCALAR)
    elif kind == RegType.MEM:
        if write and reg.flags & RDONLY:
            env.deny(f"R{regno} cannot write into {reg.name}")
        if reg.flags & UNTRUSTED:
            kind = RegType.BTF
        else:
            check_region(env, reg, regno, off, size, reg.n)
        if not write and value >= 0:
            env.write_reg(value, UNKNOWN_SCALAR)
    elif kind == RegType.BTF:
        if write:
            env.deny("only read is supported")
        found = load_member(env, reg, regno, off, size)
        if value >= 0:
            env.write_reg(value, found)
    elif kind == RegType.XDP_SOCK:
        if write:
            env.deny(f"R{regno} cannot write into {reg.name}")
        if off or size != _XDP_SOCK_SIZE:
            env.deny(f"R{regno} invalid {reg.name} access off={off} size={size}")
        if value >= 0:
            env.write_reg(value, UNKNOWN_SCALAR)
    else:
        env.deny(f"R{regno} invalid mem access '{reg.name}'")
    _note_class(env, kind)


def _note_class(env: Env, kind: int) -> None:
    """Note what this instruction addresses; two paths that differ in a way that matters are refused."""
    found = _PTR_CLASS[kind]
    aux = env.aux[env.insn_idx]
    if aux.ptr is found:
        return
    if not aux.ptr:
        aux.ptr = found
    elif not {aux.ptr, found}.isdisjoint(_ALONE):
        env.invalid("same insn cannot be used with different pointers")


def do_load(env: Env, insn: Insn, row: Opcode) -> None:
    """LDX: reserved fields were checked in the scan."""
    env.read_reg(insn.src)
    env.check_writable(insn.dst)
    env.touch(insn.dst)
    check_mem(env, insn.src, insn.off, row.size, write=False, value=insn.dst, insn=insn)
    reg = env.regs[insn.dst]
    if reg.type == SCALAR and (row.size < 8):
        b = sign_extend(reg.b, row.size, False) if row.signed else truncate(reg.b, row.size)
        if row.signed and reg.id and reg.b.umax >> (8 * row.size - 1):
            env.regs[insn.dst] = scalar(b)
        elif b is not reg.b:
            env.regs[insn.dst] = reg.with_bounds(b)


def do_store(env: Env, insn: Insn, row: Opcode) -> None:
    """ST and STX of mode MEM."""
    if row.reg:
        if insn.imm:
            env.invalid("BPF_STX uses reserved fields")
        env.read_reg(insn.src)
        env.read_reg(insn.dst)
        check_mem(env, insn.dst, insn.off, row.size, write=True, value=insn.src, insn=insn)
    else:
        if insn.src:
            env.invalid("BPF_ST uses reserved fields")
        env.read_reg(insn.dst)
        check_mem(env, insn.dst, insn.off, row.size, write=True, insn=insn)


_RMW = frozenset(
    {
        Atomic.ADD,
        Atomic.ADD | Atomic.FETCH,
        Atomic.AND,
        Atomic.AND | Atomic.FETCH,
        Atomic.OR,
        Atomic.OR | Atomic.FETCH,
        Atomic.XOR,
        Atomic.XOR | Atomic.FETCH,
        Atomic.XCHG,
        Atomic.CMPXCHG,
    }
)


def do_atomic(env: Env, insn: Insn, row: Opcode) -> None:
    """STX of mode ATOMIC."""
    if insn.imm == Atomic.LOAD_ACQ:
        source = env.read_reg(insn.src)
        env.check_writable(insn.dst)
        env.touch(insn.dst)
        check_mem(env, insn.src, insn.off, row.size, write=False, value=insn.dst, insn=insn, strict=True)
        if source.type in _NOT_ATOMIC or source.flags & UNTRUSTED:
            env.deny(f"BPF_ATOMIC loads from R{insn.src} {source.name} is not allowed")
        reg = env.regs[insn.dst]
        if reg.type == SCALAR and row.size < 8:
            env.regs[insn.dst] = reg.with_bounds(truncate(reg.b, row.size))
        return
    if insn.imm == Atomic.STORE_REL:
        env.read_reg(insn.src)
        target = env.read_reg(insn.dst)
        check_mem(env, insn.dst, insn.off, row.size, write=True, value=insn.src, insn=insn, strict=True)
        if target.type in _NOT_ATOMIC:
            env.deny(f"BPF_ATOMIC stores into R{insn.dst} {target.name} is not allowed")
        return
    if insn.imm not in _RMW:
        env.invalid(f"BPF_ATOMIC uses invalid atomic opcode {insn.imm & 0xFFFFFFFF:02x}")
    if row.size not in (4, 8):
        env.invalid("invalid atomic operand size")
    _atomic_rmw(env, insn, row)


def _atomic_rmw(env: Env, insn: Insn, row: Opcode) -> None:
    env.read_reg(insn.src)
    target = env.read_reg(insn.dst)
    if insn.imm == Atomic.CMPXCHG:
        env.read_reg(0)
    if target.type in _NOT_ATOMIC:
        env.deny(f"BPF_ATOMIC stores into R{insn.dst} {target.name} is not allowed")
    loaded = -1
    if insn.imm & Atomic.FETCH:
        loaded = 0 if insn.imm == Atomic.CMPXCHG else insn.src
        env.check_writable(loaded)
        env.write_reg(loaded, UNKNOWN_SCALAR)
    check_mem(env, insn.dst, insn.off, row.size, write=False, insn=insn, strict=True)
    if loaded >= 0:
        check_mem(env, insn.dst, insn.off, row.size, write=False, value=loaded, insn=insn, strict=True)
        result = env.regs[loaded]
        if result.type == SCALAR and row.size < 8:
            env.regs[loaded] = result.with_bounds(truncate(result.b, row.size))
    check_mem(env, insn.dst, insn.off, row.size, write=True, insn=insn, strict=True)


def do_ld_abs(env: Env, insn: Insn, row: Opcode) -> None:
    """Loads of old packet filters: the context in R6, the value in R0 (`check_ld_abs`)."""
    if env.spec.type not in _LD_ABS_TYPES and env.spec.type != ProgType.CGROUP_SKB:
        env.invalid("BPF_LD_[ABS|IND] instructions not allowed for this program type")
    indirect = row.form is Form.LD_IND
    if insn.dst or insn.off or row.size == 8 or (not indirect and insn.src):
        env.invalid("BPF_LD_[ABS|IND] uses reserved fields")
    ctx = env.read_reg(6)
    if env.state.refs:
        env.invalid("BPF_LD_[ABS|IND] would lead to reference leak")
    if env.state.active_lock is not None:
        env.invalid("BPF_LD_[ABS|IND] cannot be used inside bpf_spin_lock-ed region")
    if ctx.type != RegType.CTX:
        env.invalid("at the time of BPF_LD_ABS|IND R6 != pointer to skb")
    if indirect:
        env.read_reg(insn.src)
    check_ptr_off(env, ctx, 6)
    for number in range(1, 6):
        env.regs[number] = NOT_INIT
        env.touch(number)
    env.write_reg(0, UNKNOWN_SCALAR)
