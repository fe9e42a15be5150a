"""One meaning, three engines: interpreter, native code and the machine's kernel run the same programs."""

import ctypes
import os
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings

from engine.interp import Interpreter
from engine.isa import Insn, assemble, disasm_program, encode
from engine.jit.bpf import compile_bpf
from engine.vm import prepare
from tests import kernel_oracle
from tests.engine.generated import programs

_U64 = (1 << 64) - 1
_WORD = ctypes.c_int64
_ENTRY = ctypes.CFUNCTYPE(_WORD, _WORD, _WORD)


def interpreted(insns: Sequence[Insn]) -> int:
    """r0 as the interpreter has it."""
    return Interpreter(prepare(insns), {}).run(0, 0)


def native(insns: Sequence[Insn]) -> int:
    """r0 as native code has it."""
    code = compile_bpf(prepare(insns), {}, cached=False)
    return int(_ENTRY(code.address)(0, 0)) & _U64


def kernels(insns: Sequence[Insn]) -> int:
    """The low half of r0 as this machine's kernel has it."""
    verdict = kernel_oracle.load(encode(insns), keep=True)
    assert verdict.accepted, verdict.log
    try:
        error, result, _, _ = kernel_oracle.test_run(verdict.fd, bytes(14))
    finally:
        os.close(verdict.fd)
    assert error == 0
    return result


def listing(insns: Sequence[Insn]) -> str:
    """The program as text, for a failing example."""
    return "\n".join(f"{index}: {text}" for index, text in disasm_program(insns))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_native_code_agrees_with_the_interpreter(program: list[Insn]) -> None:
    assert native(program) == interpreted(program), listing(program)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_interpreter_agrees_with_the_kernel(program: list[Insn]) -> None:
    if reason := kernel_oracle.kernel_unavailable():
        pytest.skip(reason)
    assert interpreted(program) & 0xFFFFFFFF == kernels(program), listing(program)


_CASES = {
    "division by zero gives 0": ("r0 = 7\nr1 = 0\nr0 /= r1", 0),
    "modulo by zero keeps the dividend": ("r0 = 7\nr1 = 0\nr0 %= r1", 7),
    "32-bit modulo by zero keeps the low half": ("r0 = -1\nr1 = 0\nw0 %= w1", 0xFFFFFFFF),
    "signed division by zero gives 0": ("r0 = -7\nr1 = 0\nr0 s/= r1", 0),
    "signed division truncates": ("r0 = -7\nr0 s/= 2", -3 & _U64),
    "signed modulo has the dividend's sign": ("r0 = -7\nr0 s%= 3", -1 & _U64),
    "INT64_MIN / -1": ("r0 = 0x8000000000000000\nr1 = -1\nr0 s/= r1", 1 << 63),
    "INT64_MIN % -1": ("r0 = 0x8000000000000000\nr1 = -1\nr0 s%= r1", 0),
    "INT32_MIN / -1": ("r0 = -2147483648\nr1 = -1\nw0 s/= w1", 1 << 31),
    "immediates are sign-extended before unsigned division": ("r0 = -1\nr0 /= -1", 1),
    "shift counts are masked, 64 bits": ("r0 = 1\nr1 = 65\nr0 <<= r1", 2),
    "shift counts are masked, 32 bits": ("r0 = 1\nr1 = 33\nw0 <<= w1", 2),
    "arithmetic shift of a half": ("r0 = -2147483648\nw0 s>>= 31", 0xFFFFFFFF),
    "32-bit operations clear the high half": ("r0 = -1\nw0 += 1", 0),
    "w0 = w0 clears the high half": ("r0 = -1\nw0 = w0", 0xFFFFFFFF),
    "movsx": ("r1 = 128\nr0 = (s8)r1", -128 & _U64),
    "32-bit movsx": ("r1 = 128\nw0 = (s8)w1", 0xFFFFFF80),
    "negation of a half": ("r0 = 1\nw0 = -w0", 0xFFFFFFFF),
    "be16 clears the rest": ("r0 = 0x1122334455667788\nr0 = be16 r0", 0x8877),
    "le32 truncates": ("r0 = 0x1122334455667788\nr0 = le32 r0", 0x55667788),
    "bswap64": ("r0 = 0x1122334455667788\nr0 = bswap64 r0", 0x8877665544332211),
    "sign-extending load": ("*(u8 *)(r10 -1) = 200\nr0 = *(s8 *)(r10 -1)", -56 & _U64),
    "fetch-add returns what was there": (
        "*(u64 *)(r10 -8) = 5\nr0 = 3\nr0 = atomic64_fetch_add((u64 *)(r10 -8), r0)",
        5,
    ),
    "cmpxchg that fails loads r0": (
        "*(u64 *)(r10 -8) = 5\nr0 = 4\nr1 = 9\nr0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r1)",
        5,
    ),
    "32-bit cmpxchg zero-extends r0": (
        "*(u32 *)(r10 -4) = -1\nr0 = -1\nr1 = 9\nr0 = atomic_cmpxchg((u32 *)(r10 -4), r0, r1)",
        0xFFFFFFFF,
    ),
    "load_acquire": ("*(u16 *)(r10 -2) = -1\nr0 = load_acquire((u16 *)(r10 -2))", 0xFFFF),
    "store_release": ("r1 = 7\nstore_release((u64 *)(r10 -8), r1)\nr0 = *(u64 *)(r10 -8)", 7),
    "gotol": ("r0 = 1\nif r0 == 0x0 goto other\ngotol out\nother: r0 = 2\nout: r0 += 0", 1),
    "32-bit jumps ignore the high half": (
        "r0 = 0x100000000\nif w0 == 0x0 goto out\nr0 = 5\nout: r0 += 1",
        (1 << 32) + 1,
    ),
    "JSET": ("r0 = 6\nif r0 & 0x2 goto out\nr0 = 0\nout: r0 += 0", 6),
    "subprograms keep r6 to r9": ("r6 = 3\nr1 = 4\ncall f\nr0 += r6\nexit\nf: r6 = r1\nr0 = r6", 7),
    "each frame has its own stack": (
        "*(u64 *)(r10 -8) = 1\ncall f\nr0 = *(u64 *)(r10 -8)\nexit\nf: *(u64 *)(r10 -8) = 2\nr0 = 0",
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), _CASES.values(), ids=_CASES)
def test_rule_of_the_rfc(text: str, expected: int) -> None:
    program = assemble(text + "\nexit")
    assert interpreted(program) == expected
    assert native(program) == expected


@pytest.mark.parametrize("text", [text for text, _ in _CASES.values()], ids=_CASES)
def test_rule_of_the_rfc_in_the_kernel(text: str) -> None:
    if reason := kernel_oracle.kernel_unavailable():
        pytest.skip(reason)
    program = assemble(text + "\nexit")
    verdict = kernel_oracle.load(encode(program))
    if "div by zero" in verdict.log or "unknown opcode" in verdict.log:
        pytest.skip(f"this kernel refuses it: {verdict.log.splitlines()[-1]}")
    assert interpreted(program) & 0xFFFFFFFF == kernels(program)
