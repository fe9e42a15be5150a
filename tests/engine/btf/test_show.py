"""The text of pinned maps: fixed lines, and the machine's kernel on every shape of value."""

import os
import re
import struct
from collections.abc import Iterable
from functools import partial

import pytest

from engine.abi.bpf import MapType
from engine.btf import Btf
from engine.btf.seqshow import WARNING, show_map, shows_text
from engine.btf.show import show_value
from engine.btf.template import printer
from tests.engine.btf.pinned import bpffs_unavailable, pinned_map
from tests.engine.btf.shapes import SHAPES, Shape, make, values

WORD = struct.Struct("<I")
BY_NAME = {shape.name: shape for shape in SHAPES}
POINTER = re.compile(rb"0x0000[0-9a-f]{12}")


def shown(name: str, value: bytes) -> bytes:
    """Text of a value of the named shape."""
    btf, type_id = make(BY_NAME[name])
    return show_value(btf, type_id, value)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("u32", b"\x05\0\0\0", b"5"),
        ("s64", b"\xff" * 8, b"-1"),
        ("char", b"\x41", b"65"),
        ("u128", bytes(8) + b"\x01" + bytes(7), b"0x10000000000000000"),
        ("pointer", bytes(8), b"0x0000000000000000"),
        ("struct", b"\x01\0\0\0ab\0\0\x02\0\0\0", b"{1,['a','b',],2,}"),
        ("array of structs", bytes(24), b"[0,],0,},0,],0,},]"),
        ("bit fields", b"\x0b\x02\0\0\x03\0\0\0", b"{0x3,0x1,0x2,0x1,0x1,}"),
        ("enums", b"\x41\0\0\0\xff\xff\xff\xff", b"{C,X,}"),
        ("enums", b"\x07\0\0\0\x02\0\0\0", b"{7,2,}"),
        ("unions", bytes(16), b"{{{0,[],0,},0,},{}|0,}"),
        ("float", bytes(12), b"{<unsupported kind:16>0,}"),
        ("section", bytes(20), b'section (".bss") = {0,[],{0,[],0,}'),
        ("text", b"it's\xe9\x01\0" + bytes(9), b"['i','t',''','s','\xe9',1,]"),
    ],
)
def test_value(name: str, value: bytes, text: bytes) -> None:
    assert shown(name, value) == text


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_printer_of_a_type_prints_the_same(shape: Shape) -> None:
    btf, type_id = make(shape)
    show = printer(btf, type_id)
    for value in values(shape, 200):
        assert show(value) == show_value(btf, type_id, value)


def test_which_types_have_no_fast_printer() -> None:
    """Those with bit fields, members that overlap, and what a struct format has no letter for."""
    slow = {shape.name for shape in SHAPES if isinstance(printer(*make(shape)), partial)}
    odd = {"u128", "bit fields", "old bit fields", "enum of one byte", "enum of two bytes"}
    assert slow == odd | {"nested", "matrix", "unions"}


def test_pointers_are_hashed_alike_within_a_run() -> None:
    one = shown("pointer", b"\1" * 8)
    assert POINTER.fullmatch(one)
    assert one != b"0x0101010101010101"
    assert shown("pointer", b"\1" * 8) == one
    assert shown("pointer", b"\2" * 8) != one


def test_error_pointers_are_shown() -> None:
    assert shown("pointer", (-22).to_bytes(8, "little", signed=True)) == b"0xffffffffffffffea"


@pytest.mark.parametrize(
    ("map_type", "ids", "text"),
    [
        (MapType.ARRAY, (1, 1), b"7: 9\n"),
        (MapType.ARRAY, (0, 1), b"9\n"),
        (MapType.HASH, (1, 1), b"7: 9\n"),
        (MapType.PERCPU_ARRAY, (1, 1), b"7: {\n\tcpu0: 9\n\tcpu1: 0\n}\n"),
        (MapType.PERCPU_HASH, (1, 1), b"7: {\n\tcpu0: 9\n\tcpu1: 0\n}\n"),
        (MapType.LRU_HASH, (1, 1), b"7: 9\n"),
        (MapType.PROG_ARRAY, (1, 1), b"7: 9\n"),
    ],
)
def test_element(map_type: MapType, ids: tuple[int, int], text: bytes) -> None:
    btf, _ = make(BY_NAME["u32"])
    percpu = map_type in (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH)
    value = WORD.pack(9) + bytes(12 if percpu else 0)
    assert b"".join(show_map(map_type, btf, ids, [(WORD.pack(7), value)])) == WARNING + text


def test_which_maps_have_text() -> None:
    assert shows_text(MapType.HASH, 1)
    assert not shows_text(MapType.HASH, 0)
    assert not shows_text(MapType.QUEUE, 1)
    assert not shows_text(MapType.PERF_EVENT_ARRAY, 1)


def _elements(shape: Shape, percpu: bool) -> list[tuple[bytes, bytes]]:
    cpus = os.cpu_count() or 1
    plain = values(shape, 1 if shape.section else 6 * cpus)
    if not percpu:
        return [(WORD.pack(i), value) for i, value in enumerate(plain)]
    padded = [value.ljust((len(value) + 7) & ~7, b"\0") for value in plain]
    return [(WORD.pack(i), b"".join(padded[i * cpus : (i + 1) * cpus])) for i in range(len(padded) // cpus)]


def _masked(text: bytes) -> bytes:
    return POINTER.sub(b"POINTER", text)


def _ours(
    map_type: MapType, btf: Btf, ids: tuple[int, int], elements: Iterable[tuple[bytes, bytes]]
) -> bytes:
    return _masked(b"".join(show_map(map_type, btf, ids, elements)))


@pytest.mark.parametrize("map_type", [MapType.ARRAY, MapType.HASH, MapType.PERCPU_ARRAY, MapType.PERCPU_HASH])
def test_kernel_prints_the_same(map_type: MapType) -> None:
    if reason := bpffs_unavailable():
        pytest.skip(reason)
    percpu = map_type in (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH)
    for shape in SHAPES:
        if shape.section and map_type != MapType.ARRAY:
            continue
        btf, type_id = make(shape)
        elements = _elements(shape, percpu)
        ids = (0 if shape.section else 1, type_id)
        sizes = (4, shape.size, len(elements))
        with pinned_map(map_type, sizes, btf, ids, elements) as pin:
            text = pin.read_bytes()
        assert text.startswith(WARNING), shape.name
        by_key = {_ours(map_type, btf, ids, [element])[len(WARNING) :]: None for element in elements}
        if map_type in (MapType.ARRAY, MapType.PERCPU_ARRAY):
            assert _masked(text) == _ours(map_type, btf, ids, elements), shape.name
        else:
            rest = _masked(text)[len(WARNING) :]
            assert sorted(by_key) == sorted(_split(rest, percpu)), shape.name


def _split(text: bytes, percpu: bool) -> list[bytes]:
    """Elements of a hash, whose order is the kernel's own."""
    if percpu:
        return [part + b"\n}\n" for part in text.split(b"\n}\n") if part]
    return [line + b"\n" for line in re.split(rb"\n(?=\d+: |$)", text) if line]
