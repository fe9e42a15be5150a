"""Types of map values in all shapes, for printers to be compared on."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from engine.btf import Btf
from engine.btf.build import BtfBuilder
from engine.btf.types import Encoding, Enum, Enumerator, Float, Int, Kind, Member, SecVar

__all__ = ["SHAPES", "Shape", "make", "values"]

S = Encoding.SIGNED
U32 = 1
"""Every BTF of a shape starts with this type, that of the key."""


@dataclass(frozen=True)
class Shape:
    """A value of `size` bytes whose type `build` makes. `section` ones are the only element of their map."""

    name: str
    size: int
    build: Callable[[BtfBuilder], int]
    section: bool = False


def _int(b: BtfBuilder) -> int:
    return b.integer("int", 4, S)


def _char(b: BtfBuilder) -> int:
    return b.integer("char", 1, S)


def _inner(b: BtfBuilder) -> int:
    name = b.array(_char(b), 4, U32)
    return b.struct("inner", 12, [Member("a", _int(b), 0), Member("s", name, 32), Member("b", _int(b), 64)])


def _nested(b: BtfBuilder) -> int:
    inner, number = _inner(b), _int(b)
    several = b.array(inner, 2, U32)
    rows = [Member("x", number, 0), Member("in", inner, 0), Member("e", number, 0)]
    union = b.union("u", 12, rows)
    anonymous = b.struct("", 8, [Member("p", number, 0), Member("q", number, 32)])
    members = [
        Member("a", inner, 0),
        Member("arr", several, 96),
        Member("u", union, 288),
        Member("", anonymous, 384),
        Member("z", number, 448),
    ]
    return b.struct("outer", 60, members)


def _bits(b: BtfBuilder) -> int:
    rows = [
        Member("a", U32, 0, 3),
        Member("b", _int(b), 3, 5),
        Member("c", U32, 8, 24),
        Member("d", _int(b), 32, 1),
        Member("e", U32, 33, 31),
    ]
    return b.struct("bits", 8, rows)


def _old_bits(b: BtfBuilder) -> int:
    """Bit fields as before kind_flag: integers of a few bits."""
    three = b.add(Int("unsigned int", 4, Encoding.NONE, 0, 3))
    seven = b.add(Int("unsigned int", 4, Encoding.NONE, 0, 7))
    return b.struct("old", 8, [Member("a", three, 0), Member("b", seven, 3), Member("c", U32, 32)])


def _enums(b: BtfBuilder) -> int:
    plain = b.enum("plain", {"A": 0, "B": 1, "C": 65})
    signed = b.enum("signed", {"X": -1, "Y": 1})
    return b.struct("enums", 8, [Member("a", plain, 0), Member("b", signed, 32)])


def _typedefs(b: BtfBuilder) -> int:
    inner = b.typedef("inner_t", _inner(b))
    number = b.typedef("u32", U32)
    several = b.const(b.array(number, 2, U32))
    rows = [Member("a", inner, 0), Member("b", number, 96), Member("d", several, 128)]
    return b.struct("typedefs", 24, rows)


def _unions(b: BtfBuilder) -> int:
    union = b.union("u", 12, [Member("in", _inner(b), 0), Member("x", U32, 0)])
    empty = b.union("empty", 0, [])
    return b.struct("unions", 16, [Member("u", union, 0), Member("em", empty, 96), Member("k", U32, 96)])


def _matrix(b: BtfBuilder) -> int:
    return b.array(b.array(_int(b), 3, U32), 2, U32)


def _section(b: BtfBuilder) -> int:
    first = b.var("x", _int(b))
    second = b.var("y", b.array(_char(b), 4, U32))
    third = b.var("st", _inner(b))
    return b.datasec(".bss", 20, [SecVar(first, 0, 4), SecVar(second, 4, 4), SecVar(third, 8, 12)])


def _signs(b: BtfBuilder) -> int:
    rows = [
        Member("a", b.integer("signed char", 1, S), 0),
        Member("b", b.integer("unsigned char", 1), 8),
        Member("c", b.integer("short", 2, S), 16),
        Member("d", _int(b), 32),
        Member("e", b.integer("long", 8, S), 64),
        Member("f", b.integer("unsigned long", 8), 128),
        Member("g", b.integer("_Bool", 1, Encoding.BOOL), 192),
        Member("h", b.integer("chr", 1, Encoding.CHAR), 200),
    ]
    return b.struct("signs", 32, rows)


def _pair(b: BtfBuilder, member: int, size: int) -> int:
    return b.struct("pair", size + 8, [Member("m", member, 0), Member("n", U32, size * 8)])


SHAPES = [
    Shape("u32", 4, lambda b: U32),
    Shape("s64", 8, lambda b: b.integer("long", 8, S)),
    Shape("s16", 2, lambda b: b.integer("short", 2, S)),
    Shape("char", 1, _char),
    Shape("u128", 16, lambda b: b.integer("__int128", 16)),
    Shape("bool", 1, lambda b: b.integer("bool", 1, Encoding.BOOL)),
    Shape("pointer", 8, lambda b: b.pointer(0)),
    Shape("signs", 32, _signs),
    Shape("struct", 12, _inner),
    Shape("array of structs", 24, lambda b: b.array(_inner(b), 2, U32)),
    Shape("nested", 60, _nested),
    Shape("bit fields", 8, _bits),
    Shape("old bit fields", 8, _old_bits),
    Shape("matrix", 24, _matrix),
    Shape("enums", 8, _enums),
    Shape("enum of one byte", 1, lambda b: b.add(Enum(Kind.ENUM, "e", 1, (Enumerator("A", 65),)))),
    Shape("enum of two bytes", 2, lambda b: b.add(Enum(Kind.ENUM, "e", 2, (Enumerator("A", 1),), True))),
    Shape("enum64", 8, lambda b: b.enum("e", {"A": 0, "B": 1 << 63}, 8)),
    Shape("signed enum64", 8, lambda b: b.enum("e", {"A": -1, "B": 1 << 40}, 8)),
    Shape("typedef of struct", 12, lambda b: b.typedef("t", b.const(b.volatile(b.typedef("u", _inner(b)))))),
    Shape("typedefs", 24, _typedefs),
    Shape("text", 16, lambda b: b.array(_char(b), 16, U32)),
    Shape("bytes", 20, lambda b: _pair(b, b.array(b.integer("unsigned char", 1), 12, U32), 12)),
    Shape("characters", 5, lambda b: b.array(b.integer("c", 1, Encoding.CHAR), 5, U32)),
    Shape("float", 12, lambda b: _pair(b, b.add(Float("float", 4)), 4)),
    Shape("unions", 16, _unions),
    Shape("flexible", 12, lambda b: _pair(b, b.array(U32, 0, U32), 4)),
    Shape("section", 20, _section, section=True),
]


def make(shape: Shape) -> tuple[Btf, int]:
    """BTF and type id of a shape."""
    builder = BtfBuilder()
    builder.integer("unsigned int", 4)
    type_id = shape.build(builder)
    return builder.build(), type_id


def values(shape: Shape, count: int) -> list[bytes]:
    """Values with a bias to what printers treat in their own way; the same at every run."""
    rnd = random.Random(shape.name)
    odd = [0, 0, 1, 0x22, 0x27, 0x41, 0x5C, 0x61, 0x7F, 0xA0, 0xC8, 0xFF]
    made = [bytes(rnd.choice([*odd, rnd.randrange(256)]) for _ in range(shape.size)) for _ in range(count)]
    return [bytes(shape.size), b"\xff" * shape.size, *made[2:]] if count > 2 else made
