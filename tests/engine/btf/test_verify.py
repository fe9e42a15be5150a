"""Verification of BTF: the kernel's verdicts and its log, fixed and on changed blobs."""

import ctypes
import errno
import os
import random
import struct
from collections.abc import Callable

import pytest

from engine.abi.bpf import Cmd
from engine.btf import Btf
from engine.btf.build import BtfBuilder
from engine.btf.decl import signature, type_text
from engine.btf.jsondump import json_value
from engine.btf.show import show_value
from engine.btf.types import (
    Array,
    DeclTag,
    Encoding,
    Func,
    Int,
    Kind,
    Member,
    Modifier,
    Param,
    SecVar,
    Typedef,
    Var,
)
from engine.btf.verify import ENOTSUPP, BtfError, verify, verify_blob
from engine.errors import KernelError
from tests.engine.btf.shapes import SHAPES, make
from tests.engine.btf.test_parse import everything
from tests.kernel_oracle import bpf, kernel_unavailable

S = Encoding.SIGNED
BLOBS = [make(shape)[0].data for shape in SHAPES] + [everything().encode()]


def verdict(data: bytes) -> tuple[int, str]:
    """(errno or 0, log) of the engine."""
    try:
        return 0, verify_blob(data)[1]
    except BtfError as error:
        return error.errno, error.log


def kernel_verdict(data: bytes) -> tuple[int, str]:
    """(errno or 0, log) of the machine's kernel."""
    blob = ctypes.create_string_buffer(data, len(data))
    log = ctypes.create_string_buffer(1 << 18)
    attr = struct.pack("<QQIII", ctypes.addressof(blob), ctypes.addressof(log), len(data), len(log), 1)
    fd = bpf(Cmd.BTF_LOAD, attr)
    if fd >= 0:
        os.close(fd)
    return max(0, -fd), log.value.decode(errors="replace")


def test_log() -> None:
    b = BtfBuilder()
    number = b.integer("int", 4, S)
    b.struct("s", 8, [Member("a", number, 0), Member("", b.pointer(number), 0)])
    b.enum("e", {"A": 1, "B": 2})
    b.func("f", b.func_proto(0, [Param("x", number), Param("", 0)]))
    assert verify(b.build()).splitlines() == [
        "[1] INT int size=4 bits_offset=0 nr_bits=32 encoding=SIGNED",
        "[2] PTR (anon) type_id=1",
        "[3] STRUCT s size=8 vlen=2",
        "\ta type_id=1 bits_offset=0",
        "\t(anon) type_id=2 bits_offset=0",
        "[4] ENUM e size=4 vlen=2",
        "\tA val=1",
        "\tB val=2",
        "[5] FUNC_PROTO (anon) return=0 args=(1 x, vararg)",
        "[6] FUNC f type_id=5",
    ]


REFUSED: list[tuple[Callable[[BtfBuilder], object], str]] = [
    (lambda b: b.struct("s", 4, [Member("a", 2, 0)]), "Loop detected"),
    (lambda b: b.array(3, 2, 1) and b.struct("s", 4, [Member("a", 2, 0)]), "Loop detected"),
    (lambda b: b.add(Typedef("t", 2)), "Loop detected"),
    (lambda b: b.add(Typedef("t", 9)), "Invalid type_id"),
    (lambda b: b.add(Typedef("", 1)), "Invalid name"),
    (lambda b: b.add(Typedef("a b", 1)), "Invalid name"),
    (lambda b: b.add(Typedef("1a", 1)), "Invalid name"),
    (lambda b: b.struct("s", 4, [Member("a", 1, 8)]), "Member exceeds struct_size"),
    (lambda b: b.struct("s", 4, [Member("a", 1, 64)]), "Member bits_offset exceeds its struct size"),
    (lambda b: b.struct("s", 8, [Member("a", 1, 32), Member("b", 1, 0)]), "Invalid member bits_offset"),
    (lambda b: b.struct("s", 4, [Member("a", 0, 0)]), "Invalid type_id"),
    (lambda b: b.struct("s", 4, [Member("a", b.fwd("f"), 0)]), "Invalid member"),
    (lambda b: b.struct("s", 8, [Member("a", b.pointer(1), 4)]), "Member is not byte aligned"),
    (lambda b: b.struct("s", 8, [Member("a", 1, 0, 33)]), "Invalid member bitfield_size"),
    (lambda b: b.union("u", 8, [Member("a", 1, 8)]), "Invalid member bits_offset"),
    (lambda b: b.add(Array(0, 1, 3)), "Invalid elem"),
    (lambda b: b.add(Array(1, 0, 3)), "Invalid index"),
    (lambda b: b.add(Array(1, b.pointer(1), 3)), "Invalid index"),
    (lambda b: b.add(Array(1, 1, 1 << 31)), "Array size overflows U32_MAX"),
    (lambda b: b.add(Int("i", 1, S, 0, 9)), "nr_bits exceeds type_size"),
    (lambda b: b.add(Int("i", 32, S, 0, 129)), "nr_bits exceeds 128"),
    (lambda b: b.add(Func("f", 1)), "Invalid type_id"),
    (lambda b: b.add(Func("f", b.func_proto(0, []), 2)), "Invalid func linkage"),
    (lambda b: b.func_proto(b.fwd("x"), []), "Invalid return type"),
    (lambda b: b.func_proto(0, [Param("a", 0), Param("b", 1)]), "Invalid arg#1"),
    (lambda b: b.func_proto(0, [Param("a", 0)]), "Invalid arg#1"),
    (lambda b: b.add(Var("v", 0)), "Invalid type_id"),
    (lambda b: b.add(Var("v", 1, 2)), "Linkage not supported"),
    (lambda b: b.datasec(".s", 0, []), "size == 0"),
    (lambda b: b.datasec(".s", 4, [SecVar(1, 0, 4)]), "Not a VAR kind member"),
    (lambda b: b.datasec(".s", 4, [SecVar(b.var("v", 1), 4, 4)]), "Invalid offset"),
    (lambda b: b.datasec(".s", 4, [SecVar(b.var("v", 1), 2, 4)]), "Invalid offset+size"),
    (lambda b: b.datasec(".s", 4, [SecVar(b.var("v", 1), 0, 3)]), "Invalid size"),
    (lambda b: b.add(DeclTag("", 1)), "Invalid value"),
    (lambda b: b.add(DeclTag("t", 1)), "Invalid type_id"),
    (lambda b: b.add(DeclTag("t", b.struct("s", 4, []), 0)), "Invalid component_idx"),
    (lambda b: b.add(DeclTag("t", b.struct("s", 4, []), -2)), "Invalid component_idx"),
    (lambda b: b.add(Modifier(Kind.TYPE_TAG, 1)), "Invalid name"),
    (lambda b: b.const(b.add(Modifier(Kind.TYPE_TAG, 1, "tag"))), "Type tags don't precede modifiers"),
    (lambda b: b.enum("e", {"": 1}), "Invalid name"),
    (
        lambda b: [b.struct("s", 4, [Member("a", n + 3, 0)]) for n in range(40)],
        "Exceeded max resolving depth:32",
    ),
]


def _blob(change: Callable[[BtfBuilder], object]) -> bytes:
    builder = BtfBuilder()
    builder.integer("int", 4, S)
    change(builder)
    return builder.encode()


@pytest.mark.parametrize(("change", "words"), REFUSED, ids=[f"{n} {row[1]}" for n, row in enumerate(REFUSED)])
def test_refused(change: Callable[[BtfBuilder], object], words: str) -> None:
    number, log = verdict(_blob(change))
    assert number in (errno.EINVAL, errno.EEXIST, errno.E2BIG)
    assert log.splitlines()[-1].endswith(words)


def test_errors_of_the_header() -> None:
    good = everything().encode()
    assert verdict(good[:2] + b"\7" + good[3:])[0] == ENOTSUPP
    assert verdict(good + b"\0")[0] == errno.EINVAL
    assert "Unsupported section found" in verdict(good + b"\0")[1]
    number, log = verdict(_blob(lambda b: b.add(Int("i", 4, Encoding(3), 0, 32))))
    assert (number, "Unsupported encoding" in log) == (ENOTSUPP, True)


def test_structs_may_point_to_themselves() -> None:
    def node(b: BtfBuilder) -> None:
        b.struct("node", 8, [Member("next", 3, 0)])
        b.pointer(2)

    assert verdict(_blob(node))[0] == 0


def test_kernel_logs_the_same() -> None:
    if reason := kernel_unavailable():
        pytest.skip(reason)
    for data in BLOBS:
        assert verdict(data) == kernel_verdict(data)


def test_kernel_refuses_the_same() -> None:
    if reason := kernel_unavailable():
        pytest.skip(reason)
    for change, _ in REFUSED:
        ours, theirs = verdict(_blob(change)), kernel_verdict(_blob(change))
        assert ours[0] == theirs[0], theirs[1]
        assert ours[1].splitlines()[-1].split()[-1] == theirs[1].splitlines()[-1].split()[-1]


def _changed(rnd: random.Random) -> bytes:
    data = bytearray(rnd.choice(BLOBS))
    (size,) = struct.unpack_from("<I", data, 12)
    for _ in range(rnd.choice([1, 1, 2])):
        at = 24 + rnd.randrange(size // 4) * 4
        (old,) = struct.unpack_from("<I", data, at)
        near = [old + 1, old - 1, old ^ 1 << rnd.randrange(32)]
        value = rnd.choice(
            [0, 1, 2, 3, *near, rnd.randrange(40), rnd.randrange(20) << 24, rnd.randrange(1 << 32)]
        )
        struct.pack_into("<I", data, at, value & 0xFFFFFFFF)
    return bytes(data)


def test_nothing_passes_that_the_kernel_refuses() -> None:
    if reason := kernel_unavailable():
        pytest.skip(reason)
    rnd = random.Random(3)
    agreed = 0
    for _ in range(2000):
        data = _changed(rnd)
        (ours, _), (theirs, log) = verdict(data), kernel_verdict(data)
        assert ours or not theirs, log
        agreed += bool(ours) == bool(theirs)
    assert agreed > 1960


def _print_all(btf: Btf, rnd: random.Random) -> int:
    """Print a value of every small type in all ways; how many there were."""
    printed = 0
    for type_id in range(1, len(btf)):
        type_text(btf, type_id)
        signature(btf, type_id)
        try:
            size = btf.size_of(type_id)
        except KernelError:
            continue
        if size <= 4096:
            value = rnd.randbytes(size)
            show_value(btf, type_id, value)
            json_value(btf, type_id, value)
            printed += 1
    return printed


def test_what_is_verified_can_be_printed() -> None:
    rnd = random.Random(4)
    printed = 0
    for _ in range(2000):
        try:
            btf, _ = verify_blob(_changed(rnd))
        except BtfError:
            continue
        printed += _print_all(btf, rnd)
    assert printed > 1000
