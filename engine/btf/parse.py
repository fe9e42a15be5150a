"""Reads a BTF blob into records: header, string section, types (`Documentation/bpf/btf.rst`).

    struct btf_header: magic u16 | version u8 | flags u8 | hdr_len u32 | type_off u32 | type_len u32 |
                       str_off u32 | str_len u32

Only the layout is checked here, in the words of `kernel/bpf/btf.c`: what the types mean is checked by
`engine.btf.verify`, because objects carry BTF (externs, sections without a size) that no kernel takes.
"""

import errno
from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from engine.btf.types import (
    Array,
    Composite,
    DataSec,
    DeclTag,
    Encoding,
    Enum,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Kind,
    Member,
    Modifier,
    Param,
    Pointer,
    SecVar,
    Type,
    Typedef,
    Var,
    Void,
)
from engine.errors import KernelError

__all__ = ["HEADER", "MAGIC", "MAX_NAME_OFFSET", "MAX_SIZE", "MAX_TYPES", "Header", "parse_types"]

MAGIC = 0xEB9F
HEADER = Struct("<HBBIIIII")
MAX_SIZE = 16 << 20
"""BTF_MAX_SIZE: bytes of a blob."""
MAX_TYPES = 0x000FFFFF
MAX_NAME_OFFSET = 0x00FFFFFF

_TYPE = Struct("<III")
_INT = Struct("<I")
_ARRAY = Struct("<III")
_MEMBER = Struct("<III")
_ENUM = Struct("<Ii")
_ENUM_UNSIGNED = Struct("<II")
_ENUM64 = Struct("<Iq")
_ENUM64_UNSIGNED = Struct("<IQ")
_PARAM = Struct("<II")
_SECVAR = Struct("<III")
_WORD = Struct("<i")

_SIZED_VLEN = {
    Kind.STRUCT: _MEMBER.size,
    Kind.UNION: _MEMBER.size,
    Kind.ENUM: _ENUM.size,
    Kind.ENUM64: 12,
    Kind.FUNC_PROTO: _PARAM.size,
    Kind.DATASEC: _SECVAR.size,
}
_FIXED = {Kind.INT: 4, Kind.ARRAY: 12, Kind.VAR: 4, Kind.DECL_TAG: 4}


class Header:
    """Where types and strings lie in `data`. Raises KernelError(EINVAL, E2BIG) where that makes no sense.

    Offsets count from the end of the header, `room` is what follows it.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_SIZE:
            raise KernelError(errno.E2BIG, f"BTF of {len(data)} bytes is too big")
        if len(data) < 8:
            raise KernelError(errno.EINVAL, "hdr_len not found")
        magic, version, flags = data[0] | data[1] << 8, data[2], data[3]
        hdr_len = int.from_bytes(data[4:8], "little")
        if magic == 0x9FEB:
            raise KernelError(errno.EOPNOTSUPP, "big-endian BTF is not supported")
        if hdr_len > len(data) or hdr_len < HEADER.size:
            raise KernelError(errno.EINVAL, "btf_header not found")
        if any(data[HEADER.size : hdr_len]):
            raise KernelError(errno.E2BIG, "Unsupported btf_header")
        if magic != MAGIC:
            raise KernelError(errno.EINVAL, "Invalid magic")
        if version != 1:
            raise KernelError(errno.EOPNOTSUPP, "Unsupported version")
        if flags:
            raise KernelError(errno.EOPNOTSUPP, "Unsupported flags")
        _, _, _, _, type_off, type_len, str_off, str_len = HEADER.unpack_from(data)
        room = len(data) - hdr_len
        self.room = room
        self.type_off, self.type_len, self.str_off, self.str_len = type_off, type_len, str_off, str_len
        if not room:
            raise KernelError(errno.EINVAL, "No data")
        if type_off & 3:
            raise KernelError(errno.EINVAL, "Unaligned type_off")
        if not type_len and not str_len:
            raise KernelError(errno.EINVAL, "No type found")
        if type_off + type_len > room or str_off + str_len > room:
            raise KernelError(errno.EINVAL, "Total section length too long")
        self.types = data[hdr_len + type_off : hdr_len + type_off + type_len]
        self.strings = data[hdr_len + str_off : hdr_len + str_off + str_len]
        if not self.strings or self.strings[0] or self.strings[-1] or str_len - 1 > MAX_NAME_OFFSET:
            raise KernelError(errno.EINVAL, "Invalid string section")


def parse_types(header: Header, name_at: Callable[[int], str]) -> tuple[list[Type], dict[int, str]]:
    """All records by type id, void first. `name_at` turns a string offset into text.

    Also, by type id, what a kernel objects to that records do not keep: bits that must be zero. Raises
    KernelError(EINVAL) naming the type id that is cut off or of no known kind.
    """
    odd: dict[int, str] = {}
    data = header.types
    found: list[Type] = [Void()]
    at = 0
    while at < len(data):
        type_id = len(found)
        if len(data) - at < _TYPE.size:
            raise KernelError(
                errno.EINVAL, f"[{type_id}] meta_left:{len(data) - at} meta_needed:{_TYPE.size}"
            )
        name_off, info, word = _TYPE.unpack_from(data, at)
        kind_number, vlen, flag = info >> 24 & 0x1F, info & 0xFFFF, bool(info >> 31)
        if info & 0x60FF0000:
            raise KernelError(errno.EINVAL, f"[{type_id}] Invalid btf_info:{info:x}")
        if not 0 < kind_number <= Kind.ENUM64:
            raise KernelError(errno.EINVAL, f"[{type_id}] Invalid kind:{kind_number}")
        if type_id > MAX_TYPES:
            raise KernelError(errno.E2BIG, "Exceeded max num of types")
        kind = _KINDS[kind_number]
        at += _TYPE.size
        need = _FIXED.get(kind, 0) + _SIZED_VLEN.get(kind, 0) * vlen
        if len(data) - at < need:
            raise KernelError(errno.EINVAL, f"[{type_id}] meta_left:{len(data) - at} meta_needed:{need}")
        try:
            name = name_at(name_off)
            head = _Head(kind, name, word, vlen, flag)
            tail = data[at : at + need]
            reason = _odd(head, name_off, tail)
            record = _record(head, tail, name_at)
            if isinstance(record, Composite) and not reason:
                reason = _odd_member(record, tail)
            if reason:
                odd[type_id] = reason
            found.append(record)
        except KernelError as error:
            raise KernelError(error.errno, f"[{type_id}] {error.message}") from None
        at += need
    return found, odd


_KINDS = list(Kind)


class _Head(NamedTuple):
    """`struct btf_type`, taken apart; `word` is its size or type."""

    kind: Kind
    name: str
    word: int
    vlen: int
    flag: bool


_WITHOUT_FLAG = frozenset(
    (
        Kind.INT,
        Kind.PTR,
        Kind.ARRAY,
        Kind.TYPEDEF,
        Kind.VOLATILE,
        Kind.CONST,
        Kind.RESTRICT,
        Kind.FUNC,
        Kind.FUNC_PROTO,
        Kind.VAR,
        Kind.DATASEC,
        Kind.FLOAT,
        Kind.DECL_TAG,
        Kind.TYPE_TAG,
    )
)
_NAMELESS = frozenset((Kind.PTR, Kind.ARRAY, Kind.FUNC_PROTO))


def _odd_member(record: Composite, tail: bytes) -> str:
    """A member whose name is empty, but not at offset 0."""
    for number, member in enumerate(record.members):
        if not member.name and any(tail[number * 12 : number * 12 + 4]):
            return "Invalid name"
    return ""


def _odd(head: _Head, name_off: int, tail: bytes) -> str:
    """What must be zero and is not; a name that is empty, but not at offset 0."""
    kind = head.kind
    if name_off and (kind in _NAMELESS or (not head.name and kind not in (Kind.INT, Kind.FLOAT))):
        return "Invalid name"
    if head.vlen and kind not in _SIZED_VLEN and kind is not Kind.FUNC:
        return "vlen != 0"
    if head.flag and kind in _WITHOUT_FLAG:
        return "Invalid btf_info kind_flag"
    if kind is Kind.ARRAY and head.word:
        return "size != 0"
    if kind is Kind.FWD and head.word:
        return "type != 0"
    if kind is Kind.INT and _INT.unpack(tail)[0] & 0xF0000000:
        return f"Invalid int_data:{_INT.unpack(tail)[0]:x}"
    return ""


def _record(head: _Head, tail: bytes, name_at: Callable[[int], str]) -> Type:
    """The record of one type whose trailing data are `tail`."""
    kind, name, word, vlen, flag = head
    match kind:
        case Kind.INT:
            (bits,) = _INT.unpack(tail)
            return Int(name, word, Encoding(bits >> 24 & 0xF), bits >> 16 & 0xFF, bits & 0xFF)
        case Kind.PTR:
            return Pointer(word)
        case Kind.ARRAY:
            return Array(*_ARRAY.unpack(tail))
        case Kind.STRUCT | Kind.UNION:
            rows = _MEMBER.iter_unpack(tail)
            if flag:
                members = tuple(Member(name_at(n), t, o & 0xFFFFFF, o >> 24) for n, t, o in rows)
            else:
                members = tuple(Member(name_at(n), t, o) for n, t, o in rows)
            return Composite(kind, name, word, members, flag)
        case Kind.ENUM:
            values = (_ENUM if flag else _ENUM_UNSIGNED).iter_unpack(tail)
            return Enum(kind, name, word, tuple(Enumerator(name_at(n), v) for n, v in values), flag)
        case Kind.ENUM64:
            values = (_ENUM64 if flag else _ENUM64_UNSIGNED).iter_unpack(tail)
            return Enum(kind, name, word, tuple(Enumerator(name_at(n), v) for n, v in values), flag)
        case Kind.FWD:
            return Fwd(name, flag)
        case Kind.TYPEDEF:
            return Typedef(name, word)
        case Kind.VOLATILE | Kind.CONST | Kind.RESTRICT | Kind.TYPE_TAG:
            return Modifier(kind, word, name)
        case Kind.FUNC:
            return Func(name, word, vlen)
        case Kind.FUNC_PROTO:
            return FuncProto(word, tuple(Param(name_at(n), t) for n, t in _PARAM.iter_unpack(tail)))
        case Kind.VAR:
            return Var(name, word, _INT.unpack(tail)[0])
        case Kind.DATASEC:
            return DataSec(name, word, tuple(SecVar(*row) for row in _SECVAR.iter_unpack(tail)))
        case Kind.FLOAT:
            return Float(name, word)
        case _:
            return DeclTag(name, word, _WORD.unpack(tail)[0])
