"""Makes an object's BTF fit for loading: sizes and offsets of sections, externs, hidden functions.

Compilers leave the size of a DATASEC, and the offsets of its global variables, to the linker; externs have no
place in a kernel's BTF (libbpf's `btf_fixup_datasec` and `bpf_object__sanitize_btf`).
"""

import errno
from dataclasses import replace

from engine.btf import Btf
from engine.btf.build import replace_records
from engine.btf.types import DataSec, Func, FuncProto, Kind, Linkage, SecVar, Type, Var
from engine.errors import KernelError
from engine.loader.elf import Bind, Elf, SymbolType, Visibility
from engine.loader.externs import KCONFIG_SECTION, KSYMS_SECTION
from engine.loader.spec import Extern, ExternKind

__all__ = ["fix_datasecs", "fix_externs"]

_UNNAMED = "dummy_ksym"


def fix_datasecs(elf: Elf, btf: Btf) -> Btf:
    """`btf` with sizes and offsets of the ELF file. Raises KernelError(ENOENT, EINVAL)."""
    symbols = {
        symbol.name: symbol
        for symbol in elf.symbols
        if symbol.bind in (Bind.GLOBAL, Bind.WEAK) and symbol.type == SymbolType.OBJECT and symbol.section
    }
    changed: dict[int, Type] = {}
    for type_id, record in enumerate(btf.types):
        if not isinstance(record, DataSec) or record.size or record.name in (KCONFIG_SECTION, KSYMS_SECTION):
            continue
        section = elf.section(record.name)
        if section is None or not section.size:
            raise KernelError(errno.ENOENT, f"Invalid size for section {record.name}: 0 bytes")
        placed = []
        for var in record.vars:
            target = btf.type(var.type)
            if not isinstance(target, Var):
                raise KernelError(errno.EINVAL, f"Non-VAR type seen in section {record.name}")
            if target.linkage == Linkage.STATIC:
                placed.append(var)
                continue
            symbol = symbols.get(target.name)
            if symbol is None:
                raise KernelError(errno.ENOENT, f"No symbol found for variable '{target.name}'")
            placed.append(SecVar(var.type, symbol.value & 0xFFFFFFFF, var.size))
            if symbol.visibility in (Visibility.INTERNAL, Visibility.HIDDEN):
                changed[var.type] = replace(target, linkage=Linkage.STATIC)
        placed.sort(key=lambda var: var.offset)
        changed[type_id] = DataSec(record.name, section.size & 0xFFFFFFFF, tuple(placed))
    return replace_records(btf, changed) if changed else btf


def fix_externs(elf: Elf, btf: Btf, externs: dict[str, Extern]) -> Btf:
    """`btf` with externs turned into variables of known size, and hidden functions into static ones."""
    changed: dict[int, Type] = {}
    hidden = {
        symbol.name
        for symbol in elf.symbols
        if symbol.type == SymbolType.FUNC and symbol.visibility in (Visibility.INTERNAL, Visibility.HIDDEN)
    }
    int_id = next((i for i, r in enumerate(btf.types) if r.kind is Kind.INT and btf.size_of(i) == 4), 0)
    for type_id, record in enumerate(btf.types):
        if isinstance(record, Func) and record.linkage == Linkage.GLOBAL and record.name in hidden:
            changed[type_id] = replace(record, linkage=Linkage.STATIC)
        elif isinstance(record, DataSec) and record.name == KCONFIG_SECTION:
            changed |= _kconfig(btf, type_id, record, externs)
        elif isinstance(record, DataSec) and record.name == KSYMS_SECTION:
            changed |= _ksyms(btf, type_id, record, int_id)
    return replace_records(btf, changed) if changed else btf


def _kconfig(btf: Btf, type_id: int, record: DataSec, externs: dict[str, Extern]) -> dict[int, Type]:
    changed: dict[int, Type] = {}
    placed = []
    for var in record.vars:
        target = btf.type(var.type)
        extern = externs.get(target.name)
        if extern is None or extern.kind is not ExternKind.KCONFIG or not isinstance(target, Var):
            raise KernelError(errno.ENOENT, f"failed to find extern definition for BTF var '{target.name}'")
        changed[var.type] = replace(target, linkage=Linkage.GLOBAL)
        placed.append(SecVar(var.type, extern.offset, extern.size))
    placed.sort(key=lambda var: var.offset)
    size = max((var.offset + var.size for var in placed), default=0)
    changed[type_id] = DataSec(record.name, size, tuple(placed))
    return changed


def _ksyms(btf: Btf, type_id: int, record: DataSec, int_id: int) -> dict[int, Type]:
    """Kernel symbols become plain ints, functions among them; nothing reads the section."""
    changed: dict[int, Type] = {}
    placed = []
    for number, var in enumerate(record.vars):
        target = btf.type(var.type)
        if not int_id:
            raise KernelError(errno.EINVAL, "couldn't find suitable INT type for externs")
        if isinstance(target, Var):
            changed[var.type] = Var(target.name, int_id, Linkage.GLOBAL)
            placed.append(SecVar(var.type, number * 4, 4))
        elif isinstance(target, Func):
            changed[var.type] = replace(target, linkage=Linkage.GLOBAL)
            proto = btf.type(target.type)
            if isinstance(proto, FuncProto):
                # Declarations need no names of parameters, definitions do.
                params = (
                    row if row.name or not row.type else replace(row, name=_UNNAMED) for row in proto.params
                )
                changed[target.type] = replace(proto, params=tuple(params))
    changed[type_id] = DataSec(record.name, max(4, 4 * len(record.vars)), tuple(placed))
    return changed
