"""Map dumps against bpftool, on every shape of value."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from engine.abi.bpf import MapType
from engine.btf.dump import MapShape, dump_json, dump_plain
from engine.btf.jsondump import json_string, json_value, try_json_value
from engine.btf.jsontemplate import json_printer
from tests.engine.btf.pinned import bpffs_unavailable, pinned_map
from tests.engine.btf.shapes import SHAPES, Shape, make, values

WORD = struct.Struct("<I")
BY_NAME = {shape.name: shape for shape in SHAPES}
PERCPU = (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("struct", b"\x01\0\0\0ab\0\0\x02\0\0\0", '{"a":1,"s":"ab","b":2}'),
        ("bit fields", b"\x0b\x02\0\0\x03\0\0\0", '{"a":"0x3","b":"0x1","c":"0x2","d":"0x1","e":"0x1"}'),
        ("enums", b"\x41\0\0\0\xff\xff\xff\xff", '{"a":"C","b":"X"}'),
        ("u128", b"\xff" * 16, '"0xffffffffffffffffffffffffffffffff"'),
        ("characters", b"a\1\xff\n'", '["a","\\u0001","\\u00ff","\\u000a","\'"]'),
        ("float", bytes(12), '{"m":(unsupported-kind}'),
        ("bool", b"\x07", "true"),
        ("pointer", b"\xff" * 8, "18446744073709551615"),
        ("section", bytes(20), '{".bss":[{"x":0},{"y":""},{"st":{"a":0,"s":"","b":0}}]}'),
    ],
)
def test_json_value(name: str, value: bytes, text: str) -> None:
    btf, type_id = make(BY_NAME[name])
    assert json_value(btf, type_id, value) == text


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_printer_of_a_type_prints_the_same(shape: Shape) -> None:
    btf, type_id = make(shape)
    show = json_printer(btf, type_id)
    for value in values(shape, 200):
        assert show(value) == try_json_value(btf, type_id, value)


def test_which_types_have_no_fast_printer() -> None:
    """Those with bit fields, members that overlap, and what is not printed or has no letter."""
    slow = {shape.name for shape in SHAPES if getattr(json_printer(*make(shape)), "func", None)}
    assert slow == {"u128", "bit fields", "old bit fields", "nested", "unions", "float"}


def test_json_string() -> None:
    assert json_string('a"b\\c') == '"a\\"b\\nc"'


@pytest.mark.parametrize(
    ("key_size", "value_size", "text"),
    [
        (4, 4, "key: 01 00 00 00  value: 02 00 00 00\nFound 1 element\n"),
        (4, 12, "key: 01 00 00 00  value: 02 00 00 00 00 00 00 00  00 00 00 00\nFound 1 element\n"),
        (
            16,
            16,
            f"key: {'01' + ' 00' * 7}  {'00' + ' 00' * 7}\nvalue: {'02' + ' 00' * 7}  {'00' + ' 00' * 7}\n"
            "Found 1 element\n",
        ),
        (4, 17, f"key:\n01 00 00 00\nvalue:\n{'02' + ' 00' * 7}  {'00' + ' 00' * 7}\n00\nFound 1 element\n"),
    ],
)
def test_plain(key_size: int, value_size: int, text: str) -> None:
    key, value = b"\1".ljust(key_size, b"\0"), b"\2".ljust(value_size, b"\0")
    shape = MapShape(MapType.HASH, key_size, value_size)
    assert b"".join(dump_plain(shape, [(key, value)])).decode() == text


def test_maps_in_a_map_are_ids() -> None:
    shape = MapShape(MapType.ARRAY_OF_MAPS, 4, 4)
    elements = [(WORD.pack(1), WORD.pack(7))]
    assert b"".join(dump_plain(shape, elements)) == (
        b"key: 01 00 00 00  value: 07 00 00 00\nFound 1 element\n"
    )
    assert b"".join(dump_json(shape, elements)) == (
        b'[{"key":["0x01","0x00","0x00","0x00"],"value":["0x07","0x00","0x00","0x00"]}]\n'
    )


def test_empty_maps() -> None:
    shape = MapShape(MapType.HASH, 4, 4)
    assert b"".join(dump_plain(shape, [])) == b"Found 0 elements\n"
    assert b"".join(dump_json(shape, [])) == b"[]\n"


def _bpftool(pin: Path, *options: str) -> bytes:
    command = ["bpftool", *options, "map", "dump", "pinned", str(pin)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _need_bpftool() -> None:
    if reason := bpffs_unavailable():
        pytest.skip(reason)
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is not installed")


def _elements(shape: Shape, map_type: MapType) -> list[tuple[bytes, bytes]]:
    cpus = (os.cpu_count() or 1) if map_type in PERCPU else 1
    made = values(shape, cpus * (1 if shape.section or "HASH" in map_type.name else 6))
    if map_type in PERCPU:
        made = [value.ljust((len(value) + 7) & ~7, b"\0") for value in made]
    return [(WORD.pack(i), b"".join(made[i * cpus : (i + 1) * cpus])) for i in range(len(made) // cpus)]


@pytest.mark.parametrize("map_type", [MapType.ARRAY, MapType.HASH, *PERCPU])
def test_bpftool_prints_the_same_json(map_type: MapType) -> None:
    _need_bpftool()
    for value_shape in SHAPES:
        if value_shape.section and map_type != MapType.ARRAY:
            continue
        btf, type_id = make(value_shape)
        elements = _elements(value_shape, map_type)
        ids = (0 if value_shape.section else 1, type_id)
        shape = MapShape(map_type, 4, value_shape.size, btf, *ids)
        with pinned_map(map_type, (4, value_shape.size, len(elements)), btf, ids, elements) as pin:
            assert _bpftool(pin, "-j") == b"".join(dump_json(shape, elements)), value_shape.name


@pytest.mark.parametrize("map_type", [MapType.ARRAY, MapType.PERCPU_ARRAY])
@pytest.mark.parametrize("size", [1, 8, 12, 16, 17, 20, 21, 40])
def test_bpftool_prints_the_same_without_btf(map_type: MapType, size: int) -> None:
    _need_bpftool()
    btf, _ = make(BY_NAME["u32"])
    elements = _elements(Shape(f"plain {size}", size, lambda b: 1), map_type)
    shape = MapShape(map_type, 4, size)
    with pinned_map(map_type, (4, size, len(elements)), btf, (0, 0), elements) as pin:
        assert _bpftool(pin) == b"".join(dump_plain(shape, elements))
        assert _bpftool(pin, "-j") == b"".join(dump_json(shape, elements))
