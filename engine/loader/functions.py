"""The functions of an object: where their instructions are, and what their relocations mean.

Sections of instructions are cut at STT_FUNC symbols. A relocation becomes a call of another function, or a
`Reloc` against a map, a section of data or an extern (libbpf's `bpf_program__record_reloc`).
"""

import errno
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct

from engine.errors import KernelError
from engine.isa.opcodes import PseudoSrc
from engine.loader.elf import Bind, Elf, Relocation, RelocationType, Section, Symbol, SymbolType, Visibility
from engine.loader.gnu import holds_sums
from engine.loader.spec import Extern, ExternKind, Reloc, RelocKind

__all__ = ["CALL", "LD_IMM64", "Call", "Function", "Functions", "Targets"]

SLOT = Struct("<BBhi")
"""One instruction: code, registers (src in the upper half), offset, immediate."""
CALL = 0x85
LD_IMM64 = 0x18


@dataclass(slots=True)
class Function:
    """A function: `count` instructions from `start` of section `section`.

    `hidden` functions are verified as if they were static, though other sections may call them.
    """

    name: str
    section: Section
    start: int
    count: int
    is_global: bool
    hidden: bool

    @property
    def insns(self) -> bytes:
        """Its instructions as they are in the file."""
        return self.section.data[self.start * 8 : (self.start + self.count) * 8]


@dataclass(frozen=True, slots=True)
class Call:
    """Instruction `insn` calls function `target`, or loads its address."""

    insn: int
    target: Function


@dataclass(slots=True)
class Targets:
    """What relocations may name: maps by (section, offset), sections of data by index, externs by name."""

    maps: Mapping[tuple[int, int], str]
    data: Mapping[int, str]
    externs: Mapping[str, Extern]


@dataclass(slots=True)
class _Sites:
    calls: list[Call] = field(default_factory=list)
    relocs: list[Reloc] = field(default_factory=list)


class Functions:
    """All functions of an object by section and place."""

    def __init__(self, elf: Elf, targets: Targets) -> None:
        """Collect them. Raises KernelError(EINVAL) for a symbol that is not on whole instructions."""
        self._elf = elf
        self._targets = targets
        self._sums = holds_sums(elf)
        self._by_section: dict[int, list[Function]] = {}
        for symbol in elf.symbols:
            if symbol.type == SymbolType.FUNC and symbol.section:
                section = elf.sections[symbol.section]
                if section.executable:
                    self._by_section.setdefault(section.index, []).append(_function(section, symbol))
        for functions in self._by_section.values():
            functions.sort(key=lambda function: function.start)
        self._starts = {i: [f.start for f in functions] for i, functions in self._by_section.items()}
        self._relocations = {
            index: sorted(elf.relocations.get(index, ()), key=lambda relocation: relocation.offset)
            for index in self._by_section
        }
        self._offsets = {i: [r.offset for r in found] for i, found in self._relocations.items()}
        self._known: dict[tuple[int, int, int], _Sites] = {}

    def __iter__(self) -> Iterator[Function]:
        for index in sorted(self._by_section):
            yield from self._by_section[index]

    def find(self, section: int, start: int) -> Function | None:
        """The function that starts at instruction `start` of a section."""
        starts = self._starts.get(section, [])
        at = bisect_left(starts, start)
        return self._by_section[section][at] if at < len(starts) and starts[at] == start else None

    def sites(self, function: Function) -> tuple[list[Call], list[Reloc]]:
        """Calls and relocations of `function`, instructions counted from its start."""
        # Two names of one place may differ in size.
        key = (function.section.index, function.start, function.count)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._scan(function)
        return known.calls, known.relocs

    def _scan(self, function: Function) -> _Sites:
        found = _Sites()
        for at, (code, regs, _, imm) in self._interesting(function):
            relocation = self._at(function, at)
            if relocation is not None:
                self._relocated(function, at, relocation, found)
            elif (code, regs >> 4) in ((CALL, PseudoSrc.CALL), (LD_IMM64, PseudoSrc.FUNC)):
                start = function.start + at + imm + 1
                found.calls.append(Call(at, self._callee(function, at, function.section.index, start)))
        return found

    def _interesting(self, function: Function) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
        """(number, instruction) of calls, 64-bit loads, and of whatever else is relocated."""
        offsets = self._offsets[function.section.index]
        low = bisect_left(offsets, function.start * 8)
        high = bisect_left(offsets, (function.start + function.count) * 8)
        relocated = {offset // 8 - function.start for offset in offsets[low:high]}
        second = False
        for at, insn in enumerate(SLOT.iter_unpack(function.insns)):
            if second:
                second = False
                if at in relocated:
                    raise _bad(function, at, "relocation of the second half of an instruction")
            elif insn[0] in (CALL, LD_IMM64):
                second = insn[0] == LD_IMM64
                yield at, (insn[0], insn[1], insn[2], insn[3])
            elif at in relocated:
                raise _bad(function, at, f"relocation of instruction {insn[0]:#04x}, which takes none")
        if second:
            raise _bad(function, function.count - 1, "the last instruction is cut off")

    def _at(self, function: Function, at: int) -> Relocation | None:
        offset = (function.start + at) * 8
        offsets = self._offsets[function.section.index]
        low = bisect_left(offsets, offset)
        if low == bisect_right(offsets, offset + 7):
            return None
        return self._relocations[function.section.index][low]

    def _relocated(self, function: Function, at: int, relocation: Relocation, found: _Sites) -> None:
        code, regs, _, imm = SLOT.unpack_from(function.insns, at * 8)
        symbol = relocation.symbol
        wanted = RelocationType.B64_64 if code == LD_IMM64 else RelocationType.B64_32
        if relocation.offset % 8 or relocation.type != wanted:
            raise _bad(function, at, f"unexpected relocation type {relocation.type}")
        if symbol.section is None:
            raise _bad(function, at, f"symbol {symbol.name} is in no section")
        if not symbol.section:
            found.relocs.append(self._extern(function, at, symbol, code))
            return
        section = self._elf.sections[symbol.section]
        named = symbol.type != SymbolType.SECTION
        addend = relocation.addend or (imm - symbol.value if self._sums and named else imm)
        if code == CALL:
            if regs >> 4 != PseudoSrc.CALL or not section.executable or symbol.value % 8:
                raise _bad(function, at, f"bad call relo against '{symbol.name}' in section '{section.name}'")
            start = symbol.value // 8 + (0 if self._sums and named else imm + 1)
            found.calls.append(Call(at, self._callee(function, at, section.index, start)))
        elif section.executable:
            if (symbol.value + addend) % 8:
                raise _bad(function, at, f"bad subprog addr relo against '{symbol.name}'")
            start = (symbol.value + addend) // 8
            found.calls.append(Call(at, self._callee(function, at, section.index, start)))
        else:
            found.relocs.append(self._data(function, at, section, symbol, addend))

    def _data(self, function: Function, at: int, section: Section, symbol: Symbol, addend: int) -> Reloc:
        offset = symbol.value + (addend if symbol.type == SymbolType.SECTION else 0)
        name = self._targets.maps.get((section.index, offset))
        if name is not None:
            return Reloc(at, RelocKind.MAP_FD, name)
        name = self._targets.data.get(section.index)
        if name is None:
            raise _bad(function, at, f"bad data relo against '{symbol.name}' in section '{section.name}'")
        offset = symbol.value + addend
        if not 0 <= offset <= section.size:
            raise _bad(function, at, f"'{symbol.name}' lies outside of section '{section.name}'")
        return Reloc(at, RelocKind.MAP_VALUE, name, offset)

    def _extern(self, function: Function, at: int, symbol: Symbol, code: int) -> Reloc:
        extern = self._targets.externs.get(symbol.name)
        if extern is None:
            raise _bad(function, at, f"extern '{symbol.name}' is not found in the object's BTF")
        if code == CALL and extern.kind is not ExternKind.KFUNC:
            raise _bad(function, at, f"extern '{symbol.name}' is used as what it is not")
        return Reloc(at, RelocKind.EXTERN, symbol.name)

    def _callee(self, function: Function, at: int, section: int, start: int) -> Function:
        found = self.find(section, start)
        if found is None:
            name = self._elf.sections[section].name
            raise _bad(function, at, f"no function starts at instruction {start} of section '{name}'")
        return found


def _function(section: Section, symbol: Symbol) -> Function:
    if symbol.value % 8 or symbol.size % 8 or not symbol.size or symbol.value + symbol.size > section.size:
        raise KernelError(
            errno.EINVAL,
            f"sec '{section.name}': program '{symbol.name}' at offset {symbol.value} is outside of it",
        )
    is_global = symbol.bind != Bind.LOCAL
    hidden = is_global and symbol.visibility in (Visibility.INTERNAL, Visibility.HIDDEN)
    return Function(symbol.name, section, symbol.value // 8, symbol.size // 8, is_global, hidden)


def _bad(function: Function, at: int, reason: str) -> KernelError:
    return KernelError(errno.EINVAL, f"prog '{function.name}': insn #{at}: {reason}")
