"""Prints a value as the kernel prints it in a pinned map (`btf_type_seq_show`, kernel/bpf/btf.c).

The kernel's printer is a state machine with quirks that scripts may rely on (elements of an array of structs
open without a brace; a char array ends at its NUL); they are kept, because this is what `cat` shows on Linux.
"""

import errno
import hashlib
import os
from struct import Struct

from engine.btf.btf import Btf
from engine.btf.types import (
    Array,
    Composite,
    DataSec,
    Encoding,
    Enum,
    Int,
    Kind,
    Member,
    Modifier,
    Pointer,
    Type,
    Typedef,
    Var,
)
from engine.errors import KernelError

__all__ = ["Show", "pointer_text", "show_value"]

_PAD = bytes(16)
_MAX_ITER = 10
_MAX_PIECES = 1 << 21
_KEY = os.urandom(16)
_U64 = Struct("<Q")


def show_value(btf: Btf, type_id: int, value: bytes) -> bytes:
    """Text of `value`, whose type is `type_id`. Bytes, because char arrays are printed as they are.

    Raises KernelError(ENOMEM) for a text that is too long. `btf` must be verified.
    """
    show = Show(btf, value + _PAD)
    show.value(type_id, 0, 0)
    return b"".join(show.out)


class Show:
    """`struct btf_show` with BTF_SHOW_COMPACT, NONAME and ZERO. `template` overrides what prints leaves."""

    def __init__(self, btf: Btf, data: bytes) -> None:
        self.btf = btf
        self.data = data
        self.out: list[bytes] = []
        self._depth = 0
        self._type: Type | None = None
        self._type_id = 0
        self._member: Member | None = None
        self._in_array = False
        self._chars = False
        self._terminated = False

    def value(self, type_id: int, at: int, bits: int) -> None:
        """Print the value at byte `at`, bit `bits` of the data."""
        record = self.btf.types[type_id]
        while isinstance(record, Typedef | Modifier | Var):
            type_id = self.btf.skip(record.type)
            record = self.btf.types[type_id]
        match record:
            case Int():
                self._start(record, type_id)
                self._int(record, at, bits)
                self._end()
            case Enum():
                self._start(record, type_id)
                self._enum(record, at)
                self._end()
            case Pointer():
                self._start(record, type_id)
                self._pointer(at)
                self._end()
            case Composite():
                self._composite(record, type_id, at)
            case Array():
                self._array(record, type_id, at, bits)
            case DataSec():
                self._datasec(record, type_id, at)
            case _:
                self.out.append(b"<unsupported kind:%d>" % record.kind)

    def _start(self, record: Type, type_id: int) -> None:
        self._type, self._type_id = record, type_id

    def _end(self) -> None:
        self._type, self._type_id = None, 0

    def _delim(self) -> bytes:
        if not self._depth:
            return b""
        return b"|" if self._type is not None and self._type.kind is Kind.UNION else b","

    def _name(self) -> bytes:
        """What opens the value: the bracket that its declared type asks for (`btf_show_name`)."""
        if self._in_array:
            return b""
        type_id = self._member.type if self._member is not None else self._type_id
        record = self.btf.types[type_id]
        parens, array, pointer = b"", False, False
        for _ in range(_MAX_ITER):
            match record:
                case Typedef():
                    type_id = record.type
                case Array():
                    array, parens = True, b"["
                    type_id = record.type
                case Pointer():
                    pointer = True
                    type_id = record.type
                case _:
                    break
            if not type_id:
                break
            record = self._unqualified(type_id)
        else:
            return b""
        if isinstance(record, Composite) and not array:
            parens = b"{"
        return b"" if pointer else parens

    def _unqualified(self, type_id: int) -> Type:
        record = self.btf.types[type_id]
        while isinstance(record, Modifier):
            record = self.btf.types[record.type]
        return record

    def _emit(self, text: bytes) -> None:
        self.out += (self._name(), text, self._delim())
        self._bound()

    def _bound(self) -> None:
        """Types may say that a few bytes are many elements."""
        if len(self.out) > _MAX_PIECES:
            raise KernelError(errno.ENOMEM, "a value is too long to print")

    def _int(self, record: Int, at: int, bits: int) -> None:
        if bits or record.offset or record.bits & 7 or record.bits not in (8, 16, 32, 64, 128):
            total = bits + record.offset
            self._bitfield(at + total // 8, total & 7, record.bits)
            return
        raw = self.data[at : at + record.bits // 8]
        if record.bits == 128:
            self._hex(int.from_bytes(raw, "little"))
            return
        if record.bits == 8 and self._chars:
            if self._terminated or raw == b"\0":
                self._terminated = True
                return
            if 0x20 <= raw[0] < 0x7F or raw[0] >= 0xA0:
                self._emit(b"'" + raw + b"'")
                return
        signed = bool(record.encoding & Encoding.SIGNED)
        self._emit(b"%d" % int.from_bytes(raw, "little", signed=signed))

    def _bitfield(self, at: int, bits: int, width: int) -> None:
        size = (bits + width + 7) // 8
        value = int.from_bytes(self.data[at : at + size], "little") >> bits
        self._hex(value & ((1 << width) - 1))

    def _pointer(self, at: int) -> None:
        self._emit(pointer_text(_U64.unpack_from(self.data, at)[0]))

    def _hex(self, value: int) -> None:
        self._emit(b"0x%x" % value)

    def _enum(self, record: Enum, at: int) -> None:
        size = 8 if record.kind is Kind.ENUM64 else 4
        value = int.from_bytes(self.data[at : at + size], "little", signed=True)
        bits = size * 8
        for row in record.values:
            if (row.value - value) % (1 << bits) == 0:
                self._emit(row.name.encode("utf-8", "surrogateescape"))
                return
        self._emit(b"%d" % (value if record.signed else value % (1 << bits)))

    def _open(self, record: Type, type_id: int) -> None:
        self._start(record, type_id)
        self.out.append(self._name())
        self._depth += 1

    def _close(self, suffix: bytes) -> None:
        self._depth -= 1
        self.out += (suffix, self._delim())
        self._end()
        self._bound()

    def _composite(self, record: Composite, type_id: int, at: int) -> None:
        self._open(record, type_id)
        for member in record.members:
            self._member = member
            start, bits = at + member.bit_offset // 8, member.bit_offset & 7
            if member.bits:
                self._start(self.btf.types[member.type], member.type)
                self._bitfield(start, bits, member.bits)
                self._end()
            else:
                self.value(member.type, start, bits)
            self._member = None
        self._close(b"}")

    def _array(self, record: Array, type_id: int, at: int, bits: int) -> None:
        element_id = self.btf.skip(record.type)
        element = self.btf.types[element_id]
        size = 0 if isinstance(element, Pointer | Array) else self.btf.size_of(element_id)
        self._chars = isinstance(element, Int) and (size == 1 or element.encoding == Encoding.CHAR)
        self._terminated = False
        self._open(record, type_id)
        for number in range(record.count):
            self._in_array, self._member = True, None
            self.value(record.type, at + number * size, bits)
            self._in_array, self._member = False, None
            if self._terminated:
                break
        self._chars = self._terminated = False
        self._close(b"]")

    def _datasec(self, record: DataSec, type_id: int, at: int) -> None:
        self._start(record, type_id)
        self._emit(b'section ("' + record.name.encode() + b'") = {')
        for number, var in enumerate(record.vars):
            if number:
                self.out.append(b",")
            self.value(var.type, at + var.offset, 0)
        self._end()


def pointer_text(pointer: int) -> bytes:
    """Pointers are shown as 32 bits of a keyed hash, as `%p` does; null and errors are shown as they are."""
    if pointer and pointer < (1 << 64) - 4095:
        digest = hashlib.blake2b(pointer.to_bytes(8, "little"), key=_KEY, digest_size=4).digest()
        pointer = int.from_bytes(digest, "little")
    return b"0x%016x" % pointer
