"""A loop by callback: what one turn leaves behind counts in the next one."""

import pytest

from engine.abi.bpf import ProgType
from engine.isa import assemble
from engine.progspec import FuncInfo, FuncLinkage, ProgFlag, ProgSpec
from engine.verifier import VerifierError, verify
from tests.differential.loops import loop_btf

_TURNS = """
    *(u64 *)(r10 -8) = 0
    r1 = 10
    r2 = func[turn]
    r3 = r10
    r4 = 0
    call bpf_loop
    r0 = 0
    exit
turn: r6 = r2
    call bpf_get_prandom_u32
    if r0 == 0x0 goto moved
join: r0 = 0
    exit
moved: r7 = *(u64 *)(r6 -8)
    r8 = r6
    r8 += -32
    r8 += r7
    *(u8 *)(r8 +0) = 1
    *(u64 *)(r6 -8) = {after}
    goto join
"""


def _spec(after: int) -> ProgSpec:
    insns = assemble(_TURNS.format(after=after))
    load = next(idx for idx, insn in enumerate(insns) if insn.code == 0x18)
    btf, main, turn = loop_btf()
    infos = (
        FuncInfo(0, main, "main", FuncLinkage.GLOBAL),
        FuncInfo(load + 1 + insns[load].imm, turn, "turn"),
    )
    return ProgSpec(
        ProgType.KPROBE, insns, license="GPL", btf=btf, func_info=infos, flags=ProgFlag.TEST_STATE_FREQ
    )


def test_an_offset_that_a_turn_sets_is_looked_at_in_the_next() -> None:
    """At `join` the state with another offset is not covered by the one before, though nothing on the way
    from there to the call uses it: the next turn does. Linux 6.18 accepts this program, which writes outside
    of its stack; later ones refuse it."""
    with pytest.raises(VerifierError, match="invalid write to stack R8 off=68 size=1"):
        verify(_spec(100))


@pytest.mark.parametrize("after", [0, 8, 16])
def test_an_offset_inside_is_accepted(after: int) -> None:
    verify(_spec(after))
