"""Prints a value by its type as `bpftool -j map dump` does under "formatted" (btf_dumper.c of bpftool 7.1).

Kept as they are: bit fields and 128-bit integers are strings of hex digits, enumerators without a name are
signed numbers, a backslash in a string comes out as `\\n`, and a type that bpftool cannot print leaves
`(unsupported-kind`, which is no JSON, and ends the element.
"""

import errno

from engine.btf.btf import Btf
from engine.btf.types import (
    Array,
    Composite,
    DataSec,
    Encoding,
    Enum,
    Float,
    Int,
    Kind,
    Modifier,
    Pointer,
    Typedef,
    Var,
)
from engine.errors import KernelError

__all__ = ["JsonDump", "UnsupportedKind", "json_string", "json_value", "try_json_value"]

_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\n", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_PAD = bytes(16)
_MAX_PIECES = 1 << 21


class UnsupportedKind(Exception):
    """A kind that bpftool does not print; what was printed so far stays."""


def json_string(text: str) -> str:
    """`text` quoted as bpftool's JSON writer quotes it."""
    return f'"{text.translate(_ESCAPES)}"'


def json_value(btf: Btf, type_id: int, value: bytes) -> str:
    """JSON text of `value`, whose type is `type_id`."""
    return try_json_value(btf, type_id, value)[0]


def try_json_value(btf: Btf, type_id: int, value: bytes) -> tuple[str, bool]:
    """`json_value`, and whether bpftool can print the whole of it."""
    dump = JsonDump(btf, value + _PAD)
    whole = True
    try:
        dump.value(type_id, 0, 0)
    except UnsupportedKind:
        dump.abandon()
        whole = False
    return "".join(dump.out), whole


class JsonDump:
    """Writes into `out`; `_open` has the closing brackets that are still to come."""

    def __init__(self, btf: Btf, data: bytes) -> None:
        self.out: list[str] = []
        self._btf = btf
        self._data = data
        self._open: list[str] = []

    def abandon(self) -> None:
        """Close what is open, as bpftool does after an error."""
        self.out += reversed(self._open)

    def _start(self, bracket: str) -> None:
        if len(self.out) > _MAX_PIECES:
            raise KernelError(errno.ENOMEM, "a value is too long to print")
        self.out.append(bracket)
        self._open.append("}" if bracket == "{" else "]")

    def _stop(self) -> None:
        self.out.append(self._open.pop())

    def value(self, type_id: int, at: int, bits: int) -> None:
        """The value at byte `at`, bit `bits`."""
        record = self._btf.types[type_id]
        match record:
            case Int():
                self._int(record, at, bits)
            case Enum():
                self._enum(record, at)
            case Pointer():
                self._pointer(at)
            case Composite():
                self._composite(record, at)
            case Array():
                self._array(record, at)
            case Typedef() | Modifier() if record.kind is not Kind.TYPE_TAG:
                self.value(record.type, at, bits)
            case Var():
                self._start("{")
                self.out.append(json_string(record.name) + ":")
                self.value(record.type, at, bits)
                self._stop()
            case DataSec():
                self._datasec(record, at)
            case Float() | _:
                self.out.append("(unsupported-kind")
                raise UnsupportedKind

    def _int(self, record: Int, at: int, bits: int) -> None:
        odd = record.encoding in (Encoding.NONE, Encoding.SIGNED) and record.bits not in (8, 16, 32, 64, 128)
        if bits or record.offset or record.bits & 7 or odd:
            total = bits + record.offset
            self._bitfield(at + total // 8, total & 7, record.bits)
            return
        raw = self._data[at : at + max(1, record.bits // 8)]
        if record.bits == 128:
            self.out.append(f'"0x{int.from_bytes(raw, "little"):x}"')
        elif record.encoding == Encoding.CHAR:
            printable = 0x20 <= raw[0] < 0x7F
            self.out.append(f'"{chr(raw[0])}"' if printable else f'"\\u00{raw[0]:02x}"')
        elif record.encoding == Encoding.BOOL:
            self.out.append("true" if raw[0] else "false")
        else:
            self.out.append(
                str(int.from_bytes(raw, "little", signed=bool(record.encoding & Encoding.SIGNED)))
            )

    def _pointer(self, at: int) -> None:
        self.out.append(str(int.from_bytes(self._data[at : at + 8], "little")))

    def _bitfield(self, at: int, bits: int, width: int) -> None:
        size = (bits + width + 7) // 8
        value = int.from_bytes(self._data[at : at + size], "little") >> bits
        self.out.append(f'"0x{value & ((1 << width) - 1):x}"')

    def _enum(self, record: Enum, at: int) -> None:
        value = int.from_bytes(self._data[at : at + record.size], "little", signed=True)
        for row in record.values:
            if (row.value - value) % (1 << record.size * 8) == 0:
                self.out.append(json_string(row.name))
                return
        self.out.append(str(value))

    def _composite(self, record: Composite, at: int) -> None:
        self._start("{")
        for number, member in enumerate(record.members):
            if number:
                self.out.append(",")
            self.out.append(json_string(member.name) + ":")
            start, bits = at + member.bit_offset // 8, member.bit_offset & 7
            if member.bits:
                self._bitfield(start, bits, member.bits)
            else:
                self.value(member.type, start, bits)
        self._stop()

    def _array(self, record: Array, at: int) -> None:
        text = self._text(record, at)
        if text is not None:
            self.out.append(json_string(text))
            return
        size = self._btf.size_of(record.type)
        self._start("[")
        for number in range(record.count):
            if number:
                self.out.append(",")
            self.value(record.type, at + number * size, 0)
        self._stop()

    def _is_text(self, record: Array) -> bool:
        """Whether an array is one of plain `char`."""
        element = self._btf.types[record.type]
        while isinstance(element, Modifier):
            element = self._btf.types[element.type]
        if not isinstance(element, Int) or element.size != 1:
            return False
        return element.encoding == Encoding.CHAR or element.name == "char"

    def _text(self, record: Array, at: int) -> str | None:
        """Printable text that ends within an array of plain `char`."""
        if not self._is_text(record):
            return None
        text, end, _ = self._data[at : at + record.count].partition(b"\0")
        return text.decode() if end and all(0x1F < byte < 0x7F for byte in text) else None

    def _datasec(self, record: DataSec, at: int) -> None:
        self._start("{")
        self.out.append(json_string(record.name) + ":")
        self._start("[")
        for number, var in enumerate(record.vars):
            if number:
                self.out.append(",")
            self.value(var.type, at + var.offset, 0)
        self._stop()
        self._stop()
