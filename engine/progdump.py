"""A loaded program as text: `bpftool prog dump xlated`, and its machine code as assembler.

Functions have their names, instructions the source lines they begin, maps their ids, calls their targets.
"""

from collections.abc import Iterator
from functools import partial

from engine.btf.decl import signature
from engine.helpers import HELPERS
from engine.isa import LD_IMM64, Insn, PseudoSrc, disasm
from engine.progs import Prog

__all__ = ["assembly", "xlated"]


def xlated(prog: Prog, *, opcodes: bool = False, source: bool = True) -> Iterator[str]:
    """Lines, without newlines, as bpftool prints them; `opcodes` adds the bytes of each instruction.

    `source` puts the source line in front of the instructions that begin it.
    """
    names = _function_names(prog)
    types = {info.insn_off: info.type_id for info in prog.spec.func_info} if prog.btf is not None else {}
    signatures = {start: signature(prog.btf, type_id) for start, type_id in types.items()}
    lines = {info.insn_off: info.text.strip() for info in prog.spec.line_info} if source else {}
    index = 0
    while index < len(prog.xlated):
        insn = prog.xlated[index]
        wide = insn.code == LD_IMM64
        if index in names:
            yield f"{signatures.get(index) or names[index]}:"
        if index in lines:
            yield f"; {lines[index]}"
        following = prog.xlated[index + 1] if wide else None
        text = disasm(
            insn,
            following,
            imm64=partial(_operand, prog, index),
            call=partial(_callee, prog, index, names),
        )
        yield f"{index:4}: {text}"
        if opcodes:
            slots = [insn] if following is None else [insn, following]
            yield "       " + b"".join(slot.encode() for slot in slots).hex(" ")
        index += 2 if wide else 1


def _function_names(prog: Prog) -> dict[int, str]:
    """Names of functions by first instruction; none for a single function without debug information."""
    named = {info.insn_off: info.name for info in prog.spec.func_info}
    subprogs = prog.verified.subprogs
    if not named and len(subprogs) == 1:
        return {}
    numbered = {sub.start: f"func_{number}" for number, sub in enumerate(subprogs)}
    return {start: named.get(start) or name for start, name in numbered.items()}


def _operand(prog: Prog, index: int, insn: Insn, value: int) -> str:
    aux = prog.verified.aux[index]
    if aux.map is not None:
        if insn.src in (PseudoSrc.MAP_VALUE, PseudoSrc.MAP_IDX_VALUE):
            return f"map[id:{aux.map.id}][0]+{aux.map_off}"
        return f"map[id:{aux.map.id}]"
    if insn.src == PseudoSrc.FUNC:
        return f"subprog[{insn.imm:+d}]"
    return f"0x{value:x}"


def _callee(prog: Prog, index: int, names: dict[int, str], insn: Insn) -> str | None:
    target = prog.verified.aux[index].target
    if insn.src == PseudoSrc.CALL and target in names:
        return f"pc{insn.imm:+d}#{names[target]}"
    if insn.src == PseudoSrc.CALL_HELPER and insn.imm in HELPERS:
        return f"{HELPERS[insn.imm].proto.name}#{insn.imm}"
    return None


def assembly(prog: Prog) -> str:
    """The machine code as assembler text; takes as long as compiling it did."""
    from engine.jit.bpf import bpf_assembly

    return bpf_assembly(prog.verified, HELPERS)
