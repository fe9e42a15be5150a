"""Objects of binutils before 2.41, whose relocations hold the symbol's value already.

Compilers leave in an instruction what is to be added to the symbol. Those assemblers leave the sum for named
symbols: a 64-bit load of `counter` at offset 4 holds 4, and a call of `f` at byte 64 holds 63.
"""

from struct import Struct

from engine.loader.elf import Elf, RelocationType, SymbolType

__all__ = ["holds_sums"]

_SLOT = Struct("<BBhi")


def holds_sums(elf: Elf) -> bool:
    """Whether the object is one of those: GCC made it, and every named symbol that could tell says so."""
    comment = elf.section(".comment")
    if comment is None or b"GCC: " not in comment.data:
        return False
    told = False
    for index, relocations in elf.relocations.items():
        section = elf.sections[index]
        for relocation in relocations if section.executable else ():
            symbol = relocation.symbol
            if (
                symbol.type == SymbolType.SECTION
                or not symbol.value
                or relocation.offset + 8 > len(section.data)
            ):
                continue
            _, _, _, imm = _SLOT.unpack_from(section.data, relocation.offset)
            expected = symbol.value - (relocation.type == RelocationType.B64_32)
            if imm != expected:
                return False
            told = True
    return told
