"""Instructions as text, in the syntax of verifier logs and `bpftool prog dump` (kernel/bpf/disasm.c)."""

from collections.abc import Callable, Sequence

from engine.abi.bpf import FuncId
from engine.isa.insn import LD_IMM64, Insn
from engine.isa.opcodes import Alu, Atomic, Class, Form, Opcode, PseudoSrc

__all__ = ["disasm", "disasm_program", "helper_name", "pseudo_imm64"]

_FETCH_NAMES = {
    Atomic.ADD_FETCH: "add",
    Atomic.AND_FETCH: "and",
    Atomic.OR_FETCH: "or",
    Atomic.XOR_FETCH: "xor",
}
_LOCK_SYMBOLS = {Atomic.ADD: "+=", Atomic.AND: "&=", Atomic.OR: "|=", Atomic.XOR: "^="}
_BUG = {Class.LD: "BUG_ld_", Class.LDX: "BUG_ldx_", Class.ST: "BUG_st_", Class.STX: "BUG_"}


def helper_name(number: int) -> str:
    """Name of helper `number` with its bpf_ prefix, `unknown` when there is none (`func_id_name`)."""
    return f"bpf_{FuncId(number).name}" if number in FuncId._value2member_map_ else "unknown"


def disasm(
    insn: Insn,
    following: Insn | None = None,
    *,
    imm64: Callable[[Insn, int], str] | None = None,
    call: Callable[[Insn], str | None] | None = None,
) -> str:
    """One instruction, with its code in front: `(b7) r0 = 0`.

    `following` is the second slot of LD_IMM64. `imm64(insn, value)` writes the operand of LD_IMM64 and
    `call(insn)` the callee of CALL (None: the usual text); without them they are written as in the
    verifier's log.
    """
    return f"({insn.code:02x}) {_text(insn, following, imm64, call)}"


def disasm_program(
    insns: Sequence[Insn],
    *,
    imm64: Callable[[Insn, int], str] | None = None,
    call: Callable[[Insn], str | None] | None = None,
) -> list[tuple[int, str]]:
    """(index, text) of each instruction; the second slots of LD_IMM64 have no entry."""
    lines = []
    index = 0
    while index < len(insns):
        insn = insns[index]
        wide = insn.code == LD_IMM64 and index + 1 < len(insns)
        lines.append((index, disasm(insn, insns[index + 1] if wide else None, imm64=imm64, call=call)))
        index += 2 if wide else 1
    return lines


def pseudo_imm64(insn: Insn, value: int) -> str:
    """Operand of LD_IMM64 in the assembler's form, which keeps the pseudo source: an `imm64` for `disasm`."""
    low, high = value & 0xFFFFFFFF, value >> 32
    match insn.src:
        case PseudoSrc.MAP_FD | PseudoSrc.MAP_IDX:
            return f"{'map_fd' if insn.src == PseudoSrc.MAP_FD else 'map_idx'}[{low}]"
        case PseudoSrc.MAP_VALUE | PseudoSrc.MAP_IDX_VALUE:
            return f"{'map_value' if insn.src == PseudoSrc.MAP_VALUE else 'map_idx_value'}[{low}][0]+{high}"
        case PseudoSrc.BTF_ID:
            return f"btf_id[{low}]"
        case PseudoSrc.FUNC:
            return f"func[{insn.imm}]"
        case _:
            return f"0x{value:x}"


def _text(
    insn: Insn,
    following: Insn | None,
    imm64: Callable[[Insn, int], str] | None,
    call: Callable[[Insn], str | None] | None,
) -> str:
    row = insn.opcode
    if row is None:
        return _unknown(insn)
    match row.form:
        case Form.LD_IMM64:
            value = insn.imm & 0xFFFFFFFF | (following.imm & 0xFFFFFFFF if following else 0) << 32
            return f"r{insn.dst} = {imm64(insn, value) if imm64 else f'0x{value:x}'}"
        case Form.CALL:
            return f"call {(call(insn) if call else None) or _callee(insn)}"
        case Form.ATOMIC:
            return _atomic(insn, row)
        case Form.ALU:
            return _alu(insn, row)
        case _:
            return _simple(insn, row)


def _unknown(insn: Insn) -> str:
    cls = insn.cls
    return f"{_BUG.get(cls, 'BUG_')}{insn.code:02x}"


def _callee(insn: Insn) -> str:
    if insn.src == PseudoSrc.CALL:
        return f"pc{insn.imm:+d}"
    if insn.src == PseudoSrc.KFUNC_CALL:
        return f"kernel-function#{insn.imm}"
    name = helper_name(insn.imm) if insn.src == PseudoSrc.CALL_HELPER else "unknown"
    return f"{name}#{insn.imm}"


def _alu(insn: Insn, row: Opcode) -> str:
    w = "w" if row.bits == 32 else "r"
    symbol = row.signed_symbol if row.signed_symbol and insn.off == 1 else row.symbol
    if not row.reg:
        return f"{w}{insn.dst} {symbol} {insn.imm}"
    if row.op is Alu.MOV and row.bits == 64 and insn.off == 1:
        space = insn.imm & 0xFFFFFFFF
        return f"r{insn.dst} = addr_space_cast(r{insn.src}, {space >> 16}, {space & 0xFFFF})"
    if row.op is Alu.MOV and row.bits == 64 and insn.off == -1:
        return f"r{insn.dst} = &(void __percpu *)(r{insn.src})"
    cast = f"(s{insn.off})" if row.op is Alu.MOV and insn.off in (8, 16, 32) else ""
    return f"{w}{insn.dst} {symbol} {cast}{w}{insn.src}"


def _simple(insn: Insn, row: Opcode) -> str:
    dst, src, off, imm = insn.dst, insn.src, insn.off, insn.imm
    w = "w" if row.bits == 32 else "r"
    match row.form:
        case Form.NEG:
            return f"{w}{dst} = -{w}{dst}"
        case Form.END | Form.BSWAP:
            return f"r{dst} = {row.symbol}{imm} r{dst}"
        case Form.JUMP:
            operand = f"{w}{src}" if row.reg else f"0x{imm & 0xFFFFFFFF:x}"
            return f"if {w}{dst} {row.symbol} {operand} goto pc{off:+d}"
        case Form.GOTO:
            return f"{row.symbol} pc{off if row.symbol == 'goto' else imm:+d}"
        case Form.MAY_GOTO:
            return f"may_goto pc{off:+d}"
        case Form.CALLX:
            return f"callx r{dst}"
        case Form.EXIT:
            return "exit"
        case Form.LOAD:
            return f"r{dst} = *({row.symbol} *)(r{src} {off:+d})"
        case Form.STORE:
            return f"*({row.symbol} *)(r{dst} {off:+d}) = {f'r{src}' if row.reg else imm}"
        case Form.LD_ABS:
            return f"r0 = *({row.symbol} *)skb[{imm}]"
        case Form.LD_IND:
            return f"r0 = *({row.symbol} *)skb[r{src} + {imm}]"
        case _:
            return _unknown(insn)


def _atomic(insn: Insn, row: Opcode) -> str:
    dst, src, op = insn.dst, insn.src, insn.imm
    where = f"({row.symbol} *)(r{dst} {insn.off:+d})"
    wide = "64" if row.size == 8 else ""
    if op == Atomic.LOAD_ACQ:
        return f"r{dst} = load_acquire(({row.symbol} *)(r{src} {insn.off:+d}))"
    if op == Atomic.STORE_REL:
        return f"store_release({where}, r{src})"
    if row.size < 4:
        return _unknown(insn)
    if op in _LOCK_SYMBOLS:
        return f"lock *{where} {_LOCK_SYMBOLS[Atomic(op)]} r{src}"
    if op in _FETCH_NAMES:
        return f"r{src} = atomic{wide}_fetch_{_FETCH_NAMES[Atomic(op)]}({where}, r{src})"
    if op == Atomic.CMPXCHG:
        return f"r0 = atomic{wide}_cmpxchg({where}, r0, r{src})"
    if op == Atomic.XCHG:
        return f"r{src} = atomic{wide}_xchg({where}, r{src})"
    return _unknown(insn)
