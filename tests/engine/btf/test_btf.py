"""Questions to a Btf: sizes, alignment, members, names; and fields that the kernel knows."""

import errno

import pytest

from engine.btf.build import BtfBuilder
from engine.btf.fields import spin_lock_offset, timer_offset
from engine.btf.names import essential
from engine.btf.types import Encoding, Float, Kind, Member, Modifier, SecVar, Typedef
from engine.errors import KernelError


@pytest.fixture
def b() -> BtfBuilder:
    """A builder whose type 1 is a u32."""
    made = BtfBuilder()
    made.integer("u32", 4)
    return made


def test_sizes(b: BtfBuilder) -> None:
    array = b.array(1, 6, 1)
    ids = {
        "u32": 1,
        "array": array,
        "matrix": b.array(array, 2, 1),
        "pointer": b.pointer(0),
        "typedef": b.typedef("t", b.const(array)),
        "float": b.add(Float("f", 8)),
        "var": b.var("v", array),
        "enum": b.enum("e", {"A": 1}, 8),
    }
    btf = b.build()
    sizes = {name: btf.size_of(type_id) for name, type_id in ids.items()}
    assert sizes == {
        "u32": 4,
        "array": 24,
        "matrix": 48,
        "pointer": 8,
        "typedef": 24,
        "float": 8,
        "var": 24,
        "enum": 8,
    }


def test_what_has_no_size(b: BtfBuilder) -> None:
    proto = b.func_proto(0, [])
    ids = [0, proto, b.func("f", proto), b.fwd("s"), b.const(0), b.array(1, 1 << 31, 1)]
    btf = b.build()
    for type_id in ids:
        with pytest.raises(KernelError) as caught:
            btf.size_of(type_id)
        assert caught.value.errno == errno.EINVAL


def test_typedefs_in_a_loop(b: BtfBuilder) -> None:
    b.add(Typedef("a", 3))
    b.add(Modifier(Kind.CONST, 2))
    btf = b.build()
    for question in (btf.skip, btf.resolve, btf.size_of, btf.align_of, btf.is_void):
        with pytest.raises(KernelError):
            question(2)


def test_struct_within_itself(b: BtfBuilder) -> None:
    b.struct("s", 4, [Member("", 2, 0)])
    btf = b.build()
    with pytest.raises(KernelError, match="nested too deeply"):
        btf.align_of(2)
    with pytest.raises(KernelError, match="no member"):
        btf.member(2, "x")


def test_alignment(b: BtfBuilder) -> None:
    char = b.integer("char", 1, Encoding.SIGNED)
    packed = b.struct("s", 12, [Member("a", char, 0), Member("b", b.integer("u64", 8), 32)])
    btf = b.build()
    assert (btf.align_of(char), btf.align_of(1), btf.align_of(packed)) == (1, 4, 8)


def test_members(b: BtfBuilder) -> None:
    inner = b.struct("", 8, [Member("x", 1, 0), Member("y", 1, 32)])
    outer = b.struct("outer", 24, [Member("a", 1, 0), Member("", inner, 64), Member("in", inner, 128)])
    other = b.typedef("outer_t", outer)
    btf = b.build()
    assert btf.member(other, "a") == (0, Member("a", 1, 0))
    assert btf.member(outer, "y")[0] == 96
    assert btf.member(outer, "in.y")[0] == 160
    for path in ("z", "a.x", "in.z"):
        with pytest.raises(KernelError) as caught:
            btf.member(outer, path)
        assert caught.value.errno == errno.ENOENT


def test_names(b: BtfBuilder) -> None:
    ids = [b.struct(name, 4, []) for name in ("s", "s", "s___old", "t")]
    typedef = b.typedef("s", 1)
    btf = b.build()
    assert btf.find("s") == ids[0]
    assert btf.find("s", Kind.TYPEDEF) == typedef
    assert btf.find("s", Kind.UNION) is None
    assert btf.find_all("s", Kind.STRUCT) == ids[:2]
    assert btf.flavours("s") == [*ids[:3], typedef]
    assert btf.find("nope") is None


def test_unknown_ids(b: BtfBuilder) -> None:
    btf = b.build()
    for type_id in (-1, 2, 1 << 31):
        with pytest.raises(KernelError):
            btf.type(type_id)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("task_struct", "task_struct"),
        ("task_struct___old", "task_struct"),
        ("a___b___c", "a___b"),
        ("a____b", "a____b"),
        ("___b", "___b"),
        ("a___", "a___"),
        ("", ""),
    ],
)
def test_flavours(name: str, expected: str) -> None:
    assert essential(name) == expected


def test_spin_lock_and_timer(b: BtfBuilder) -> None:
    lock = b.struct("bpf_spin_lock", 4, [Member("val", 1, 0)])
    timer = b.struct("bpf_timer", 16, [])
    plain = b.struct("plain", 4, [Member("a", 1, 0)])
    both = b.struct("both", 32, [Member("a", 1, 0), Member("l", lock, 32), Member("t", timer, 64)])
    twice = b.struct("twice", 8, [Member("a", lock, 0), Member("b", lock, 32)])
    skewed = b.struct("skewed", 8, [Member("a", lock, 16)])
    section = b.datasec(".data", 8, [SecVar(b.var("v", lock), 4, 4)])
    btf = b.build()
    assert (spin_lock_offset(btf, both), timer_offset(btf, both)) == (4, 8)
    assert spin_lock_offset(btf, plain) is None
    assert spin_lock_offset(btf, section) == 4
    for type_id, number in ((twice, errno.E2BIG), (skewed, errno.EINVAL)):
        with pytest.raises(KernelError) as caught:
            spin_lock_offset(btf, type_id)
        assert caught.value.errno == number
