"""The ELF reader: the same as pyelftools reads, and clear errors for everything else."""

import errno
import io
import struct

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from engine.errors import KernelError
from engine.loader.elf import MAX_OBJECT, read_elf
from tests.engine.loader.compiled import example

EXAMPLES = ["count", "latency", "opensnoop"]
SHOFF, SHNUM, SHSTRNDX = 40, 60, 62


def patched(at: int, layout: str, value: int) -> bytes:
    """The counter example with a number changed."""
    data = bytearray(example("count"))
    struct.pack_into(layout, data, at, value)
    return bytes(data)


@pytest.mark.parametrize("name", EXAMPLES)
def test_sections_as_pyelftools_reads_them(name: str) -> None:
    data = example(name)
    theirs = [
        (section.name, section["sh_flags"], section["sh_size"], section.data() if section["sh_size"] else b"")
        for section in ELFFile(io.BytesIO(data)).iter_sections()
    ]
    ours = read_elf(data).sections
    for section, (their_name, flags, size, content) in zip(ours, theirs, strict=True):
        assert (section.name, section.flags, section.size) == (their_name, flags, size)
        assert section.data in (content, b"")


@pytest.mark.parametrize("name", EXAMPLES)
def test_symbols_as_pyelftools_reads_them(name: str) -> None:
    data = example(name)
    file = ELFFile(io.BytesIO(data))
    table = file.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    theirs = [(symbol.name, symbol["st_value"], symbol["st_size"]) for symbol in table.iter_symbols()]
    assert [(symbol.name, symbol.value, symbol.size) for symbol in read_elf(data).symbols] == theirs


@pytest.mark.parametrize("name", EXAMPLES)
def test_relocations_as_pyelftools_reads_them(name: str) -> None:
    data = example(name)
    ours = read_elf(data)
    file = ELFFile(io.BytesIO(data))
    seen = 0
    for section in file.iter_sections():
        if isinstance(section, RelocationSection) and section["sh_info"] in ours.relocations:
            table = file.get_section(section["sh_link"])
            theirs = [
                (r["r_offset"], r["r_info_type"], table.get_symbol(r["r_info_sym"]).name)
                for r in section.iter_relocations()
            ]
            found = ours.relocations[section["sh_info"]]
            assert [(r.offset, r.type, r.symbol.name) for r in found] == theirs
            seen += len(found)
    assert seen == sum(len(found) for found in ours.relocations.values()) > 0


@pytest.mark.parametrize(
    ("data", "number", "words"),
    [
        (b"", errno.ENOEXEC, "not an ELF object"),
        (b"#!/bin/sh\n", errno.ENOEXEC, "not an ELF object"),
        (b"\x7fELF", errno.ENOEXEC, "cut off"),
        (patched(4, "B", 1), errno.ENOEXEC, "64-bit"),
        (patched(5, "B", 2), errno.ENOEXEC, "big-endian"),
        (patched(16, "<H", 2), errno.ENOEXEC, "relocatable BPF object"),
        (patched(18, "<H", 62), errno.ENOEXEC, "relocatable BPF object"),
        (patched(SHOFF, "<Q", 0), errno.EINVAL, "no section headers"),
        (patched(SHOFF, "<Q", 1 << 63), errno.EINVAL, "cut off"),
        (patched(58, "<H", 40), errno.EINVAL, "no section headers"),
        (patched(SHNUM, "<H", 0xFFFF), errno.EINVAL, "cut off"),
        (patched(SHSTRNDX, "<H", 999), errno.EINVAL, "no section names"),
        (example("count")[:-100], errno.EINVAL, "cut off"),
        (example("count")[:2000], errno.EINVAL, "cut off"),
    ],
)
def test_refused(data: bytes, number: int, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        read_elf(data)
    assert caught.value.errno == number


def test_huge_files_are_not_looked_at() -> None:
    with pytest.raises(KernelError, match="at most") as caught:
        read_elf(bytes(MAX_OBJECT + 1))
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize(("kind", "rows", "words"), [(2, 24 << 18, "symbols"), (9, 16 << 21, "relocations")])
def test_more_rows_than_any_object_has(kind: int, rows: int, words: str) -> None:
    data = bytearray(example("count"))
    (shoff,) = struct.unpack_from("<Q", data, SHOFF)
    (shnum,) = struct.unpack_from("<H", data, SHNUM)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, shoff + index * 64) for index in range(shnum)]
    # Relocations count of sections that are loaded.
    index = next(
        i for i, row in enumerate(headers) if row[1] == kind and (kind == 2 or headers[row[7]][2] & 2)
    )
    struct.pack_into("<QQ", data, shoff + index * 64 + 24, len(data), rows)
    with pytest.raises(KernelError, match=f"more than .* {words}") as caught:
        read_elf(bytes(data) + bytes(rows))
    assert caught.value.errno == errno.E2BIG


def test_sections_that_lie_on_one_another() -> None:
    data = bytearray(example("count"))
    (shoff,) = struct.unpack_from("<Q", data, SHOFF)
    (shnum,) = struct.unpack_from("<H", data, SHNUM)
    for index in range(1, shnum):
        struct.pack_into("<QQ", data, shoff + index * 64 + 24, 0, len(data))
    with pytest.raises(KernelError, match="lie on one another"):
        read_elf(bytes(data))
