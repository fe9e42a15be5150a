"""What `bpftool map dump` prints of a map's elements (map.c of bpftool 7.1): plain, and as JSON."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from engine.abi.bpf import MapType
from engine.btf.btf import Btf
from engine.btf.jsontemplate import json_printer

__all__ = ["MapShape", "dump_json", "dump_plain"]

_PERCPU = frozenset(
    (
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.PERCPU_CGROUP_STORAGE,
    )
)
_LINE = 16
_SHORT = 24
_QUOTED = [f'"0x{byte:02x}"' for byte in range(256)]


@dataclass(frozen=True, slots=True)
class MapShape:
    """What printing needs to know of a map. Without BTF `btf` is None and the type ids are 0."""

    type: int
    key_size: int
    value_size: int
    btf: Btf | None = None
    key_type_id: int = 0
    value_type_id: int = 0

    def values(self, value: bytes) -> list[bytes] | None:
        """The value of each CPU; None if the map has one value for all."""
        if self.type not in _PERCPU:
            return None
        stride = (self.value_size + 7) & ~7
        return [value[at : at + self.value_size] for at in range(0, len(value), stride)]


def _hex(data: bytes) -> str:
    """`fprint_hex`: sixteen bytes a line, a wider gap in the middle."""
    lines = (data[at : at + _LINE] for at in range(0, len(data), _LINE))
    return "\n".join("  ".join(half.hex(" ") for half in (line[:8], line[8:]) if half) for line in lines)


def _plain(shape: MapShape, key: bytes, value: bytes) -> str:
    values = shape.values(value)
    if values is not None:
        gap = "\n" if shape.value_size > _LINE else " "
        head = f"key:\n{_hex(key)}\n" if key else ""
        return head + "".join(f"value (CPU {cpu:02d}):{gap}{_hex(v)}\n" for cpu, v in enumerate(values))
    long = shape.key_size > _LINE or shape.value_size > _LINE
    gap = "\n" if long else " "
    short = shape.key_size + shape.value_size <= _SHORT and not long
    head = f"key:{gap}{_hex(key)}{'  ' if short else chr(10)}" if key else ""
    return f"{head}value:{gap}{_hex(value)}\n" if value else head + "\n"


def dump_plain(shape: MapShape, elements: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """`bpftool map dump` of a map without BTF, element by element, and how many there were."""
    count = 0
    for key, value in elements:
        count += 1
        yield _plain(shape, key, value).encode()
    yield f"Found {count} element{'' if count == 1 else 's'}\n".encode()


def _bytes(data: bytes) -> str:
    return f"[{','.join([_QUOTED[byte] for byte in data])}]"


def _percpu(texts: Iterable[str]) -> str:
    return "[" + ",".join(f'{{"cpu":{cpu},"value":{text}}}' for cpu, text in enumerate(texts)) + "]"


_Formatted = Callable[[bytes, bytes], str]


def _formatter(shape: MapShape) -> _Formatted | None:
    """What prints an element by its types; None without any."""
    if shape.btf is None or not shape.value_type_id:
        return None
    show_key = json_printer(shape.btf, shape.key_type_id) if shape.key_type_id else None
    show_value = json_printer(shape.btf, shape.value_type_id)

    def formatted(key: bytes, value: bytes) -> str:
        head = ""
        if show_key is not None:
            text, whole = show_key(key)
            if not whole:
                return f'{{"key":{text}}}'
            head = f'"key":{text},'
        values = shape.values(value)
        if values is None:
            return f'{{{head}"value":{show_value(value)[0]}}}'
        texts: list[str] = []
        for part in values:
            text, whole = show_value(part)
            texts.append(text)
            if not whole:
                break
        return f'{{{head}"values":{_percpu(texts)}}}'

    return formatted


def _json(shape: MapShape, formatted: _Formatted | None, key: bytes, value: bytes) -> str:
    values = shape.values(value)
    if values is not None:
        text = f'"key":{_bytes(key)},"values":{_percpu(_bytes(part) for part in values)}'
    else:
        text = f'"key":{_bytes(key)},"value":{_bytes(value)}'
    if formatted is not None:
        text += f',"formatted":{formatted(key, value)}'
    return f"{{{text}}}"


def dump_json(shape: MapShape, elements: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """`bpftool -j map dump`: one array, in pieces."""
    comma = "["
    formatted = _formatter(shape)
    for key, value in elements:
        yield (comma + _json(shape, formatted, key, value)).encode("utf-8", "surrogateescape")
        comma = ","
    yield b"]\n" if comma == "," else b"[]\n"
