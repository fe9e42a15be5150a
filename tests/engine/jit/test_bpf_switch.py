"""Switches found in trees of comparisons: the same way for every value, and a switch where there is one."""

import ctypes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.interp import Interpreter
from engine.isa import Alu, Class, Insn, Jmp, assemble, disasm_program
from engine.jit.bpf import compile_bpf, module_text
from engine.jit.bpf_flow import blocks_of
from engine.jit.bpf_switch import Switch, find_switch
from engine.jit.bpf_unit import Unit
from engine.vm import prepare

_U64 = (1 << 64) - 1
_WORD = ctypes.c_int64
_ENTRY = ctypes.CFUNCTYPE(_WORD, _WORD, _WORD)
_CONSTANTS = st.sampled_from([0, 1, 2, 3, 4, 5, 9, -1, -2, -5, 0x7FFFFFFF, -0x80000000])
_OPS = st.sampled_from([op for op in Jmp if op not in (Jmp.JA, Jmp.CALL, Jmp.EXIT, Jmp.JCOND)])
_LEAVES = 6
_VALUES = sorted(
    {
        (base + near) & _U64
        for base in (0, 4, 9, -1, -5, 1 << 31, -1 << 31, 1 << 32, 1 << 63, (1 << 32) - 1, 0x8000000000000005)
        for near in (-1, 0, 1)
    }
)


@st.composite
def trees(draw: st.DrawFn) -> list[Insn]:
    """Comparisons of r1, or of w1, that jump forward to others or to ends; now and then one of r2 or w2."""
    size = draw(st.integers(4, 14))
    cls = draw(st.sampled_from([Class.JMP, Class.JMP32]))
    insns = [Insn(Class.ALU64 | Alu.MOV, 2, imm=draw(_CONSTANTS))]
    for at in range(size):
        target = draw(st.integers(at, size - 1 + _LEAVES))
        off = target - at if target < size else size - at - 1 + 2 * (target - size)
        other = draw(st.integers(0, 9)) == 0
        insns.append(Insn(cls | draw(_OPS), 2 if other else 1, 0, off, draw(_CONSTANTS)))
    for leaf in range(_LEAVES):
        insns += [Insn(Class.ALU64 | Alu.MOV, 0, imm=leaf + 1), Insn(Class.JMP | Jmp.EXIT)]
    return insns


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees())
def test_every_value_goes_the_same_way(insns: list[Insn]) -> None:
    verified = prepare(insns)
    code = compile_bpf(verified, {}, cached=False)
    native = _ENTRY(code.address)
    listing = "\n".join(f"{index}: {text}" for index, text in disasm_program(insns))
    for value in _VALUES:
        assert native(value, 0) == Interpreter(verified, {}).run(value, 0), f"{value:#x}\n{listing}"


def switch_of(text: str) -> Switch | None:
    insns = assemble(text)
    blocks = blocks_of(insns, 0, len(insns))
    return find_switch(insns, blocks, blocks[0])


_TREE = """
    r0 = 0
    if w1 s> 0x2 goto high
    if w1 == 0x0 goto a
    if w1 == 0x1 goto b
    if w1 == 0x2 goto a
    goto none
high: if w1 == 0x3 goto b
    if w1 != 0x4 goto none
a:  r0 = 1
    exit
b:  r0 = 2
    exit
none: exit
"""


def test_a_tree_is_a_map_from_values_to_blocks() -> None:
    found = switch_of(_TREE)
    assert found is not None
    assert (found.reg, found.bits) == (1, 32)
    assert (found.cases, found.default) == ({0: 8, 2: 8, 4: 8, 1: 10, 3: 10}, 12)
    assert found.inner == {2, 3, 4, 5, 6, 7}
    assert "switch i32" in module_text(Unit(prepare(assemble(_TREE)), {}))


@pytest.mark.parametrize(
    "text",
    [
        "r0 = 0\nif r1 == 0x1 goto a\nif r1 == 0x2 goto a\nif r1 == 0x3 goto a\nexit\na: r0 = 1\nexit",
        "r0 = 0\nif r1 > 0x10000 goto a\nif r1 > 0x8000 goto b\nif r1 > 0x4000 goto a\nif r1 > 0x2000 goto b"
        "\nexit\na: r0 = 1\nexit\nb: r0 = 2\nexit",
        "r0 = 0\nif r1 == r2 goto a\nexit\na: r0 = 1\nexit",
    ],
    ids=["few", "wide", "registers"],
)
def test_a_branch_does_as_well(text: str) -> None:
    assert switch_of(text) is None


def test_comparisons_in_a_circle_end() -> None:
    text = (
        "r0 = 0\nl: if r1 == 0x1 goto l\nif r1 == 0x2 goto l\nif r1 == 0x3 goto l\nif r1 == 0x4 goto l\nexit"
    )
    insns = assemble(text)
    verified = prepare(insns)
    assert int(_ENTRY(compile_bpf(verified, {}, cached=False).address)(9, 0)) == 0
