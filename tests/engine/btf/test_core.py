"""CO-RE: every kind of relocation, matching rules, and what happens when the kernel has no answer."""

import errno
from collections.abc import Callable

import pytest

from engine.btf import Btf
from engine.btf.build import BtfBuilder
from engine.btf.core import relocate
from engine.btf.corepatch import POISON
from engine.btf.coretypes import types_compatible, types_match
from engine.btf.ext import CoreKind, CoreRelo
from engine.btf.types import Encoding, Member, Param
from engine.errors import KernelError
from engine.isa import Insn, assemble, decode, encode

S = Encoding.SIGNED
MOV, LDX32, LDX64 = "r1 = {}", "r1 = *(u32 *)(r2 + {})", "r1 = *(u64 *)(r2 + {})"


def local_types() -> tuple[Btf, int, int]:
    """The program's idea: a struct of four fields, and an enum."""
    b = BtfBuilder()
    number = b.integer("int", 4, S)
    array = b.array(number, 4, number)
    unsigned = b.integer("unsigned int", 4)
    rows = [
        Member("a", unsigned, 0),
        Member("arr", array, 32),
        Member("p", b.pointer(0), 192),
        Member("bit", unsigned, 256, 3),
        Member("sbit", number, 259, 5),
    ]
    struct_id = b.struct("s___mine", 40, rows)
    enum = b.enum("e", {"ONE": 1, "TWO": 2, "GONE": 3})
    return b.build(), struct_id, enum


def kernel_types(change: Callable[[BtfBuilder, list[Member]], list[Member]] | None = None) -> Btf:
    """The kernel's: moved by 64 bits, and behind an anonymous struct."""
    b = BtfBuilder()
    number = b.integer("int", 4, S)
    unsigned = b.integer("unsigned int", 4)
    array = b.array(number, 8, number)
    inner = b.struct("", 40, [Member("arr", array, 0), Member("p", b.pointer(0), 256)])
    rows = [
        Member("first", number, 0),
        Member("a", unsigned, 64),
        Member("", inner, 128),
        Member("bit", unsigned, 448, 4),
        Member("sbit", number, 452, 6),
    ]
    rows = change(b, rows) if change is not None else rows
    b.struct("s", 64, rows)
    b.enum("e", {"ZERO": 0, "ONE": 11, "TWO___x": 12})
    return b.build()


def ask(
    kind: CoreKind,
    access: str,
    text: str,
    before: int,
    kernel: Btf | None = None,
    *,
    enum: bool = False,
) -> Insn:
    """The one instruction `text` (with `before` in it) after relocation."""
    local, struct_id, enum_id = local_types()
    insns = bytearray(encode(assemble(text.format(before))))
    relo = CoreRelo(0, enum_id if enum else struct_id, access, kind)
    relocate("prog", insns, [relo], local, kernel if kernel is not None else kernel_types())
    return decode(insns)[0]


@pytest.mark.parametrize(
    ("kind", "access", "before", "after"),
    [
        (CoreKind.FIELD_BYTE_OFFSET, "0:0", 0, 8),
        (CoreKind.FIELD_BYTE_OFFSET, "0:1", 4, 16),
        (CoreKind.FIELD_BYTE_OFFSET, "0:1:3", 16, 28),
        (CoreKind.FIELD_BYTE_OFFSET, "1:0", 40, 72),
        (CoreKind.FIELD_BYTE_OFFSET, "0:2", 24, 48),
        (CoreKind.FIELD_BYTE_OFFSET, "0:3", 32, 56),
        (CoreKind.FIELD_BYTE_SIZE, "0:1", 16, 32),
        (CoreKind.FIELD_BYTE_SIZE, "0:1:0", 4, 4),
        (CoreKind.FIELD_BYTE_SIZE, "0:3", 4, 4),
        (CoreKind.FIELD_EXISTS, "0:0", 1, 1),
        (CoreKind.FIELD_SIGNED, "0:0", 0, 0),
        (CoreKind.FIELD_SIGNED, "0:4", 1, 1),
        (CoreKind.FIELD_LSHIFT_U64, "0:0", 32, 32),
        (CoreKind.FIELD_RSHIFT_U64, "0:0", 32, 32),
        (CoreKind.FIELD_LSHIFT_U64, "0:3", 61, 60),
        (CoreKind.FIELD_RSHIFT_U64, "0:3", 61, 60),
        (CoreKind.FIELD_LSHIFT_U64, "0:4", 56, 54),
        (CoreKind.FIELD_RSHIFT_U64, "0:4", 59, 58),
        (CoreKind.TYPE_EXISTS, "0", 1, 1),
        (CoreKind.TYPE_SIZE, "0", 40, 64),
    ],
)
def test_fields_and_types(kind: CoreKind, access: str, before: int, after: int) -> None:
    assert ask(kind, access, MOV, before).imm == after


def test_type_ids() -> None:
    kernel = kernel_types()
    assert ask(CoreKind.TYPE_ID_TARGET, "0", MOV, 77, kernel).imm == kernel.find("s")
    _, struct_id, _ = local_types()
    assert ask(CoreKind.TYPE_ID_LOCAL, "0", MOV, 77, kernel).imm == struct_id


def test_local_ids_need_no_kernel() -> None:
    local, struct_id, _ = local_types()
    insns = bytearray(encode(assemble("r1 = 5")))
    relocate("prog", insns, [CoreRelo(0, struct_id, "0", CoreKind.TYPE_ID_LOCAL)], local, None)
    assert decode(insns)[0].imm == struct_id
    with pytest.raises(KernelError) as caught:
        relocate("prog", insns, [CoreRelo(0, struct_id, "0", CoreKind.TYPE_SIZE)], local, None)
    assert caught.value.errno == errno.ESRCH


@pytest.mark.parametrize(
    ("kind", "access", "before", "after"),
    [
        (CoreKind.ENUMVAL_VALUE, "0", 1, 11),
        (CoreKind.ENUMVAL_VALUE, "1", 2, 12),
        (CoreKind.ENUMVAL_EXISTS, "0", 1, 1),
        (CoreKind.ENUMVAL_EXISTS, "2", 1, 0),
    ],
)
def test_enumerators(kind: CoreKind, access: str, before: int, after: int) -> None:
    assert ask(kind, access, MOV, before, enum=True).imm == after


def test_missing_enumerator_poisons() -> None:
    assert ask(CoreKind.ENUMVAL_VALUE, "2", MOV, 3, enum=True) == Insn(0x85, 0, 0, 0, POISON)


def test_wide_loads() -> None:
    local, _, enum_id = local_types()
    insns = bytearray(encode(assemble("r1 = 0x1 ll")))
    relo = CoreRelo(0, enum_id, "0", CoreKind.ENUMVAL_VALUE)
    b = BtfBuilder()
    b.enum("e", {"ONE": (5 << 40) + 9}, 8)
    relocate("prog", insns, [relo], local, b.build())
    first, second = decode(insns)
    assert (first.imm, second.imm) == (9, 5 << 8)


def test_memory_accesses() -> None:
    assert ask(CoreKind.FIELD_BYTE_OFFSET, "0:0", LDX32, 0).off == 8
    assert ask(CoreKind.FIELD_BYTE_OFFSET, "0:2", LDX64, 24).off == 48


def _wider(b: BtfBuilder, rows: list[Member]) -> list[Member]:
    return [Member("a", b.integer("unsigned long", 8), 64)]


def _signed(b: BtfBuilder, rows: list[Member]) -> list[Member]:
    return [Member("a", b.integer("long", 8, S), 64)]


def test_unsigned_loads_change_their_size() -> None:
    insn = ask(CoreKind.FIELD_BYTE_OFFSET, "0:0", LDX32, 0, kernel_types(_wider))
    assert (insn, insn.off) == (assemble("r1 = *(u64 *)(r2 + 8)")[0], 8)


def test_signed_loads_of_another_size_are_poisoned() -> None:
    insn = ask(CoreKind.FIELD_BYTE_OFFSET, "0:0", LDX32, 0, kernel_types(_signed))
    assert insn.imm == POISON
    assert ask(CoreKind.FIELD_BYTE_OFFSET, "0:0", MOV, 0, kernel_types(_signed)).imm == 8


@pytest.mark.parametrize(
    "kind", [CoreKind.FIELD_BYTE_OFFSET, CoreKind.FIELD_BYTE_SIZE, CoreKind.FIELD_SIGNED]
)
def test_missing_fields_poison(kind: CoreKind) -> None:
    before = {CoreKind.FIELD_BYTE_OFFSET: 0, CoreKind.FIELD_BYTE_SIZE: 4, CoreKind.FIELD_SIGNED: 0}[kind]
    assert ask(kind, "0:0", MOV, before, kernel_types(lambda b, rows: rows[2:])).imm == POISON


def test_missing_fields_do_not_exist() -> None:
    assert ask(CoreKind.FIELD_EXISTS, "0:0", MOV, 1, kernel_types(lambda b, rows: rows[2:])).imm == 0


def test_missing_types() -> None:
    nothing = BtfBuilder()
    nothing.integer("int", 4)
    kernel = nothing.build()
    assert ask(CoreKind.TYPE_EXISTS, "0", MOV, 1, kernel).imm == 0
    assert ask(CoreKind.TYPE_SIZE, "0", MOV, 40, kernel).imm == 0
    assert ask(CoreKind.TYPE_ID_TARGET, "0", MOV, 9, kernel).imm == 0
    assert ask(CoreKind.FIELD_EXISTS, "0:0", MOV, 1, kernel).imm == 0


def test_incompatible_fields_do_not_count() -> None:
    def pointer(b: BtfBuilder, rows: list[Member]) -> list[Member]:
        return [Member("a", b.pointer(0), 0)]

    assert ask(CoreKind.FIELD_EXISTS, "0:0", MOV, 1, kernel_types(pointer)).imm == 0


def test_array_bounds_are_the_kernels() -> None:
    def short(b: BtfBuilder, rows: list[Member]) -> list[Member]:
        return [Member("arr", b.array(1, 2, 1), 0)]

    kernel = kernel_types(short)
    assert ask(CoreKind.FIELD_EXISTS, "0:1:1", MOV, 1, kernel).imm == 1
    assert ask(CoreKind.FIELD_EXISTS, "0:1:3", MOV, 1, kernel).imm == 0


def test_flavours_must_agree() -> None:
    def twice(offset: int) -> Btf:
        b = BtfBuilder()
        number = b.integer("unsigned int", 4)
        b.struct("s", 40, [Member("a", number, 0)])
        b.struct("s___2", 40, [Member("a", number, offset)])
        return b.build()

    assert ask(CoreKind.FIELD_BYTE_OFFSET, "0:0", MOV, 0, twice(0)).imm == 0
    with pytest.raises(KernelError, match="field offset ambiguity"):
        ask(CoreKind.FIELD_BYTE_OFFSET, "0:0", MOV, 0, twice(32))


@pytest.mark.parametrize(
    ("kind", "access", "text", "before", "words"),
    [
        (CoreKind.FIELD_BYTE_OFFSET, "0:0", MOV, 99, "got 99, exp 0 -> 8"),
        (CoreKind.FIELD_BYTE_OFFSET, "0:0", LDX32, 4, "got 4, exp 0 -> 8"),
        (CoreKind.FIELD_BYTE_OFFSET, "0:9", MOV, 0, "no member 9"),
        (CoreKind.FIELD_BYTE_OFFSET, "0:1:9", MOV, 0, "no element 9"),
        (CoreKind.FIELD_BYTE_OFFSET, "0:0:0", MOV, 0, "unexpected kind INT"),
        (CoreKind.FIELD_BYTE_OFFSET, "", MOV, 0, "invalid access"),
        (CoreKind.FIELD_BYTE_OFFSET, "0:-1", MOV, 0, "invalid access"),
        (CoreKind.FIELD_BYTE_OFFSET, ":".join("0" * 65), MOV, 0, "too deep"),
        (CoreKind.FIELD_SIGNED, "0:1:0", MOV, 0, "array access"),
        (CoreKind.TYPE_EXISTS, "0:1", MOV, 0, "whole type"),
        (CoreKind.FIELD_BYTE_OFFSET, "0:0", "r1 = r2", 0, "without an immediate"),
        (CoreKind.FIELD_BYTE_OFFSET, "0:0", "exit", 0, "unrecognized instruction"),
    ],
)
def test_refused(kind: CoreKind, access: str, text: str, before: int, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        ask(kind, access, text, before)
    assert caught.value.errno in (errno.EINVAL, errno.E2BIG)
    assert "prog 'prog'" in caught.value.message


def test_candidates_that_match_are_the_only_ones_from_then_on() -> None:
    local, struct_id, _ = local_types()
    b = BtfBuilder()
    unsigned = b.integer("unsigned int", 4)
    b.struct("s", 8, [Member("a", unsigned, 32)])
    b.struct("s___other", 40, [Member("a", unsigned, 64), Member("bit", unsigned, 96, 3)])
    kernel = b.build()
    first, second = (CoreRelo(0, struct_id, f"0:{n}", CoreKind.FIELD_BYTE_OFFSET) for n in (3, 0))
    candidates: dict[int, list[int]] = {}
    with pytest.raises(KernelError, match="ambiguity"):
        relocate("p", bytearray(encode(assemble(LDX32.format(0)))), [second], local, kernel, candidates)
    relocate("p", bytearray(encode(assemble(LDX32.format(32)))), [first], local, kernel, candidates)
    insns = bytearray(encode(assemble(LDX32.format(0))))
    relocate("q", insns, [second], local, kernel, candidates)
    assert decode(insns)[0].off == 8


def test_relocation_of_no_instruction() -> None:
    local, struct_id, _ = local_types()
    with pytest.raises(KernelError, match="of no instruction"):
        relo = CoreRelo(5, struct_id, "0", CoreKind.TYPE_EXISTS)
        relocate("p", bytearray(8), [relo], local, kernel_types())


def _prototypes(b: BtfBuilder, *, wide: bool, count: int = 2) -> int:
    number = b.integer("long" if wide else "int", 8 if wide else 4, S)
    other = b.struct("arg", 4, [Member("x", number, 0)])
    proto = b.func_proto(number, [Param("a", number), Param("b", b.pointer(other))][:count])
    return b.typedef("fn_t", b.pointer(proto))


def test_compatible_types() -> None:
    one, two, three = BtfBuilder(), BtfBuilder(), BtfBuilder()
    ids = (_prototypes(one, wide=False), _prototypes(two, wide=True), _prototypes(three, wide=True, count=1))
    blobs = (one.build(), two.build(), three.build())
    assert types_compatible(blobs[0], ids[0], blobs[1], ids[1])
    assert not types_compatible(blobs[0], ids[0], blobs[2], ids[2])
    assert not types_match(blobs[0], ids[0], blobs[1], ids[1])
    assert types_match(blobs[0], ids[0], blobs[0], ids[0])


def test_matching_structs() -> None:
    def made(*names: str, size: int = 4) -> tuple[Btf, int]:
        b = BtfBuilder()
        number = b.integer("int", size, S)
        rows = [Member(name, number, index * 64) for index, name in enumerate(names)]
        type_id = b.struct("s", 32, rows)
        return b.build(), type_id

    few, many, wide = made("a", "b"), made("c", "b", "a"), made("a", "b", size=8)
    assert types_match(*few, *many)
    assert not types_match(*many, *few)
    assert not types_match(*few, *wide)


def test_forward_declarations_match_behind_pointers() -> None:
    b, k = BtfBuilder(), BtfBuilder()
    ours = b.pointer(b.fwd("s"))
    theirs = k.pointer(k.struct("s", 4, []))
    union = k.pointer(k.union("s", 4, []))
    assert types_match(b.build(), ours, k.build(), theirs)
    assert not types_match(b.build(), ours, k.build(), union)
    assert not types_match(b.build(), ours - 1, k.build(), theirs - 1)


def test_matching_enums() -> None:
    def made(size: int, *names: str) -> tuple[Btf, int]:
        b = BtfBuilder()
        type_id = b.enum("e", {name: index for index, name in enumerate(names)}, size)
        return b.build(), type_id

    assert types_match(*made(4, "A"), *made(4, "B", "A"))
    assert not types_match(*made(4, "A", "B"), *made(4, "A"))
    assert not types_match(*made(4, "A"), *made(8, "A"))
    assert types_match(*made(8, "A"), *made(8, "A___x"))


def test_hostile_types_end() -> None:
    b = BtfBuilder()
    number = b.integer("int", 4)
    below = b.struct("x", 4, [Member("a", number, 0)])
    for _ in range(40):
        below = b.struct("x", 4, [Member("a", below, 0), Member("b", below, 0)])
    btf = b.build()
    with pytest.raises(KernelError, match="nested too deeply"):
        types_match(btf, below, btf, below)
