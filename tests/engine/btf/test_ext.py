"""`.BTF.ext`: records by section, and what is refused."""

import errno
import struct

import pytest

from engine.btf import Btf
from engine.btf.build import BtfBuilder
from engine.btf.ext import CoreKind, CoreRelo, ExtFunc, ExtLine, parse_ext
from engine.errors import KernelError


@pytest.fixture
def btf() -> Btf:
    """Strings: 1 `sec`, 5 `file.c`, 12 `text`, 17 `0:1`."""
    b = BtfBuilder()
    for name in ("sec", "file.c", "text", "0:1"):
        b.typedef(name, 0)
    return b.build()


def part(size: int, *records: bytes, section: int = 1) -> bytes:
    """One kind of record for one section."""
    return struct.pack("<III", size, section, len(records)) + b"".join(records)


def blob(*parts: bytes, version: int = 1) -> bytes:
    """A `.BTF.ext` of two or three parts."""
    header = struct.pack("<HBBI", 0xEB9F, version, 0, 8 + 8 * len(parts))
    at = 0
    for data in parts:
        header += struct.pack("<II", at, len(data))
        at += len(data)
    return header + b"".join(parts)


FUNCS = part(8, struct.pack("<II", 16, 3))
LINES = part(16, struct.pack("<IIII", 8, 5, 12, 7 << 10 | 4))
CORE = part(16, struct.pack("<IIII", 24, 2, 17, 0))


def test_all_parts(btf: Btf) -> None:
    found = parse_ext(blob(FUNCS, LINES, CORE), btf)
    assert found.funcs == {"sec": [ExtFunc(2, 3)]}
    assert found.lines == {"sec": [ExtLine(1, "file.c", "text", 7, 4)]}
    assert found.core == {"sec": [CoreRelo(3, 2, "0:1", CoreKind.FIELD_BYTE_OFFSET)]}


def test_without_relocations(btf: Btf) -> None:
    assert parse_ext(blob(FUNCS, LINES), btf).core == {}
    assert parse_ext(blob(b"", b""), btf).funcs == {}


def test_longer_records(btf: Btf) -> None:
    found = parse_ext(blob(part(12, struct.pack("<III", 8, 3, 99)), b""), btf)
    assert found.funcs == {"sec": [ExtFunc(1, 3)]}


@pytest.mark.parametrize(
    ("data", "number", "words"),
    [
        (b"", errno.EINVAL, "cut off"),
        (bytes(32), errno.EINVAL, "magic"),
        (blob(FUNCS, LINES, version=2), errno.EOPNOTSUPP, "version 2"),
        (blob(FUNCS, LINES)[:-4], errno.EINVAL, "outside"),
        (blob(part(4, bytes(4)), b""), errno.EINVAL, "record size 4"),
        (blob(part(8)[:4] + struct.pack("<II", 1, 0), b""), errno.EINVAL, "0 records"),
        (blob(struct.pack("<III", 8, 1, 1 << 30), b""), errno.EINVAL, "records in 0 bytes"),
        (blob(part(8, struct.pack("<II", 4, 3)), b""), errno.EINVAL, "no instruction"),
        (blob(part(8, struct.pack("<II", 8, 3), section=999), b""), errno.EINVAL, "name_offset"),
        (blob(b"", b"", part(16, struct.pack("<IIII", 0, 2, 17, 13))), errno.EOPNOTSUPP, "kind 13"),
        (blob(b"", b"\1\0"), errno.EINVAL, "cut off"),
        (blob(b"\x08\0\0\0\1\0\0\0", b""), errno.EINVAL, "cut off"),
    ],
)
def test_refused(btf: Btf, data: bytes, number: int, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        parse_ext(data, btf)
    assert caught.value.errno == number
