"""Externs: `.kconfig` values and `.ksyms` symbols, found in BTF and in the symbol table.

Values of `.kconfig` are laid out in one read-only array, aligned and in order of alignment, size and name, as
libbpf does (`bpf_object__collect_externs`).
"""

import errno

from engine.btf import Btf
from engine.btf.types import DataSec, Func, Kind, Var
from engine.errors import KernelError
from engine.loader.elf import Bind, Elf
from engine.loader.spec import Extern, ExternKind

__all__ = ["KCONFIG_SECTION", "KSYMS_SECTION", "collect_externs"]

KCONFIG_SECTION = ".kconfig"
KSYMS_SECTION = ".ksyms"


def collect_externs(elf: Elf, btf: Btf | None) -> dict[str, Extern]:
    """Externs by name. Raises KernelError(EINVAL)."""
    if btf is None:
        return {}
    types: dict[str, tuple[str, int]] = {}
    for section in (KCONFIG_SECTION, KSYMS_SECTION):
        sec_id = btf.find(section, Kind.DATASEC)
        datasec = btf.type(sec_id) if sec_id is not None else None
        for placed in datasec.vars if isinstance(datasec, DataSec) else ():
            types[btf.type(placed.type).name] = (section, placed.type)
    found: dict[str, Extern] = {}
    for symbol in elf.symbols:
        if symbol.section == 0 and symbol.bind in (Bind.GLOBAL, Bind.WEAK) and symbol.name in types:
            section, type_id = types[symbol.name]
            found[symbol.name] = _extern(btf, section, symbol.name, type_id, symbol.bind == Bind.WEAK)
    kconfig = [extern for extern in found.values() if extern.kind is ExternKind.KCONFIG]
    offset = 0
    for extern in sorted(kconfig, key=lambda e: (-btf.align_of(e.type_id), e.size, e.name)):
        align = btf.align_of(extern.type_id)
        extern.offset = (offset + align - 1) // align * align
        offset = extern.offset + extern.size
    return found


def _extern(btf: Btf, section: str, name: str, type_id: int, weak: bool) -> Extern:
    record = btf.type(type_id)
    if section == KSYMS_SECTION:
        if isinstance(record, Func):
            return Extern(name, ExternKind.KFUNC, type_id, weak)
        if isinstance(record, Var):
            kind = ExternKind.KSYM_ADDRESS if btf.is_void(record.type) else ExternKind.KSYM_VARIABLE
            return Extern(name, kind, record.type, weak)
    elif isinstance(record, Var):
        return Extern(name, ExternKind.KCONFIG, record.type, weak, size=btf.size_of(record.type))
    raise KernelError(errno.EINVAL, f"extern '{name}' is of unexpected kind {record.kind.name}")
