"""Verifier logs of instructions that stand for what the kernel does not have, put into words.

CO-RE relocations that cannot be met, and kernel functions that are missing, become calls of helpers that
do not exist. Where such a call is reached, the log says what was asked for, as libbpf's `fixup_verifier_log`
does.
"""

import re
from collections.abc import Mapping

from engine.btf import Btf
from engine.btf.core import TYPE_KINDS
from engine.btf.corematch import parse_spec
from engine.btf.corepatch import POISON
from engine.btf.ext import CoreKind, CoreRelo
from engine.btf.types import Enum
from engine.errors import KernelError
from engine.loader.spec import ProgDef

__all__ = ["KFUNC_POISON", "explain", "format_relocation"]

KFUNC_POISON = 2002000000
"""Helper number of a call of a kernel function that is missing."""

_LINES = re.compile(
    rf"(?P<number>\d+): \(85\) call (?:bpf_)?unknown#(?P<helper>{POISON}|{KFUNC_POISON})[^\n]*\n"
    rf"invalid func unknown#(?P=helper)\n"
)
_WORDS: Mapping[CoreKind, str] = {
    CoreKind.FIELD_BYTE_OFFSET: "byte_off",
    CoreKind.FIELD_BYTE_SIZE: "byte_sz",
    CoreKind.FIELD_EXISTS: "field_exists",
    CoreKind.FIELD_SIGNED: "signed",
    CoreKind.FIELD_LSHIFT_U64: "lshift_u64",
    CoreKind.FIELD_RSHIFT_U64: "rshift_u64",
    CoreKind.TYPE_ID_LOCAL: "local_type_id",
    CoreKind.TYPE_ID_TARGET: "target_type_id",
    CoreKind.TYPE_EXISTS: "type_exists",
    CoreKind.TYPE_SIZE: "type_size",
    CoreKind.TYPE_MATCHES: "type_matches",
    CoreKind.ENUMVAL_EXISTS: "enumval_exists",
    CoreKind.ENUMVAL_VALUE: "enumval_value",
}


def format_relocation(btf: Btf, relo: CoreRelo) -> str:
    """`<byte_off> [7] struct task_struct.arr[2] (0:1:2 @ offset 12)` (`bpf_core_format_spec`)."""
    spec = parse_spec(btf, relo)
    record = btf.type(relo.type_id)
    text = f"<{_WORDS[relo.kind]}> [{relo.type_id}] {record.kind.name.lower()} {record.name or '<anon>'}"
    if relo.kind in TYPE_KINDS:
        return text
    if relo.kind in (CoreKind.ENUMVAL_EXISTS, CoreKind.ENUMVAL_VALUE):
        step = spec.steps[0]
        enum = btf.resolve(relo.type_id)
        value = enum.values[step.index].value if isinstance(enum, Enum) else 0
        return f"{text}::{step.name} = {value}"
    for number, step in enumerate(spec.steps):
        if step.name is not None:
            text += f".{step.name}"
        elif number or step.index:
            text += f"[{step.index}]"
    byte, bit = divmod(spec.bit_offset, 8)
    return f"{text} ({relo.access} @ offset {byte}{f'.{bit}' if bit else ''})"


def explain(log: str, prog: ProgDef, types: Btf | None) -> str:
    """`log` of program `prog`, with what poisoned calls stand for in their place."""

    def words(found: re.Match[str]) -> str:
        at = int(found["number"])
        if int(found["helper"]) == KFUNC_POISON:
            name = next((reloc.name for reloc in prog.relocs if reloc.insn == at), "?")
            return f"{at}: <invalid kfunc call>\nkfunc '{name}' is referenced but wasn't resolved\n"
        relo = next((relo for relo in prog.core if relo.insn_off == at), None)
        if relo is None or types is None:
            return found[0]
        try:
            asked = format_relocation(types, relo)
        except KernelError:
            return found[0]
        return f"{at}: <invalid CO-RE relocation>\nfailed to resolve CO-RE relocation {asked}\n"

    return _LINES.sub(words, log)
