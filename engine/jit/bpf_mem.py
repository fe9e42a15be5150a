"""Loads, stores and atomics of eBPF as LLVM IR (RFC 9669, section 5).

Accesses need no alignment, except atomics, which the verifier aligns. Non-fetching atomics are relaxed,
fetching ones sequentially consistent, as Linux defines them (Documentation/bpf/standardization).
"""

from engine.abi.ctx import SkBuff
from engine.env import Ctl, Env
from engine.isa import Atomic, Form, Insn, Opcode
from engine.jit.bpf_ir import INT, Body
from engine.jit.bpf_unit import Unit
from engine.memory import KERNEL_BASE, WINDOW_BASE

__all__ = ["emit_atomic", "emit_guarded_load", "emit_load", "emit_packet_load", "emit_store"]

_RMW = {Atomic.ADD: "add", Atomic.OR: "or", Atomic.AND: "and", Atomic.XOR: "xor", Atomic.XCHG: "xchg"}


def _address(b: Body, reg: int, off: int) -> str:
    return b.gep(b.pointer(reg), off)


def _extended(b: Body, value: str, size: int, signed: bool) -> str:
    if size == 8:
        return value
    return b.value(f"{'sext' if signed else 'zext'} {INT[size]} {value} to i64")


def _narrowed(b: Body, insn: Insn, row: Opcode) -> str:
    """The operand of a store, as wide as the access."""
    if not row.reg:
        return str(insn.imm)
    if row.size == 4:
        return b.get32(insn.src)
    word = b.get(insn.src)
    return word if row.size == 8 else b.value(f"trunc i64 {word} to {INT[row.size]}")


def emit_load(unit: Unit, b: Body, insn: Insn, row: Opcode) -> None:
    """dst = *(size *)(src + off); a constant where the map can never change."""
    where = _address(b, insn.src, insn.off)
    number, offset = b.places.get(where, (-1, 0))
    content = unit.content(number) if number >= 0 else None
    if content is not None and 0 <= offset <= len(content) - row.size:
        known = int.from_bytes(content[offset : offset + row.size], "little", signed=row.signed)
        b.set(insn.dst, str(known))
        return
    value = b.value(f"load {INT[row.size]}, ptr {where}, align 1")
    b.set(insn.dst, _extended(b, value, row.size, row.signed))


def emit_guarded_load(b: Body, insn: Insn, row: Opcode) -> None:
    """A load through a pointer that may be wild: from the kernel arena at its kernel alias, else 0.

    Linux gives such loads an exception table entry that does the same (PROBE_MEM).
    """
    address = b.value(f"add i64 {b.get(insn.src)}, {insn.off}")
    host = b.value(f"sub i64 {address}, {KERNEL_BASE - WINDOW_BASE - (1 << 64)}")
    ctl = b.value(f"load ptr, ptr {b.gep('%envp', int(Env.CTL))}")
    arena = b.value(f"load i64, ptr {b.gep(ctl, int(Ctl.KERNEL_ARENA))}")
    size = b.value(f"load i64, ptr {b.gep(ctl, int(Ctl.KERNEL_ARENA_SIZE))}")
    inside = b.value(f"sub i64 {host}, {arena}")
    limit = b.value(f"sub i64 {size}, {row.size}")
    good = b.value(f"icmp ule i64 {inside}, {limit}")
    stem = b.fresh("guard")
    b.do(f"br i1 {good}, label %{stem}.load, label %{stem}.none")
    b.label(f"{stem}.load")
    where = b.value(f"inttoptr i64 {host} to ptr")
    loaded = b.value(f"load {INT[row.size]}, ptr {where}, align 1")
    value = _extended(b, loaded, row.size, row.signed)
    b.do(f"br label %{stem}.end")
    b.label(f"{stem}.none")
    b.do(f"br label %{stem}.end")
    b.label(f"{stem}.end")
    b.set(insn.dst, b.value(f"phi i64 [{value}, %{stem}.load], [0, %{stem}.none]"))


def emit_store(b: Body, insn: Insn, row: Opcode) -> None:
    """*(size *)(dst + off) = src or imm."""
    value = _narrowed(b, insn, row)
    b.do(f"store {INT[row.size]} {value}, ptr {_address(b, insn.dst, insn.off)}, align 1")


def emit_atomic(b: Body, insn: Insn, row: Opcode) -> None:
    """STX|ATOMIC of every kind."""
    kind, size = INT[row.size], row.size
    if insn.imm == Atomic.LOAD_ACQ:
        where = _address(b, insn.src, insn.off)
        value = b.value(f"load atomic {kind}, ptr {where} acquire, align {size}")
        b.set(insn.dst, _extended(b, value, size, False))
        return
    where = _address(b, insn.dst, insn.off)
    operand = _narrowed(b, insn, row)
    if insn.imm == Atomic.STORE_REL:
        b.do(f"store atomic {kind} {operand}, ptr {where} release, align {size}")
    elif insn.imm == Atomic.CMPXCHG:
        old = b.get(0) if size == 8 else b.get32(0)
        pair = b.value(f"cmpxchg ptr {where}, {kind} {old}, {kind} {operand} seq_cst seq_cst, align {size}")
        seen = b.value(f"extractvalue {{ {kind}, i1 }} {pair}, 0")
        b.set(0, _extended(b, seen, size, False))
    else:
        fetch = bool(insn.imm & Atomic.FETCH)
        op = _RMW[Atomic(insn.imm if insn.imm == Atomic.XCHG else insn.imm & ~Atomic.FETCH)]
        order = "seq_cst" if fetch else "monotonic"
        seen = b.value(f"atomicrmw {op} ptr {where}, {kind} {operand} {order}, align {size}")
        if fetch:
            b.set(insn.src, _extended(b, seen, size, False))


def emit_packet_load(b: Body, insn: Insn, row: Opcode) -> None:
    """LD_ABS and LD_IND: r0 = packet[imm + src] in network order, from the packet of the context in r6.

    Outside of the packet the subprogram ends with 0 (`bpf_gen_ld_abs`, net/core/filter.c). Offsets
    relative to a header (SKF_NET_OFF, SKF_LL_OFF) are negative and count as outside.
    """
    context = b.pointer(6)
    data = b.value(f"load i64, ptr {b.gep(context, int(SkBuff.NATIVE_DATA))}")
    end = b.value(f"load i64, ptr {b.gep(context, int(SkBuff.NATIVE_DATA_END))}")
    narrow = str(insn.imm)
    if row.form is Form.LD_IND:
        narrow = b.value(f"add i32 {b.get32(insn.src)}, {insn.imm}")
    offset = b.value(f"sext i32 {narrow} to i64")
    room = b.value(f"sub i64 {b.value(f'sub i64 {end}, {data}')}, {row.size}")
    fits = b.value(f"icmp sle i64 {offset}, {room}")
    good = b.value(f"and i1 {fits}, {b.value(f'icmp sge i64 {offset}, 0')}")
    stem = b.fresh("packet")
    b.do(f"br i1 {good}, label %{stem}.load, label %{stem}.none")
    b.label(f"{stem}.none")
    b.do("ret i64 0")
    b.label(f"{stem}.load")
    where = b.value(f"inttoptr i64 {b.value(f'add i64 {data}, {offset}')} to ptr")
    kind = INT[row.size]
    value = b.value(f"load {kind}, ptr {where}, align 1")
    if row.size > 1:
        value = b.value(f"call {kind} @llvm.bswap.{kind}({kind} {value})")
    b.drop_views(0b111111)
    b.set(0, _extended(b, value, row.size, False))
