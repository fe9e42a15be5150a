"""Maps that no program defines: legacy `maps` sections, and the sections of global variables.

maps:   u32 type, key_size, value_size, max_entries, flags [, id, pinning]     (struct bpf_map_def)
.data, .rodata, .bss and .data.NAME, .rodata.NAME, .bss.NAME: arrays of one element
"""

import errno
from struct import unpack_from

from engine.abi.bpf import MapCreateFlag, MapType
from engine.btf import Btf
from engine.btf.types import DataSec, Kind, Linkage, Var
from engine.errors import KernelError
from engine.loader.elf import Elf, Section, SectionFlag, SectionType, SymbolType
from engine.loader.spec import MapDef

__all__ = ["data_maps", "internal_map_name", "legacy_maps"]

OBJ_NAME_LEN = 16
_LEGACY_MIN, _LEGACY_MAX = 20, 28
_MAX_VALUE = 1 << 30


def legacy_maps(elf: Elf) -> dict[tuple[int, int], MapDef]:
    """Maps of sections `maps` and `maps/...` by (section index, offset). Raises KernelError(EINVAL)."""
    found: dict[tuple[int, int], MapDef] = {}
    sections = {s.index: s for s in elf.sections if s.name == "maps" or s.name.startswith("maps/")}
    for symbol in elf.symbols:
        if symbol.section not in sections or symbol.type not in (SymbolType.OBJECT, SymbolType.NOTYPE):
            continue
        section = sections[symbol.section]
        if not symbol.name or section.type != SectionType.PROGBITS:
            continue
        size = symbol.size or _LEGACY_MIN
        if size < _LEGACY_MIN or symbol.value + size > len(section.data):
            raise KernelError(errno.EINVAL, f"map '{symbol.name}': definition of {size} bytes is too small")
        if any(section.data[symbol.value + _LEGACY_MAX : symbol.value + size]):
            raise KernelError(errno.EINVAL, f"map '{symbol.name}': unrecognized, non-zero options")
        words = [*unpack_from(f"<{min(size, _LEGACY_MAX) // 4}I", section.data, symbol.value), 0, 0]
        kind, key_size, value_size, max_entries, flags, _, pinning, *_ = words
        known = MapType(kind) if kind in MapType._value2member_map_ else kind
        found[section.index, symbol.value] = MapDef(
            symbol.name, known, key_size, value_size, max_entries, flags, pin_by_name=pinning == 1
        )
    return dict(sorted(found.items()))


def internal_map_name(object_name: str, section: str) -> str:
    """Name of the map of `section`: 15 bytes, the object's name in front where there is room."""
    suffix = max(7, len(section))
    suffix = min(suffix, OBJ_NAME_LEN - 1)
    prefix = 0 if "." in section[1:] else min(OBJ_NAME_LEN - suffix - 1, len(object_name))
    name = (object_name[:prefix] + section[:suffix])[: OBJ_NAME_LEN - 1]
    return "".join(c if c in "_." or (c.isascii() and c.isalnum()) else "_" for c in name)


def data_maps(elf: Elf, btf: Btf | None, object_name: str) -> dict[int, MapDef]:
    """Maps of global variables by section index. Raises KernelError(E2BIG)."""
    found = {}
    for section in elf.sections:
        kind = _kind(section)
        if kind is None or not section.size:
            continue
        if section.size > _MAX_VALUE:
            raise KernelError(errno.E2BIG, f"section '{section.name}' of {section.size} bytes is too big")
        type_id = (btf.find(section.name, Kind.DATASEC) if btf is not None else None) or 0
        flags = MapCreateFlag.RDONLY_PROG if kind == ".rodata" else 0
        if btf is not None and type_id and _has_global(btf, type_id):
            flags |= MapCreateFlag.MMAPABLE
        found[section.index] = MapDef(
            internal_map_name(object_name, section.name),
            MapType.ARRAY,
            4,
            section.size,
            1,
            flags,
            btf_value_type_id=type_id,
            content=section.data if kind != ".bss" else None,
            frozen=kind == ".rodata",
            section=section.name,
        )
    return found


def _kind(section: Section) -> str | None:
    """`.data`, `.rodata` or `.bss` for a section of variables, None for others."""
    if not section.flags & SectionFlag.ALLOC:
        return None
    for name, kind in (
        (".data", SectionType.PROGBITS),
        (".rodata", SectionType.PROGBITS),
        (".bss", SectionType.NOBITS),
    ):
        if section.type == kind and (section.name == name or section.name.startswith(name + ".")):
            return name
    return None


def _has_global(btf: Btf, type_id: int) -> bool:
    """Whether a variable of the section can be seen from outside of the object (`map_is_mmapable`)."""
    datasec = btf.type(type_id)
    for placed in datasec.vars if isinstance(datasec, DataSec) else ():
        var = btf.type(placed.type)
        if isinstance(var, Var) and var.linkage != Linkage.STATIC:
            return True
    return False
