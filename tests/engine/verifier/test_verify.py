"""`verify` as its callers use it: what it returns, log levels, errnos, limits, interruption."""

import errno
import re
from collections.abc import Mapping
from unittest import mock

import pytest

from engine.abi.bpf import MapCreateFlag, MapType, ProgType
from engine.abi.ctx import SkBuff
from engine.interruption import interruptible
from engine.isa import Insn, assemble
from engine.progspec import LineInfo, MapLike, ProgFlag, ProgSpec
from engine.verifier import PtrClass, Verified, VerifierError, verify
from tests.differential.fakemap import FakeMap

_ARRAY = FakeMap(MapType.ARRAY, 4, 16, 4, name="array")
_LOOKUP = """
r6 = r1
*(u32 *)(r10 -8) = 2
r2 = r10
r2 += -8
r1 = map_fd[7]
call bpf_map_lookup_elem
r0 = *(u64 *)(r0 +8)
exit
"""


def _verify(
    text: str, kind: ProgType = ProgType.KPROBE, maps: Mapping[int, MapLike] | None = None, level: int = 1
) -> Verified:
    spec = ProgSpec(kind, assemble(text), license="GPL", maps=maps or {7: _ARRAY})
    return verify(spec, log_level=level)


def _refusal(spec: ProgSpec, level: int = 1) -> VerifierError:
    with pytest.raises(VerifierError) as caught:
        verify(spec, log_level=level)
    return caught.value


def test_facts_for_the_compiler() -> None:
    verified = _verify(_LOOKUP)
    assert verified.used_maps == [_ARRAY]
    assert verified.aux[4].map is _ARRAY
    assert verified.aux[6].call_map is _ARRAY
    assert verified.aux[6].const_key == 2
    assert verified.aux[7].ptr is PtrClass.MAP_VALUE
    assert verified.subprogs[0].stack_depth == 8


def test_a_key_that_differs_between_paths_is_not_constant() -> None:
    text = """
    r7 = *(u64 *)(r1 +0)
    *(u32 *)(r10 -8) = 2
    if r7 == 5 goto join
    *(u32 *)(r10 -8) = 3
    join:
    r2 = r10
    r2 += -8
    r1 = map_fd[7]
    call bpf_map_lookup_elem
    r0 = 0
    exit
    """
    verified = _verify(text)
    assert verified.aux[8].call_map is _ARRAY
    assert verified.aux[8].const_key is None


def test_dead_instructions_are_not_seen() -> None:
    verified = _verify("r0 = 0\nif r0 == 0 goto pc+1\nr0 = *(u64 *)(r0 +0)\nexit")
    assert [aux.seen for aux in verified.aux] == [True, True, False, True]


def test_packet_pointers_are_loaded_from_the_native_context() -> None:
    verified = _verify("r0 = *(u32 *)(r1 +76)\nr0 = 0\nexit", ProgType.SCHED_CLS)
    assert verified.insns[0] == Insn(0x79, 0, 1, SkBuff.NATIVE_DATA)


def test_read_only_maps_are_constants() -> None:
    content = (5).to_bytes(8, "little") + bytes(8)
    frozen = FakeMap(MapType.ARRAY, 4, 16, 1, MapCreateFlag.RDONLY_PROG, frozen=True, content=content)
    text = "r1 = map_value[7][0]+0\nr0 = *(u64 *)(r1 +0)\nif r0 == 5 goto pc+1\nr0 = *(u64 *)(r0 +0)\nexit"
    verified = _verify(text, maps={7: frozen})
    assert not verified.aux[4].seen


def test_levels_of_the_log() -> None:
    last = (
        "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
    )
    text = "r0 = 0\nexit"
    assert _verify(text, level=0).log == ""
    assert _verify(text, level=1).log == last
    assert "0: (b7) r0 = 0                        ; R0=0\n" in _verify(text, level=2).log
    assert re.fullmatch(
        r"verification time \d+ usec\nstack depth 0\n" + re.escape(last), _verify(text, level=4).log
    )


def test_a_refusal_names_the_register_and_keeps_the_path() -> None:
    spec = ProgSpec(ProgType.KPROBE, assemble("r0 = 1\nr0 = *(u64 *)(r0 +0)\nexit"), license="GPL")
    refusal = _refusal(spec)
    assert refusal.errno == errno.EACCES
    assert refusal.message == "R0 invalid mem access 'scalar'"
    assert "1: (79) r0 = *(u64 *)(r0 +0)\nR0 invalid mem access 'scalar'\n" in refusal.log
    assert _refusal(spec, 0).log == ""


def test_source_lines() -> None:
    lines = [
        LineInfo(0, "/src/a.bpf.c", "\tint x = 1;", 3, 2),
        LineInfo(1, "/src/a.bpf.c", "return *x;", 4, 2),
    ]
    spec = ProgSpec(ProgType.KPROBE, assemble("r0 = 1\nr0 = *(u64 *)(r0 +0)\nexit"), line_info=lines)
    log = _refusal(spec).log
    assert "; int x = 1; @ a.bpf.c:3\n0: (b7) r0 = 1" in log
    assert "; return *x; @ a.bpf.c:4\n1: (79)" in log


def test_gpl_only_helpers_need_the_licence() -> None:
    text = "r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\ncall bpf_probe_read_kernel\nr0 = 0\nexit"
    spec = ProgSpec(ProgType.KPROBE, assemble(text), license="Proprietary")
    assert _refusal(spec).message == "cannot call GPL-restricted function from non-GPL compatible program"


def test_syscall_programs_must_be_sleepable() -> None:
    insns = assemble("r0 = 0\nexit")
    assert _refusal(ProgSpec(ProgType.SYSCALL, insns)).message == "Syscall programs can only be sleepable"
    assert verify(ProgSpec(ProgType.SYSCALL, insns, flags=ProgFlag.SLEEPABLE)).stats.insn_processed == 2


def test_strict_alignment_is_asked_for_by_a_flag() -> None:
    text = _LOOKUP.replace("(r0 +8)", "(r0 +3)")
    assert _verify(text)
    spec = ProgSpec(ProgType.KPROBE, assemble(text), maps={7: _ARRAY}, flags=ProgFlag.STRICT_ALIGNMENT)
    assert _refusal(spec).message == "misaligned value access off 0+0+3 size 8"


@pytest.mark.parametrize("limit", ["env._FLOW_LIMIT", "loopvisits._MAX_STATES"])
def test_what_is_remembered_and_followed_has_limits(limit: str) -> None:
    """A loop whose ways back are many: each is kept until every way out was walked."""
    cases = "".join(f"if r0 == {case:#x} goto top\n" for case in range(1, 50))
    loop = f"top: may_goto out\n*(u64 *)(r10 -8) = 1\ncall bpf_get_prandom_u32\n{cases}goto top"
    text = f"*(u64 *)(r10 -8) = 0\n{loop}\nout: r0 = *(u64 *)(r10 -8)\nexit"
    spec = ProgSpec(ProgType.KPROBE, assemble(text), license="GPL")
    verify(spec)
    with mock.patch(f"engine.verifier.{limit}", 2):
        refusal = _refusal(spec)
    assert refusal.errno == errno.E2BIG
    assert "BPF program is too large" in refusal.log


def test_verification_can_be_interrupted() -> None:
    loop = "r6 = 0\nloop:\nr6 += 1\nif r6 < 100000 goto loop\nr0 = 0\nexit"
    asked = []

    def interrupted() -> bool:
        asked.append(True)
        return len(asked) == 10

    with interruptible(interrupted):
        refusal = _refusal(ProgSpec(ProgType.KPROBE, assemble(loop)))
    assert refusal.errno == errno.EAGAIN
    assert len(asked) == 10


def test_unknown_descriptors_and_empty_programs() -> None:
    text = "r1 = map_fd[8]\nr0 = 0\nexit"
    assert _refusal(ProgSpec(ProgType.KPROBE, assemble(text))).errno == errno.EBADF
    assert _refusal(ProgSpec(ProgType.KPROBE, [])).errno == errno.E2BIG


@pytest.mark.parametrize("kind", [ProgType.LSM, ProgType.STRUCT_OPS, ProgType.SK_LOOKUP])
def test_types_that_are_not_verified_are_refused(kind: ProgType) -> None:
    refusal = _refusal(ProgSpec(kind, assemble("r0 = 0\nexit")))
    assert refusal.errno == errno.EINVAL
    assert "not supported" in refusal.message
