"""A fast printer for one type: the text of a value as a format string and the fields that fill it.

Where nothing but the leaves of a value decides its text, `show.Show` is run once, on no value, and notes
where each leaf goes and comes from. Bit fields, overlapping members and the like are left to `show_value`.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from engine.btf.btf import Btf
from engine.btf.show import Show, pointer_text, show_value
from engine.btf.types import Array, Encoding, Enum, Int, Kind
from engine.errors import KernelError

__all__ = ["MOST_FIELDS", "Field", "Printer", "Varies", "printer", "unpacker"]

Printer = Callable[[bytes], bytes]
Field = tuple[int, str, Callable[[Any], Any] | None]
"""Where it is, its code in a struct format, and what makes text of it if that is not the number itself."""

MOST_FIELDS = 4096
"""Beyond, the format string would be no gain."""

_CODES = {8: "b", 16: "h", 32: "i", 64: "q"}


class Varies(Exception):
    """The text is no fixed format with fields in it."""


def unpacker(fields: list[Field], size: int) -> Callable[[bytes], tuple[Any, ...]]:
    """What takes `fields` out of a value of `size` bytes. Raises Varies if they overlap."""
    layout, end = "<", 0
    for at, code, _ in fields:
        if at < end:
            raise Varies
        layout += f"{at - end}x{code}"
        end = at + struct.calcsize(f"<{code}")
    if end > size:
        raise Varies
    unpack = struct.Struct(layout).unpack_from
    converts = list(enumerate(convert for _, _, convert in fields))
    if not any(convert for _, convert in converts):
        return unpack

    def unpack_and_convert(value: bytes) -> tuple[Any, ...]:
        found = unpack(value)
        return tuple([found[i] if c is None else c(found[i]) for i, c in converts])

    return unpack_and_convert


def printer(btf: Btf, type_id: int) -> Printer:
    """A function that gives the text of a value of that type, as `show_value` does, faster where it can."""
    template = _Template(btf)
    try:
        template.value(type_id, 0, 0)
        return template.compile(btf.size_of(type_id))
    except (Varies, KernelError):
        return partial(show_value, btf, type_id)


class _Template(Show):
    """Collects a format string in `out` and what fills it in `fields`."""

    def __init__(self, btf: Btf) -> None:
        super().__init__(btf, b"")
        self.fields: list[Field] = []

    def compile(self, size: int) -> Printer:
        """The printer for values of `size` bytes. Raises Varies if fields overlap."""
        text, unpack = b"".join(self.out), unpacker(self.fields, size)
        return lambda value: text % unpack(value)

    def _field(self, at: int, code: str, convert: Callable[[Any], bytes] | None) -> bytes:
        if len(self.fields) >= MOST_FIELDS:
            raise Varies
        self.fields.append((at, code, convert))
        return b"%d" if convert is None else b"%b"

    def _int(self, record: Int, at: int, bits: int) -> None:
        if bits or record.offset or record.bits not in _CODES:
            raise Varies
        code = _CODES[record.bits]
        signed = record.encoding & Encoding.SIGNED
        self._emit(self._field(at, code if signed else code.upper(), None))

    def _bitfield(self, at: int, bits: int, width: int) -> None:
        raise Varies

    def _pointer(self, at: int) -> None:
        self._emit(self._field(at, "Q", pointer_text))

    def _enum(self, record: Enum, at: int) -> None:
        size = 8 if record.kind is Kind.ENUM64 else 4
        if record.size != size:
            raise Varies
        names = {row.value % (1 << size * 8): row.name for row in reversed(record.values)}
        texts = {value: name.encode("utf-8", "surrogateescape") for value, name in names.items()}
        number = struct.Struct("<q" if size == 8 else "<i")

        def text(value: int) -> bytes:
            if value in texts:
                return texts[value]
            return b"%d" % (number.unpack(value.to_bytes(size, "little"))[0] if record.signed else value)

        self._emit(self._field(at, "Q" if size == 8 else "I", text))

    def _array(self, record: Array, type_id: int, at: int, bits: int) -> None:
        element = self.btf.types[self.btf.skip(record.type)]
        if not isinstance(element, Int) or (element.size > 1 and element.encoding != Encoding.CHAR):
            super()._array(record, type_id, at, bits)
            return
        if bits or element.offset or element.bits != 8 or not record.count:
            raise Varies
        signed = bool(element.encoding & Encoding.SIGNED)
        texts = [_character(number, signed) for number in range(256)]
        self._open(record, type_id)
        self.out.append(
            self._field(
                at,
                f"{record.count}s",
                lambda raw: b"".join([texts[byte] for byte in raw.partition(b"\0")[0]]),
            )
        )
        self._close(b"]")

    def _emit(self, text: bytes) -> None:
        if text not in (b"%d", b"%b") and b"%" in text:
            raise Varies
        super()._emit(text)


def _character(number: int, signed: bool) -> bytes:
    """An element of a char array: quoted where it is printable, else a number."""
    if 0x20 <= number < 0x7F or number >= 0xA0:
        return b"'%c'," % number
    return b"%d," % (number - 256 if signed and number > 127 else number)
