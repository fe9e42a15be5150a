"""Makes BTF blobs: of records one by one (`BtfBuilder`), or of a parsed blob with some records replaced."""

import errno
from collections.abc import Iterable, Mapping
from struct import Struct, pack

from engine.btf.btf import Btf
from engine.btf.parse import HEADER, MAGIC, MAX_SIZE
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

__all__ = ["BtfBuilder", "replace_records"]

_HEAD = Struct("<III")
_PAIR = Struct("<II")
_TRIPLE = Struct("<III")


class _Strings:
    """A string section that grows; each text is kept once."""

    def __init__(self, start: bytes = b"\0", known: Mapping[str, int] | None = None) -> None:
        self.data = bytearray(start)
        self._known = {**(known or {}), "": 0}

    def offset(self, text: str) -> int:
        """Where `text` is, put at the end if it is new."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = len(self.data)
            self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return found


class BtfBuilder:
    """Collects records and hands out their ids; the methods named after kinds are shorthand for `add`.

    Ids may be used before what they name is added: `next_id` says which comes next.
    """

    def __init__(self) -> None:
        self.types: list[Type] = [Void()]
        self._same: dict[tuple[object, ...], int] = {}

    @property
    def next_id(self) -> int:
        """The id that the next added record gets."""
        return len(self.types)

    def add(self, record: Type) -> int:
        """Append `record`, return its id."""
        self.types.append(record)
        return len(self.types) - 1

    def _once(self, key: tuple[object, ...], record: Type) -> int:
        found = self._same.get(key)
        if found is None:
            found = self._same[key] = self.add(record)
        return found

    def integer(self, name: str, size: int, encoding: Encoding = Encoding.NONE) -> int:
        """A plain integer of `size` bytes; the same one is added once."""
        return self._once((Kind.INT, name, size, encoding), Int(name, size, encoding, 0, size * 8))

    def pointer(self, to: int) -> int:
        """A pointer to `to` (0: void); the same one is added once."""
        return self._once((Kind.PTR, to), Pointer(to))

    def const(self, of: int) -> int:
        """`const` of a type; the same one is added once."""
        return self._once((Kind.CONST, of), Modifier(Kind.CONST, of))

    def volatile(self, of: int) -> int:
        """`volatile` of a type; the same one is added once."""
        return self._once((Kind.VOLATILE, of), Modifier(Kind.VOLATILE, of))

    def typedef(self, name: str, of: int) -> int:
        """`typedef of name`."""
        return self._once((Kind.TYPEDEF, name, of), Typedef(name, of))

    def array(self, of: int, count: int, index: int) -> int:
        """`count` elements of `of`, indexed by the integer type `index`; the same one is added once."""
        return self._once((Kind.ARRAY, of, count, index), Array(of, index, count))

    def struct(self, name: str, size: int, members: Iterable[Member]) -> int:
        """A struct of `size` bytes."""
        rows = tuple(members)
        return self.add(Composite(Kind.STRUCT, name, size, rows, any(row.bits for row in rows)))

    def union(self, name: str, size: int, members: Iterable[Member]) -> int:
        """A union of `size` bytes."""
        rows = tuple(members)
        return self.add(Composite(Kind.UNION, name, size, rows, any(row.bits for row in rows)))

    def enum(self, name: str, values: Mapping[str, int], size: int = 4) -> int:
        """An enum; ENUM64 if `size` is 8."""
        signed = any(value < 0 for value in values.values())
        rows = tuple(Enumerator(text, value) for text, value in values.items())
        return self.add(Enum(Kind.ENUM64 if size == 8 else Kind.ENUM, name, size, rows, signed))

    def fwd(self, name: str, *, union: bool = False) -> int:
        """A forward declaration; the same one is added once."""
        return self._once((Kind.FWD, name, union), Fwd(name, union))

    def func_proto(self, returns: int, params: Iterable[Param]) -> int:
        """A prototype."""
        return self.add(FuncProto(returns, tuple(params)))

    def func(self, name: str, proto: int, linkage: int = 0) -> int:
        """A function with prototype `proto`."""
        return self.add(Func(name, proto, linkage))

    def var(self, name: str, of: int, linkage: int = 1) -> int:
        """A variable."""
        return self.add(Var(name, of, linkage))

    def datasec(self, name: str, size: int, placed: Iterable[SecVar]) -> int:
        """A section of variables."""
        return self.add(DataSec(name, size, tuple(placed)))

    def encode(self) -> bytes:
        """The blob."""
        return _encode(self.types, _Strings())

    def build(self) -> Btf:
        """The blob, parsed."""
        return Btf(self.encode())


def replace_records(btf: Btf, changed: Mapping[int, Type]) -> Btf:
    """`btf` with the records in `changed` instead of its own; string offsets stay what they were."""
    types = [changed.get(type_id, record) for type_id, record in enumerate(btf.types)]
    return Btf.derived(btf, types, lambda: _encode(types, _Strings(btf.strings, btf.string_offsets)))


def _encode(types: Iterable[Type], strings: _Strings) -> bytes:
    body = b"".join(_record(record, strings) for record in types if not isinstance(record, Void))
    size = HEADER.size + len(body) + len(strings.data)
    if size > MAX_SIZE:
        raise KernelError(errno.E2BIG, f"BTF of {size} bytes is too big")
    return (
        HEADER.pack(MAGIC, 1, 0, HEADER.size, 0, len(body), len(body), len(strings.data))
        + body
        + strings.data
    )


def _head(record: Type, strings: _Strings, word: int, vlen: int = 0, flag: bool = False) -> bytes:
    info = flag << 31 | record.kind << 24 | vlen
    return _HEAD.pack(strings.offset(record.name), info, word)


def _record(record: Type, strings: _Strings) -> bytes:
    """One record as bytes."""
    match record:
        case Int():
            bits = record.encoding << 24 | record.offset << 16 | record.bits
            return _head(record, strings, record.size) + pack("<I", bits)
        case Pointer() | Typedef() | Modifier():
            return _head(record, strings, record.type)
        case Array():
            return _head(record, strings, 0) + _TRIPLE.pack(record.type, record.index, record.count)
        case Composite():
            head = _head(record, strings, record.size, len(record.members), record.flag)
            rows = (
                (strings.offset(m.name), m.type, m.bits << 24 | m.bit_offset if record.flag else m.bit_offset)
                for m in record.members
            )
            return head + b"".join(_TRIPLE.pack(*row) for row in rows)
        case Enum():
            head = _head(record, strings, record.size, len(record.values), record.signed)
            word = "<IQ" if record.kind is Kind.ENUM64 else "<II"
            mask = (1 << 64) - 1 if record.kind is Kind.ENUM64 else (1 << 32) - 1
            return head + b"".join(pack(word, strings.offset(v.name), v.value & mask) for v in record.values)
        case Fwd():
            return _head(record, strings, 0, 0, record.union)
        case Func():
            return _head(record, strings, record.type, record.linkage)
        case FuncProto():
            head = _head(record, strings, record.type, len(record.params))
            return head + b"".join(_PAIR.pack(strings.offset(p.name), p.type) for p in record.params)
        case Var():
            return _head(record, strings, record.type) + pack("<I", record.linkage)
        case DataSec():
            head = _head(record, strings, record.size, len(record.vars))
            return head + b"".join(_TRIPLE.pack(v.type, v.offset, v.size) for v in record.vars)
        case Float():
            return _head(record, strings, record.size)
        case DeclTag():
            return _head(record, strings, record.type) + pack("<i", record.component)
        case Void():
            return b""
