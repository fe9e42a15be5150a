"""Externs: `.kconfig` values and `.ksyms` symbols, found in BTF and in the symbol table.

Values of `.kconfig` are laid out in one read-only array, aligned and in order of alignment, size and name, as
libbpf does (`bpf_object__collect_externs`).
"""

import errno

from engine.btf import Btf
from engine.btf.types import Array, DataSec, Encoding, Enum, Func, Int, Kind, Var
from engine.errors import KernelError
from engine.loader.elf import Bind, Elf
from engine.loader.spec import Extern, ExternKind

__all__ = ["KCONFIG_SECTION", "KSYMS_SECTION", "collect_externs"]

KCONFIG_SECTION = ".kconfig"
KSYMS_SECTION = ".ksyms"
_MAX_TEXT = 1 << 16
"""Bytes of the largest text that a configuration value may be read into."""


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
        _check_config(btf, name, record.type)
        return Extern(name, ExternKind.KCONFIG, record.type, weak, size=btf.size_of(record.type))
    raise KernelError(errno.EINVAL, f"extern '{name}' is of unexpected kind {record.kind.name}")


def _check_config(btf: Btf, name: str, type_id: int) -> None:
    """Refuse types that no configuration value has (libbpf's `find_kcfg_type`), and texts beyond reason."""
    record = btf.resolve(type_id)
    match record:
        case Array():
            element = btf.resolve(record.type)
            known = record.count > 0 and isinstance(element, Int) and element.size == 1
            if known and record.count > _MAX_TEXT:
                raise KernelError(errno.E2BIG, f"extern (kcfg) '{name}' of {record.count} bytes is too big")
        case Int():
            known = record.size == 1 or (record.size in (2, 4, 8) and not record.encoding & Encoding.BOOL)
        case Enum():
            known = record.name == "libbpf_tristate" and record.size in (4, 8)
        case _:
            known = False
    if not known:
        raise KernelError(errno.EOPNOTSUPP, f"extern (kcfg) '{name}': type is unsupported")
