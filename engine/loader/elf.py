"""A strict reader of ELF64 little-endian relocatable files: sections, symbols, relocations.

Every offset is checked before it is used, so that a hostile file costs no more than its own size.
All errors are KernelError: ENOEXEC for what is no BPF object, EINVAL for a broken one, EFBIG and E2BIG for a
huge one.
"""

import errno
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct

from engine.errors import KernelError

__all__ = [
    "MAX_OBJECT",
    "Bind",
    "Elf",
    "Relocation",
    "RelocationType",
    "Section",
    "SectionFlag",
    "SectionType",
    "Symbol",
    "SymbolType",
    "Visibility",
    "read_elf",
]

MAX_OBJECT = 64 << 20
"""Bytes of the largest object that is looked at."""

_MAX_SYMBOLS, _MAX_RELOCATIONS = 1 << 17, 1 << 20
"""More than any program of a million instructions needs; each costs some hundred bytes of memory."""

_EHDR = Struct("<16sHHIQQQIHHHHHH")
_SHDR = Struct("<IIQQQQIIQQ")
_SYM = Struct("<IBBHQQ")
_REL = Struct("<QQ")
_RELA = Struct("<QQq")
_EM_NONE, _EM_BPF = 0, 247
_ET_REL = 1
_SHN_LORESERVE = 0xFF00


class SectionType(IntEnum):
    """`sh_type`, the ones that matter here."""

    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    RELA = 4
    NOBITS = 8
    REL = 9


class SectionFlag(IntFlag):
    """`sh_flags`."""

    WRITE = 1
    ALLOC = 2
    EXECINSTR = 4
    COMPRESSED = 0x800


class Bind(IntEnum):
    """Binding of a symbol."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2


class SymbolType(IntEnum):
    """Type of a symbol."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    FILE = 4


class Visibility(IntEnum):
    """Visibility of a symbol."""

    DEFAULT = 0
    INTERNAL = 1
    HIDDEN = 2
    PROTECTED = 3


class RelocationType(IntEnum):
    """`R_BPF_*` (llvm/include/llvm/BinaryFormat/ELFRelocs/BPF.def); `GNU_` is binutils' before 2.41."""

    NONE = 0
    B64_64 = 1
    ABS64 = 2
    ABS32 = 3
    NODYLD32 = 4
    B64_32 = 10
    GNU_DATA64 = 12


@dataclass(frozen=True, slots=True)
class Section:
    """One section; `data` is empty for NOBITS, whose `size` is what it will have in memory."""

    index: int
    name: str
    type: int
    flags: int
    size: int
    link: int
    info: int
    data: bytes

    @property
    def executable(self) -> bool:
        """Whether it holds instructions."""
        return self.type == SectionType.PROGBITS and bool(self.flags & SectionFlag.EXECINSTR)


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol. `section` is its section's index, 0 if undefined, None if it has none (ABS, COMMON)."""

    name: str
    bind: int
    type: int
    visibility: int
    section: int | None
    value: int
    size: int


@dataclass(frozen=True, slots=True)
class Relocation:
    """At byte `offset` of its section, something depends on `symbol`; `addend` is 0 in REL sections."""

    offset: int
    type: int
    symbol: Symbol
    addend: int = 0


@dataclass(slots=True)
class Elf:
    """The whole file. `relocations` is by index of the section they apply to."""

    sections: list[Section]
    symbols: list[Symbol]
    relocations: dict[int, list[Relocation]]

    def section(self, name: str) -> Section | None:
        """First section called `name`."""
        return next((section for section in self.sections if section.name == name), None)


def read_elf(data: bytes) -> Elf:
    """Read `data`. Raises KernelError(ENOEXEC, EINVAL, EFBIG, E2BIG)."""
    sections = _sections(data)
    table = next((section for section in sections if section.type == SectionType.SYMTAB), None)
    symbols = _symbols(sections, table) if table is not None else []
    relocations: dict[int, list[Relocation]] = {}
    left = _MAX_RELOCATIONS
    for section in sections:
        if section.type in (SectionType.REL, SectionType.RELA):
            if not 0 < section.info < len(sections):
                raise KernelError(errno.EINVAL, f"ELF: {section.name} relocates no section")
            if not sections[section.info].flags & SectionFlag.ALLOC:
                continue
            if table is None or section.link != table.index:
                raise KernelError(errno.EINVAL, f"ELF: {section.name} has no symbol table")
            left -= len(section.data) // _REL.size
            if left < 0:
                raise KernelError(errno.E2BIG, f"ELF: more than {_MAX_RELOCATIONS} relocations")
            relocations.setdefault(section.info, []).extend(_relocations(section, symbols))
    return Elf(sections, symbols, relocations)


def _header(data: bytes) -> tuple[int, int, int]:
    """Offset and number of section headers, index of the section with their names."""
    if len(data) > MAX_OBJECT:
        raise KernelError(errno.EFBIG, f"object of {len(data)} bytes: at most {MAX_OBJECT} are loaded")
    if data[:4] != b"\x7fELF":
        raise KernelError(errno.ENOEXEC, "not an ELF object")
    if len(data) < _EHDR.size:
        raise KernelError(errno.ENOEXEC, "ELF: the object is cut off")
    ident, kind, machine, *_, shoff, _, _, _, _, shentsize, shnum, shstrndx = _EHDR.unpack_from(data)
    if ident[4] != 2:
        raise KernelError(errno.ENOEXEC, "ELF: not a 64-bit object")
    if ident[5] != 1:
        raise KernelError(errno.ENOEXEC, "ELF: big-endian BPF objects cannot run on this machine")
    if kind != _ET_REL or machine not in (_EM_NONE, _EM_BPF):
        raise KernelError(
            errno.ENOEXEC, f"ELF: not a relocatable BPF object (type {kind}, machine {machine})"
        )
    if not shoff or not shnum or shentsize != _SHDR.size:
        raise KernelError(errno.EINVAL, "ELF: no section headers")
    if shoff + shnum * _SHDR.size > len(data):
        raise KernelError(errno.EINVAL, "ELF: the object is cut off: section headers lie outside of it")
    if shstrndx >= shnum:
        raise KernelError(errno.EINVAL, "ELF: no section names")
    return shoff, shnum, shstrndx


def _sections(data: bytes) -> list[Section]:
    shoff, shnum, shstrndx = _header(data)
    rows = list(_SHDR.iter_unpack(data[shoff : shoff + shnum * _SHDR.size]))
    if sum(row[5] for row in rows if row[1] not in (0, SectionType.NOBITS)) > 2 * len(data):
        raise KernelError(errno.EINVAL, "ELF: sections lie on one another")
    contents: list[bytes] = []
    for index, (_, kind, flags, _, offset, size, *_) in enumerate(rows):
        if index == 0 or kind in (0, SectionType.NOBITS):
            contents.append(b"")
            continue
        if offset + size > len(data):
            raise KernelError(errno.EINVAL, f"ELF: the object is cut off: section {index} lies outside of it")
        if flags & SectionFlag.COMPRESSED and flags & SectionFlag.ALLOC:
            raise KernelError(errno.EINVAL, f"ELF: section {index} is compressed")
        contents.append(data[offset : offset + size])
    names = _Strings(contents[shstrndx])
    return [
        Section(index, names.text(name), kind, flags, size, link, info, contents[index])
        for index, (name, kind, flags, _, _, size, link, info, _, _) in enumerate(rows)
    ]


class _Strings:
    """A string table. What is read of it is bounded by a multiple of its size."""

    def __init__(self, table: bytes) -> None:
        self._table = table
        self._left = 16 * len(table) + 4096

    def text(self, offset: int) -> str:
        """The text at `offset`."""
        end = self._table.find(b"\0", offset)
        if offset >= len(self._table) or end < 0:
            if offset == 0:
                return ""
            raise KernelError(errno.EINVAL, f"ELF: a name at {offset} lies outside of its string table")
        self._left -= end - offset
        if self._left < 0:
            raise KernelError(errno.EINVAL, "ELF: names lie on one another")
        return self._table[offset:end].decode("utf-8", "surrogateescape")


def _symbols(sections: list[Section], table: Section) -> list[Symbol]:
    if not 0 < table.link < len(sections) or len(table.data) % _SYM.size:
        raise KernelError(errno.EINVAL, "ELF: the symbol table is broken")
    if len(table.data) // _SYM.size > _MAX_SYMBOLS:
        raise KernelError(errno.E2BIG, f"ELF: more than {_MAX_SYMBOLS} symbols")
    names = _Strings(sections[table.link].data)
    found: list[Symbol] = []
    for name, info, other, shndx, value, size in _SYM.iter_unpack(table.data):
        if shndx < _SHN_LORESERVE and shndx >= len(sections):
            raise KernelError(
                errno.EINVAL, f"ELF: symbol {len(found)} is in section {shndx}, which is missing"
            )
        section = shndx if shndx < _SHN_LORESERVE else None
        found.append(Symbol(names.text(name), info >> 4, info & 0xF, other & 3, section, value, size))
    return found


def _relocations(section: Section, symbols: list[Symbol]) -> list[Relocation]:
    layout = _REL if section.type == SectionType.REL else _RELA
    if len(section.data) % layout.size:
        raise KernelError(errno.EINVAL, f"ELF: {section.name} is cut off")
    found: list[Relocation] = []
    for offset, info, *addend in layout.iter_unpack(section.data):
        if info >> 32 >= len(symbols):
            raise KernelError(
                errno.EINVAL, f"ELF: {section.name} names symbol {info >> 32}, which is missing"
            )
        found.append(Relocation(offset, info & 0xFFFFFFFF, symbols[info >> 32], *addend))
    return found
