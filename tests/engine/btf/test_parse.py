"""Blobs: what is built is read back, what is broken is refused with a reason."""

import errno
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.btf import Btf
from engine.btf.build import BtfBuilder, replace_records
from engine.btf.parse import HEADER, MAX_SIZE
from engine.btf.types import (
    DeclTag,
    Encoding,
    Enum,
    Float,
    Int,
    Kind,
    Linkage,
    Member,
    Modifier,
    Param,
    SecVar,
    Typedef,
)
from engine.errors import KernelError
from tests.engine.btf.shapes import SHAPES, Shape, make

VMLINUX = Path("/sys/kernel/btf/vmlinux")


def everything() -> BtfBuilder:
    """One of each kind."""
    b = BtfBuilder()
    number = b.integer("int", 4, Encoding.SIGNED)
    pointer = b.pointer(number)
    array = b.array(number, 3, number)
    struct_id = b.struct("s", 12, [Member("a", array, 0)])
    b.struct("bits", 4, [Member("x", number, 0, 3), Member("y", number, 3, 5)])
    b.union("u", 12, [Member("a", struct_id, 0), Member("b", pointer, 0)])
    b.enum("e", {"A": 0, "B": 0xFFFFFFFF})
    b.enum("neg", {"A": -5})
    b.enum("e64", {"A": 1 << 63, "B": 3}, 8)
    b.enum("neg64", {"A": -1, "B": 1 << 62}, 8)
    b.fwd("f")
    b.fwd("fu", union=True)
    b.typedef("t", struct_id)
    b.const(b.volatile(number))
    b.add(Modifier(Kind.RESTRICT, pointer))
    b.add(Modifier(Kind.TYPE_TAG, number, "tag"))
    proto = b.func_proto(number, [Param("x", number), Param("", 0)])
    b.func("fn", proto, Linkage.GLOBAL)
    var = b.var("v", number)
    b.datasec(".data", 4, [SecVar(var, 0, 4)])
    b.add(Float("float", 4))
    b.add(DeclTag("note", struct_id, 0))
    b.add(DeclTag("note", struct_id))
    return b


def test_every_kind_is_read_back() -> None:
    builder = everything()
    btf = builder.build()
    assert {record.kind for record in btf.types} == set(Kind)
    assert btf.types == builder.types


def test_encoding_again_gives_the_same_bytes() -> None:
    btf = everything().build()
    assert replace_records(btf, {}).data == btf.data


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shapes_are_read_back(shape: Shape) -> None:
    btf, _ = make(shape)
    assert replace_records(btf, {}).types == btf.types


def test_replaced_records() -> None:
    btf = everything().build()
    type_id = btf.find("t", Kind.TYPEDEF)
    assert type_id is not None
    changed = replace_records(btf, {type_id: Typedef("renamed", 1)})
    assert changed.types[type_id] == Typedef("renamed", 1)
    assert changed.strings.startswith(btf.strings)
    assert changed.types[1:type_id] == btf.types[1:type_id]


def test_the_kernels_own() -> None:
    if not VMLINUX.exists():
        pytest.skip("this kernel has no BTF")
    btf = Btf(VMLINUX.read_bytes())
    task = btf.find("task_struct", Kind.STRUCT)
    assert task is not None
    assert btf.size_of(task) > 1000
    bits, comm = btf.member(task, "comm")
    assert (bits % 8, btf.size_of(comm.type)) == (0, 16)
    assert btf.member(task, "tasks.next")[0] == btf.member(task, "tasks")[0]
    assert btf.func("vfs_read") is not None


GOOD = everything().encode()


def changed(at: int, layout: str, value: int) -> bytes:
    """GOOD with a number changed."""
    data = bytearray(GOOD)
    struct.pack_into(layout, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "number", "words"),
    [
        (b"", errno.EINVAL, "hdr_len not found"),
        (b"\x9f\xeb\1\0\x18\0\0\0", errno.EINVAL, "btf_header not found"),
        (changed(0, "<H", 0x1234), errno.EINVAL, "Invalid magic"),
        (changed(0, "<H", 0x9FEB), errno.EOPNOTSUPP, "big-endian"),
        (changed(2, "B", 2), errno.EOPNOTSUPP, "Unsupported version"),
        (changed(3, "B", 1), errno.EOPNOTSUPP, "Unsupported flags"),
        (changed(4, "<I", 8), errno.EINVAL, "btf_header not found"),
        (changed(4, "<I", 28), errno.E2BIG, "Unsupported btf_header"),
        (changed(8, "<I", 1), errno.EINVAL, "Unaligned type_off"),
        (changed(12, "<I", 1 << 30), errno.EINVAL, "Total section length too long"),
        (changed(20, "<I", 0), errno.EINVAL, "Invalid string section"),
        (GOOD[:-1], errno.EINVAL, "Total section length too long"),
        (GOOD[: HEADER.size], errno.EINVAL, "No data"),
        (GOOD[:-1] + b"x", errno.EINVAL, "Invalid string section"),
        (changed(24 + 4, "<I", 31 << 24), errno.EINVAL, r"\[1\] Invalid kind:31"),
        (changed(24 + 4, "<I", 0), errno.EINVAL, r"\[1\] Invalid kind:0"),
        (changed(24 + 4, "<I", 4 << 24 | 0xFFFF), errno.EINVAL, r"\[1\] meta_left"),
        (changed(24, "<I", 1 << 20), errno.EINVAL, r"\[1\] Invalid name_offset:1048576"),
        (bytes(MAX_SIZE + 1), errno.E2BIG, "too big"),
    ],
)
def test_refused(data: bytes, number: int, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        Btf(data)
    assert caught.value.errno == number


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) // 4 - 1), st.integers(0, 0xFFFFFFFF))
def test_a_changed_word(at: int, value: int) -> None:
    try:
        btf = Btf(changed(at * 4, "<I", value))
    except KernelError as error:
        assert error.message
        return
    for type_id in range(len(btf)):
        for question in (btf.size_of, btf.align_of, btf.resolve):
            try:
                question(type_id)
            except KernelError as error:
                assert error.errno == errno.EINVAL


def test_strings_that_lie_on_one_another() -> None:
    b = BtfBuilder()
    for _ in range(4000):
        b.add(Int("", 4, Encoding.NONE, 0, 32))
    b.add(Int("x" * 60000, 4, Encoding.NONE, 0, 32))
    data = bytearray(b.encode())
    for index in range(4000):
        struct.pack_into("<I", data, HEADER.size + index * 16, index + 1)
    with pytest.raises(KernelError, match="strings lie on one another"):
        Btf(bytes(data))


def test_enum_values_keep_their_sign() -> None:
    btf = everything().build()
    values = {}
    for record in btf.types:
        if isinstance(record, Enum):
            values[record.name] = [row.value for row in record.values]
    assert values == {"e": [0, 0xFFFFFFFF], "neg": [-5], "e64": [1 << 63, 3], "neg64": [-1, 1 << 62]}
