"""Loops that may_goto ends: accepted and refused as by Linux 6.18, after as many instructions."""

import re

import pytest

from engine.abi.bpf import ProgType
from engine.isa import Insn, assemble, encode
from engine.progspec import ProgSpec
from engine.verifier import VerifierError, verify
from tests.kernel_oracle import kernel_unavailable, load

_STORE = "r8 = r10\nr8 += -64\nr8 += r6\n*(u8 *)(r8 +0) = 1\nr6 += 1\ngoto l\nout: r0 = 0\nexit"
_CASES = {
    # program: (what the log ends with, instructions walked)
    "r0 = 0\nl: may_goto out\ngoto l\nout: exit": ("", 5),
    "r0 = 0\nl: r0 += 1\nmay_goto out\ngoto l\nout: exit": ("", 15),
    "may_goto pc+0\nr0 = 0\nexit": ("", 5),
    "r6 = 0\nl: may_goto out\nr6 += 1\nif r6 == 0x64 goto out\ngoto l\nout: r0 = r6\nexit": ("", None),
    f"r6 = 0\nl: may_goto out\nif r6 > 0x3f goto out\n{_STORE}": ("", None),
    f"r6 = 0\nl: may_goto out\n{_STORE}": ("invalid write to stack R8 off=0 size=1", None),
    "r6 = 0\na: may_goto out\nr7 = 0\nb: may_goto next\nr7 += 1\nif r7 < 0xa goto b\nnext: r6 += 1\ngoto a\n"
    "out: r0 = r6\nexit": ("", None),
    "r1 = 5\ncall f\nexit\nf: r0 = r1\nl: may_goto out\nr0 += 1\ngoto l\nout: exit": ("", 19),
    "l: may_goto out\ncall bpf_ktime_get_ns\n*(u64 *)(r10 -8) = r0\ngoto l\nout: r0 = 0\nexit": ("", 7),
    "r0 = 0\nl: goto m\nm: goto l\nmay_goto l\nexit": ("unreachable insn 3", 0),
    "r0 = 0\nl: may_goto m\nm: if r0 == 0x0 goto l\nexit": ("infinite loop detected at insn 1", None),
}


def ours(insns: list[Insn]) -> tuple[str, str]:
    """(errno name or OK, log at level 2)"""
    try:
        return "OK", verify(ProgSpec(ProgType.KPROBE, insns, license="GPL"), log_level=2).log
    except VerifierError as refusal:
        return "refused", refusal.log


def walked(log: str) -> int:
    """How many instructions the verifier went through."""
    found = re.search(r"^processed (\d+) insns", log, re.M)
    assert found, log
    return int(found[1])


@pytest.mark.parametrize("text", _CASES)
def test_verdict(text: str) -> None:
    message, count = _CASES[text]
    verdict, log = ours(assemble(text))
    assert verdict == ("refused" if message else "OK")
    assert message in log
    if count is not None:
        assert walked(log) == count


@pytest.mark.parametrize("text", _CASES)
def test_verdict_is_the_kernels(text: str) -> None:
    if reason := kernel_unavailable():
        pytest.skip(reason)
    insns = assemble(text)
    reference = load(encode(insns), ProgType.KPROBE)
    if "unknown opcode" in reference.log:
        pytest.skip("this kernel has no may_goto")
    verdict, log = ours(insns)
    assert (verdict == "OK") == reference.accepted, reference.log
    assert walked(log) == walked(reference.log)


@pytest.mark.parametrize("bad", [Insn(0xE5, 0, 0, 0, 7), Insn(0xE5, 1, 0), Insn(0xE5, 0, 1)])
def test_reserved_fields(bad: Insn) -> None:
    verdict, log = ours([bad, *assemble("r0 = 0\nexit")])
    assert verdict == "refused"
    assert f"invalid may_goto imm {bad.imm}" in log
