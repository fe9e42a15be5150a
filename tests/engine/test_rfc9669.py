"""Every instruction of RFC 9669, section by section, as `engine.vm` runs it: interpreted and native."""

import operator
from collections.abc import Callable

import pytest

from engine.isa import OPCODES, Form, assemble
from engine.vm import prepare, run_interpreted, run_native

_U64 = (1 << 64) - 1
_MEMORY = bytes.fromhex("80 91 a2 b3 c4 d5 e6 f7 08 19 2a 3b 4c 5d 6e 7f")
_X = "r0 = 0xfedcba9876543210"
_M = "r0 = 0x8000000000000000"
_JUMPED = "if {} goto yes\nr0 = 0\nexit\nyes: r0 = 1"

# (program without its exit, r0). r1 points to _MEMORY.
_SECTION_4_1 = [
    (f"{_X}\nr0 += -1", 0xFEDCBA987654320F),
    (f"{_X}\nr2 = r0\nr0 += r2", 0xFDB97530ECA86420),
    (f"{_X}\nw0 += -1", 0x7654320F),
    (f"{_X}\nr2 = -1\nw0 += w2", 0x7654320F),
    (f"{_X}\nr0 -= -16", 0xFEDCBA9876543220),
    (f"{_X}\nr2 = 0x10\nr0 -= r2", 0xFEDCBA9876543200),
    ("r0 = 0\nw0 -= 1", 0xFFFFFFFF),
    ("r0 = 0\nr2 = 1\nw0 -= w2", 0xFFFFFFFF),
    (f"{_X}\nr0 *= -3", 0xFEDCBA9876543210 * -3 & _U64),
    (f"{_X}\nr2 = -3\nr0 *= r2", 0xFEDCBA9876543210 * -3 & _U64),
    (f"{_X}\nw0 *= 16", 0x65432100),
    (f"{_X}\nr2 = 16\nw0 *= w2", 0x65432100),
    ("r0 = -7\nr0 /= 2", (1 << 63) - 4),
    ("r0 = -7\nr2 = 2\nr0 /= r2", (1 << 63) - 4),
    ("r0 = -7\nr0 /= -1", 0),
    ("r0 = 5\nr0 /= 0", 0),
    ("r0 = -7\nw0 /= 2", (1 << 31) - 4),
    ("r0 = -7\nr2 = 2\nw0 /= w2", (1 << 31) - 4),
    (f"{_X}\nr2 = 0x100000000\nw0 /= w2", 0),
    ("r0 = 5\nw0 /= 0", 0),
    ("r0 = -7\nr0 s/= 2", -3 & _U64),
    ("r0 = -7\nr2 = 2\nr0 s/= r2", -3 & _U64),
    (f"{_M}\nr0 s/= -1", 1 << 63),
    (f"{_M}\nr2 = -1\nr0 s/= r2", 1 << 63),
    ("r0 = -7\nr0 s/= 0", 0),
    ("r0 = -7\nw0 s/= 2", 0xFFFFFFFD),
    ("r0 = -7\nr2 = -2\nw0 s/= w2", 3),
    ("r0 = 0x80000000\nw0 s/= -1", 0x80000000),
    ("r0 = -7\nw0 s/= 0", 0),
    (f"{_X}\nr0 |= -256", 0xFFFFFFFFFFFFFF10),
    (f"{_X}\nr2 = 15\nr0 |= r2", 0xFEDCBA987654321F),
    (f"{_X}\nw0 |= -256", 0xFFFFFF10),
    (f"{_X}\nr2 = 15\nw0 |= w2", 0x7654321F),
    (f"{_X}\nr0 &= -256", 0xFEDCBA9876543200),
    (f"{_X}\nr2 = 0xff00\nr0 &= r2", 0x3200),
    (f"{_X}\nw0 &= -256", 0x76543200),
    (f"{_X}\nr2 = -1\nw0 &= w2", 0x76543210),
    (f"{_X}\nr0 <<= 4", 0xEDCBA98765432100),
    (f"{_X}\nr2 = 68\nr0 <<= r2", 0xEDCBA98765432100),
    (f"{_X}\nr0 <<= 68", 0xEDCBA98765432100),
    (f"{_X}\nw0 <<= 4", 0x65432100),
    (f"{_X}\nr2 = 36\nw0 <<= w2", 0x65432100),
    (f"{_X}\nw0 <<= -28", 0x65432100),
    (f"{_X}\nr0 >>= 4", 0x0FEDCBA987654321),
    (f"{_X}\nr2 = -60\nr0 >>= r2", 0x0FEDCBA987654321),
    (f"{_X}\nr0 >>= -60", 0x0FEDCBA987654321),
    (f"{_X}\nw0 >>= 4", 0x07654321),
    (f"{_X}\nr2 = 100\nw0 >>= w2", 0x07654321),
    ("r0 = -1\nw0 >>= -24", 0x00FFFFFF),
    ("r0 = 1\nr0 = -r0", _U64),
    (f"{_M}\nr0 = -r0", 1 << 63),
    ("r0 = 1\nw0 = -w0", 0xFFFFFFFF),
    ("r0 = 0x80000000\nw0 = -w0", 0x80000000),
    ("r0 = -7\nr0 %= 4", 1),
    ("r0 = -7\nr2 = 4\nr0 %= r2", 1),
    ("r0 = -7\nr0 %= 0", -7 & _U64),
    ("r0 = -7\nw0 %= 4", 1),
    ("r0 = -7\nr2 = 4\nw0 %= w2", 1),
    ("r0 = -7\nw0 %= 0", 0xFFFFFFF9),
    ("r0 = -7\nr0 s%= 4", -3 & _U64),
    ("r0 = -7\nr2 = 4\nr0 s%= r2", -3 & _U64),
    (f"{_M}\nr0 s%= -1", 0),
    (f"{_M}\nr2 = -1\nr0 s%= r2", 0),
    ("r0 = 7\nr0 s%= -4", 3),
    ("r0 = -7\nr0 s%= 0", -7 & _U64),
    ("r0 = -7\nw0 s%= 4", 0xFFFFFFFD),
    ("r0 = 7\nr2 = -4\nw0 s%= w2", 3),
    ("r0 = 0x80000000\nw0 s%= -1", 0),
    (f"{_X}\nr0 ^= -1", 0x0123456789ABCDEF),
    (f"{_X}\nr2 = -1\nr0 ^= r2", 0x0123456789ABCDEF),
    (f"{_X}\nw0 ^= -1", 0x89ABCDEF),
    (f"{_X}\nr2 = -1\nw0 ^= w2", 0x89ABCDEF),
    ("r0 = -5", -5 & _U64),
    (f"{_X}\nr2 = r0\nr0 = r2", 0xFEDCBA9876543210),
    ("w0 = -5", 0xFFFFFFFB),
    (f"{_X}\nw0 = w0", 0x76543210),
    ("r2 = 0x1ff80\nr0 = (s8)r2", -128 & _U64),
    ("r2 = 0x18000\nr0 = (s16)r2", -32768 & _U64),
    ("r2 = 0x180000000\nr0 = (s32)r2", -(1 << 31) & _U64),
    ("r2 = 0x1ff80\nw0 = (s8)w2", 0xFFFFFF80),
    ("r2 = 0x18000\nw0 = (s16)w2", 0xFFFF8000),
    (f"{_X}\nr0 s>>= 4", 0xFFEDCBA987654321),
    (f"{_X}\nr2 = 68\nr0 s>>= r2", 0xFFEDCBA987654321),
    (f"{_X}\nr0 s>>= 68", 0xFFEDCBA987654321),
    ("r0 = 0x180000000\nw0 s>>= 4", 0xF8000000),
    ("r0 = 0x180000000\nr2 = 36\nw0 s>>= w2", 0xF8000000),
    ("r0 = 0x180000000\nw0 s>>= 36", 0xF8000000),
]
_SECTION_4_2 = [
    (f"{_X}\nr0 = le16 r0", 0x3210),
    (f"{_X}\nr0 = le32 r0", 0x76543210),
    (f"{_X}\nr0 = le64 r0", 0xFEDCBA9876543210),
    (f"{_X}\nr0 = be16 r0", 0x1032),
    (f"{_X}\nr0 = be32 r0", 0x10325476),
    (f"{_X}\nr0 = be64 r0", 0x1032547698BADCFE),
    (f"{_X}\nr0 = bswap16 r0", 0x1032),
    (f"{_X}\nr0 = bswap32 r0", 0x10325476),
    (f"{_X}\nr0 = bswap64 r0", 0x1032547698BADCFE),
]
_COMPARED = [
    # (operator, r2 against r3 where it holds, where it does not) for 64 bits
    ("==", (-1, -1), (1, 0)),
    ("!=", (0, 1), (7, 7)),
    (">", (-1, 1), (1, 1)),
    (">=", (1, 1), (1, -1)),
    ("<", (1, -1), (1, 1)),
    ("<=", (1, 1), (-1, 1)),
    ("s>", (1, -1), (-1, 1)),
    ("s>=", (-1, -1), (-2, -1)),
    ("s<", (-1, 1), (1, -1)),
    ("s<=", (-1, -1), (0, -1)),
    ("&", (6, 2), (6, 1)),
]


def _comparisons() -> list[tuple[str, int]]:
    rows = []
    for symbol, *pairs in _COMPARED:
        for (left, right), taken in zip(pairs, (1, 0), strict=True):
            values = f"r2 = {left}\nr3 = {right}\n"
            # The upper half must not matter to 32-bit jumps: it is made to say the contrary.
            mixed = values + "r4 = 0x7000000000000000\nr2 ^= r4\nr4 = 0xf00000000\nr3 ^= r4\n"
            rows += [
                (values + _JUMPED.format(f"r2 {symbol} r3"), taken),
                (values + _JUMPED.format(f"r2 {symbol} {right}"), taken),
                (mixed + _JUMPED.format(f"w2 {symbol} w3"), taken),
                (mixed + _JUMPED.format(f"w2 {symbol} {right}"), taken),
            ]
    return rows


_SECTION_4_3 = [
    *_comparisons(),
    ("r0 = 1\ngoto out\nr0 = 2\nout: r0 += 4", 5),
    ("r0 = 1\ngotol out\nr0 = 2\nout: r0 += 4", 5),
    ("r0 = 0\ngoto check\nbody: r0 += 2\ncheck: if r0 < 10 goto body", 10),
    ("r0 = 3\nexit\nr0 = 4", 3),
    (
        "r1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\nr6 = 6\nr9 = 9\ncall f\n"
        "r0 *= 100\nr6 *= 10\nr0 += r6\nr0 += r9\nexit\n"
        "f: r6 = 0\nr9 = 0\nr0 = r1\nr0 += r2\nr0 += r3\nr0 += r4\nr0 += r5",
        1569,
    ),
]
_SECTION_5 = [
    ("r0 = *(u8 *)(r1 +1)", 0x91),
    ("r0 = *(u16 *)(r1 +1)", 0xA291),
    ("r0 = *(u32 *)(r1 +1)", 0xC4B3A291),
    ("r0 = *(u64 *)(r1 +1)", 0x08F7E6D5C4B3A291),
    ("r1 += 16\nr0 = *(u64 *)(r1 -16)", 0xF7E6D5C4B3A29180),
    ("r0 = *(s8 *)(r1 +1)", 0xFFFFFFFFFFFFFF91),
    ("r0 = *(s8 *)(r1 +15)", 0x7F),
    ("r0 = *(s16 *)(r1 +1)", 0xFFFFFFFFFFFFA291),
    ("r0 = *(s32 *)(r1 +1)", 0xFFFFFFFFC4B3A291),
    ("*(u8 *)(r1 +3) = -2\nr0 = *(u32 *)(r1 +2)", 0xD5C4FEA2),
    ("*(u16 *)(r1 +3) = -2\nr0 = *(u32 *)(r1 +2)", 0xD5FFFEA2),
    ("*(u32 *)(r1 +3) = -2\nr0 = *(u64 *)(r1 +2)", 0x1908F7FFFFFFFEA2),
    ("*(u64 *)(r1 +3) = -2\nr0 = *(u64 *)(r1 +3)", -2 & _U64),
    (f"{_X}\n*(u8 *)(r1 +3) = r0\nr0 = *(u32 *)(r1 +2)", 0xD5C410A2),
    (f"{_X}\n*(u16 *)(r1 +3) = r0\nr0 = *(u32 *)(r1 +2)", 0xD53210A2),
    (f"{_X}\n*(u32 *)(r1 +3) = r0\nr0 = *(u64 *)(r1 +2)", 0x1908F776543210A2),
    (f"{_X}\n*(u64 *)(r1 +3) = r0\nr0 = *(u64 *)(r1 +3)", 0xFEDCBA9876543210),
    ("r0 = 0x1122334455667788", 0x1122334455667788),
    ("r0 = -1\nr0 = 0x7fffffff ll", 0x7FFFFFFF),
]
_LOW, _HIGH = 0xB3A29180, 0xF7E6D5C4
_WIDE = _HIGH << 32 | _LOW
_OPERAND = 0x0F0F0F0F0F0F0F0F
_RMW: list[tuple[str, str, Callable[[int, int], int]]] = [
    ("+=", "add", operator.add),
    ("|=", "or", operator.or_),
    ("&=", "and", operator.and_),
    ("^=", "xor", operator.xor),
]


def _atomics() -> list[tuple[str, int]]:
    """Each atomic on 32 and 64 bits of memory: what it leaves there, and what it gives back."""
    rows = []
    operand = f"r2 = {_OPERAND:#x}\n"
    for symbol, name, meaning in _RMW:
        wide, narrow = meaning(_WIDE, _OPERAND) & _U64, meaning(_LOW, _OPERAND & 0xFFFFFFFF) & 0xFFFFFFFF
        rows += [
            (f"{operand}lock *(u64 *)(r1 +0) {symbol} r2\nr0 = *(u64 *)(r1 +0)", wide),
            (f"{operand}lock *(u32 *)(r1 +0) {symbol} r2\nr0 = *(u64 *)(r1 +0)", _HIGH << 32 | narrow),
            (f"{operand}lock *(u32 *)(r1 +0) {symbol} r2\nr0 = r2", _OPERAND),
            (f"{operand}r2 = atomic64_fetch_{name}((u64 *)(r1 +0), r2)\nr0 = r2", _WIDE),
            (f"{operand}r2 = atomic64_fetch_{name}((u64 *)(r1 +0), r2)\nr0 = *(u64 *)(r1 +0)", wide),
            (f"{operand}r2 = atomic_fetch_{name}((u32 *)(r1 +0), r2)\nr0 = r2", _LOW),
            (f"{operand}r2 = atomic_fetch_{name}((u32 *)(r1 +0), r2)\nr0 = *(u32 *)(r1 +0)", narrow),
        ]
    same, other = f"r0 = {_WIDE:#x}\n", "r0 = 1\n"
    exchanged = {8: ("64", "u64", _WIDE), 4: ("", "u32", _LOW)}
    for size, (suffix, cell, old) in exchanged.items():
        mask = (1 << 8 * size) - 1
        swap = f"{operand}r2 = atomic{suffix}_xchg(({cell} *)(r1 +0), r2)\n"
        compare = f"{operand}{{}}r0 = atomic{suffix}_cmpxchg(({cell} *)(r1 +0), r0, r2)\n"
        rows += [
            (f"{swap}r0 = r2", old),
            (f"{swap}r0 = *({cell} *)(r1 +0)", _OPERAND & mask),
            (compare.format(same) + "r0 += 0", old),
            (compare.format(same) + f"r0 = *({cell} *)(r1 +0)", _OPERAND & mask),
            (compare.format(other) + "r0 += 0", old),
            (compare.format(other) + f"r0 = *({cell} *)(r1 +0)", old),
        ]
    return rows


_ORDERED = [
    ("r0 = load_acquire((u8 *)(r1 +1))", 0x91),
    ("r0 = load_acquire((u16 *)(r1 +2))", 0xB3A2),
    ("r0 = load_acquire((u32 *)(r1 +4))", _HIGH),
    ("r0 = load_acquire((u64 *)(r1 +0))", _WIDE),
    (f"{_X}\nstore_release((u8 *)(r1 +1), r0)\nr0 = *(u32 *)(r1 +0)", 0xB3A21080),
    (f"{_X}\nstore_release((u16 *)(r1 +2), r0)\nr0 = *(u32 *)(r1 +0)", 0x32109180),
    (f"{_X}\nstore_release((u32 *)(r1 +4), r0)\nr0 = *(u64 *)(r1 +0)", 0x76543210 << 32 | _LOW),
    (f"{_X}\nstore_release((u64 *)(r1 +0), r0)\nr0 = *(u64 *)(r1 +0)", 0xFEDCBA9876543210),
]
_ROWS = [*_SECTION_4_1, *_SECTION_4_2, *_SECTION_4_3, *_SECTION_5, *_atomics(), *_ORDERED]
_ELSEWHERE = (Form.LD_ABS, Form.LD_IND, Form.CALLX, Form.MAY_GOTO)
"""Not of the RFC, or deprecated by it; they have tests of their own."""


@pytest.mark.parametrize(("text", "expected"), _ROWS)
def test_instruction(text: str, expected: int) -> None:
    verified = prepare(assemble(text + "\nexit"))
    assert run_interpreted(verified, _MEMORY) == expected
    assert run_native(verified, _MEMORY) == expected


def test_every_opcode_is_among_them() -> None:
    used = {insn.code for text, _ in _ROWS for insn in assemble(text + "\nexit")}
    assert {code for code, row in OPCODES.items() if row.form not in _ELSEWHERE} <= used
