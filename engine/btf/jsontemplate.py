"""`json_value` of one type made fast, as `template` does it for the text of pinned maps."""

from collections.abc import Callable
from functools import partial
from typing import Any

from engine.btf.btf import Btf
from engine.btf.jsondump import JsonDump, UnsupportedKind, json_string, try_json_value
from engine.btf.template import MOST_FIELDS, Field, Varies, unpacker
from engine.btf.types import Array, Encoding, Enum, Int
from engine.errors import KernelError

__all__ = ["JsonPrinter", "json_printer"]

JsonPrinter = Callable[[bytes], tuple[str, bool]]

_CODES = {8: "b", 16: "h", 32: "i", 64: "q"}
_SIZES = {1: "b", 2: "h", 4: "i", 8: "q"}


def json_printer(btf: Btf, type_id: int) -> JsonPrinter:
    """A function that does for that type what `try_json_value` does, faster where it can."""
    template = _Template(btf)
    try:
        template.value(type_id, 0, 0)
        return template.compile(btf.size_of(type_id))
    except (Varies, UnsupportedKind, KernelError):
        return partial(try_json_value, btf, type_id)


class _Template(JsonDump):
    """Collects a format string in `out` and what fills it in `fields`, at `_places` of `out`."""

    def __init__(self, btf: Btf) -> None:
        super().__init__(btf, b"")
        self.fields: list[Field] = []
        self._places: set[int] = set()

    def compile(self, size: int) -> JsonPrinter:
        """The printer for values of `size` bytes. Raises Varies if fields overlap."""
        unpack, places = unpacker(self.fields, size), self._places
        text = "".join(
            piece if place in places else piece.replace("%", "%%") for place, piece in enumerate(self.out)
        )
        return lambda value: (text % unpack(value), True)

    def _field(self, at: int, code: str, convert: Callable[[Any], str] | None = None) -> None:
        if len(self.fields) >= MOST_FIELDS:
            raise Varies
        self._places.add(len(self.out))
        self.fields.append((at, code, convert))
        self.out.append("%d" if convert is None else "%s")

    def _int(self, record: Int, at: int, bits: int) -> None:
        if bits or record.offset or record.bits not in _CODES:
            raise Varies
        if record.encoding in (Encoding.NONE, Encoding.SIGNED):
            code = _CODES[record.bits]
            self._field(at, code if record.encoding == Encoding.SIGNED else code.upper())
        else:
            self._field(
                at, f"{record.bits // 8}s", partial(self._again, lambda dump: dump._int(record, 0, 0))
            )

    def _pointer(self, at: int) -> None:
        self._field(at, "Q")

    def _bitfield(self, at: int, bits: int, width: int) -> None:
        raise Varies

    def _enum(self, record: Enum, at: int) -> None:
        if record.size not in _SIZES:
            raise Varies
        values = 1 << record.size * 8
        texts = {row.value % values: json_string(row.name) for row in reversed(record.values)}
        self._field(at, _SIZES[record.size], lambda value: texts.get(value % values) or str(value))

    def _array(self, record: Array, at: int) -> None:
        if record.count and self._is_text(record):
            code = f"{record.count}s"
            self._field(at, code, partial(self._again, lambda dump: dump._array(record, 0)))
        else:
            super()._array(record, at)

    def _again(self, print_it: Callable[[JsonDump], None], raw: bytes) -> str:
        """What the plain printer makes of a part of a value."""
        dump = JsonDump(self._btf, raw)
        print_it(dump)
        return "".join(dump.out)
