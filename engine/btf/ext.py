"""`.BTF.ext`: which function, source line or relocation belongs to which instruction of an object.

struct btf_ext_header: magic u16 | version u8 | flags u8 | hdr_len u32 | func_info_off, len |
                       line_info_off, len | core_relo_off, len        (offsets after the header)
each part:             rec_size u32, then for every section: sec_name_off u32 | num u32 | records
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct

from engine.btf.btf import Btf
from engine.btf.parse import MAGIC
from engine.errors import KernelError

__all__ = ["BtfExt", "CoreKind", "CoreRelo", "ExtFunc", "ExtLine", "parse_ext"]

_WORD = Struct("<I")
_FUNC = Struct("<II")
_LINE = Struct("<IIII")
_CORE = Struct("<IIII")


class CoreKind(IntEnum):
    """`enum bpf_core_relo_kind`: what a CO-RE relocation asks."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


@dataclass(frozen=True, slots=True)
class ExtFunc:
    """A function starts at instruction `insn_off` of its section; its BTF FUNC is `type_id`."""

    insn_off: int
    type_id: int


@dataclass(frozen=True, slots=True)
class ExtLine:
    """A source line starts at instruction `insn_off` of its section."""

    insn_off: int
    file_name: str
    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class CoreRelo:
    """Instruction `insn_off` of its section depends on the kernel: `access` walks type `type_id`."""

    insn_off: int
    type_id: int
    access: str
    kind: CoreKind


@dataclass(slots=True)
class BtfExt:
    """Records by section name, in the order of the file. Offsets are instructions, not bytes."""

    funcs: dict[str, list[ExtFunc]] = field(default_factory=dict)
    lines: dict[str, list[ExtLine]] = field(default_factory=dict)
    core: dict[str, list[CoreRelo]] = field(default_factory=dict)


def parse_ext(data: bytes, btf: Btf) -> BtfExt:
    """Parse section `.BTF.ext`, whose strings are in `btf`. Raises KernelError(EINVAL, EOPNOTSUPP)."""
    if len(data) < 24:
        raise KernelError(errno.EINVAL, ".BTF.ext is cut off")
    magic, version, flags = data[0] | data[1] << 8, data[2], data[3]
    if magic != MAGIC:
        raise KernelError(errno.EINVAL, f".BTF.ext: invalid magic {magic:#x}")
    if version != 1 or flags:
        raise KernelError(errno.EOPNOTSUPP, f".BTF.ext: unsupported version {version} or flags {flags:#x}")
    (hdr_len,) = _WORD.unpack_from(data, 4)
    if not 24 <= hdr_len <= len(data):
        raise KernelError(errno.EINVAL, f".BTF.ext: invalid header length {hdr_len}")
    words = [_WORD.unpack_from(data, at)[0] for at in range(8, min(hdr_len, 32) & ~7, 4)]
    parts = [_part(data, hdr_len, words[i], words[i + 1]) for i in range(0, len(words), 2)]
    found = BtfExt()
    for section, record in _records(parts[0], _FUNC, "func_info", btf):
        insn_off, type_id = record
        found.funcs.setdefault(section, []).append(ExtFunc(insn_off // 8, type_id))
    for section, record in _records(parts[1], _LINE, "line_info", btf):
        insn_off, file_off, line_off, line_col = record
        line = ExtLine(
            insn_off // 8, btf.string(file_off), btf.string(line_off), line_col >> 10, line_col & 0x3FF
        )
        found.lines.setdefault(section, []).append(line)
    for section, record in _records(parts[2] if len(parts) > 2 else b"", _CORE, "core_relo", btf):
        insn_off, type_id, access_off, kind = record
        if kind > max(CoreKind):
            raise KernelError(errno.EOPNOTSUPP, f".BTF.ext: unknown CO-RE relocation kind {kind}")
        relo = CoreRelo(insn_off // 8, type_id, btf.string(access_off), CoreKind(kind))
        found.core.setdefault(section, []).append(relo)
    return found


def _part(data: bytes, hdr_len: int, offset: int, length: int) -> bytes:
    if offset & 3 or hdr_len + offset + length > len(data):
        raise KernelError(errno.EINVAL, ".BTF.ext: a section lies outside of it")
    return data[hdr_len + offset : hdr_len + offset + length]


def _records(part: bytes, layout: Struct, what: str, btf: Btf) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(section name, fields) of every record; a record may be longer than `layout`."""
    if not part:
        return
    if len(part) < 4:
        raise KernelError(errno.EINVAL, f".BTF.ext: {what} is cut off")
    (size,) = _WORD.unpack_from(part)
    if size < layout.size or size & 3:
        raise KernelError(errno.EINVAL, f".BTF.ext: invalid {what} record size {size}")
    at = 4
    while at < len(part):
        if len(part) - at < 8:
            raise KernelError(errno.EINVAL, f".BTF.ext: {what} is cut off")
        name_off, count = _FUNC.unpack_from(part, at)
        at += 8
        if not count or count * size > len(part) - at:
            raise KernelError(errno.EINVAL, f".BTF.ext: {what} has {count} records in {len(part) - at} bytes")
        section = btf.string(name_off)
        for _ in range(count):
            fields = layout.unpack_from(part, at)
            if fields[0] & 7:
                raise KernelError(errno.EINVAL, f".BTF.ext: {what} of no instruction in {section}")
            yield section, fields
            at += size
