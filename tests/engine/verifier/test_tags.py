"""Attributes of the parameters of global functions: `arg:nonnull`, `arg:ctx`."""

import pytest

from engine.abi.bpf import MapType, ProgType
from engine.btf.build import BtfBuilder
from engine.btf.types import DeclTag, Encoding, Param
from engine.isa import assemble
from engine.progspec import FuncInfo, FuncLinkage, ProgSpec
from engine.verifier import VerifierError, verify
from tests.differential.fakemap import FakeMap

_VALUES = FakeMap(MapType.ARRAY, 4, 16, 4)
_LOOKUP = """
*(u32 *)(r10 -4) = r1
r2 = r10
r2 += -4
r1 = map_fd[3]
call bpf_map_lookup_elem#1
r1 = r0
"""
_READS = "\nfunction:\nr0 = *(u32 *)(r1 +4)\nexit\n"
_CALLS = "call function\nr0 = 0\nexit\n"


def _spec(text: str, tag: str, *, pointee: str = "int", kind: ProgType = ProgType.KPROBE) -> ProgSpec:
    """A program that calls `int function(struct pair *p)`, or with another pointer, whose p has a tag."""
    insns = assemble(text)
    start = next(i + insn.imm + 1 for i, insn in enumerate(insns) if insn.code == 0x85 and insn.src == 1)
    btf = BtfBuilder()
    number = btf.integer("int", 4, Encoding.SIGNED)
    target = {"void": 0, "int": number}.get(pointee)
    if target is None:
        target = btf.struct(pointee, 16, ())
    main = btf.func("main", btf.func_proto(number, [Param("ctx", btf.pointer(0))]), int(FuncLinkage.GLOBAL))
    proto = btf.func_proto(number, [Param("p", btf.pointer(target))])
    function = btf.func("function", proto, int(FuncLinkage.GLOBAL))
    btf.add(DeclTag(tag, function, 0))
    infos = [
        FuncInfo(0, main, "main", FuncLinkage.GLOBAL),
        FuncInfo(start, function, "function", FuncLinkage.GLOBAL),
    ]
    return ProgSpec(kind, insns, license="GPL", maps={3: _VALUES}, btf=btf.build(), func_info=infos)


def _log(spec: ProgSpec) -> str:
    with pytest.raises(VerifierError) as caught:
        verify(spec)
    return caught.value.log


_ON_STACK = "*(u64 *)(r10 -8) = 1\nr1 = r10\nr1 += -8\n" + _CALLS


def test_memory_that_is_never_null_needs_no_test() -> None:
    untested = "\nfunction:\nr0 = *(u32 *)(r1 +0)\nexit\n"
    assert verify(_spec(_ON_STACK + untested, "arg:nonnull"))
    assert "R1 invalid mem access 'mem_or_null'" in _log(_spec(_ON_STACK + untested, "arg:other"))
    assert "invalid access to memory, mem_size=4" in _log(_spec(_ON_STACK + _READS, "arg:nonnull"))


@pytest.mark.parametrize("null", ["r1 = 0\n", "r1 = 1\n" + _LOOKUP])
def test_null_is_not_handed_to_it(null: str) -> None:
    text = null.replace("*(u32 *)(r10 -4) = r1", "r1 = *(u64 *)(r10 -16)\n*(u32 *)(r10 -4) = r1")
    function = "\nfunction:\nr0 = *(u32 *)(r1 +0)\nexit\n"
    assert "arg#0 is expected to be non-NULL" in _log(_spec(text + _CALLS + function, "arg:nonnull"))


def test_a_void_pointer_is_the_context_where_it_is_called_so() -> None:
    text = _CALLS + "\nfunction:\nr0 = *(u64 *)(r1 +8)\nexit\n"
    assert verify(_spec(text, "arg:ctx", pointee="void"))
    assert verify(_spec(text, "arg:ctx", pointee="pt_regs"))
    assert verify(_spec(text, "arg:ctx", pointee="anything", kind=ProgType.TRACEPOINT))
    assert "arg#0 should be `struct pt_regs *`" in _log(_spec(text, "arg:ctx", pointee="anything"))
