"""Ways out of a function besides its end: a tail call that succeeds, a load from outside of the packet."""

import errno

import pytest

from engine.abi.bpf import MapType, ProgType
from engine.btf.build import BtfBuilder
from engine.btf.types import Encoding, Param
from engine.isa import assemble
from engine.progspec import FuncInfo, FuncLinkage, ProgSpec
from engine.verifier import VerifierError, verify
from tests.differential.fakemap import FakeMap

_JUMPS = FakeMap(MapType.PROG_ARRAY, 4, 4, 4)
_TAIL = """
function:
r2 = map_fd[3]
r3 = 0
call bpf_tail_call#12
r0 = 5
exit
"""
_LOAD = """
function:
r6 = r1
r0 = *(u8 *)skb[14]
r0 = 5
exit
"""
_INDEXED = """
call function
r1 = r10
r1 += r0
r0 = *(u8 *)(r1 -6)
exit
"""
_PACKET = """
r6 = *(u32 *)(r1 +76)
r2 = *(u32 *)(r1 +80)
r3 = r6
r3 += 32
if r3 > r2 goto out
call function
r0 = *(u8 *)(r6 +7)
out:
r0 = 0
exit
"""
_PULL = """
function:
r2 = 20
call bpf_skb_pull_data#39
exit
"""
_NOTHING = "function:\nr0 = 0\nexit\n"


def _spec(
    text: str, kind: ProgType, linkage: FuncLinkage = FuncLinkage.STATIC, *, void: bool = False
) -> ProgSpec:
    """A program and one function of it, `int function(struct __sk_buff *)`."""
    insns = assemble(text)
    start = next(i + insn.imm + 1 for i, insn in enumerate(insns) if insn.code == 0x85 and insn.src == 1)
    btf = BtfBuilder()
    number = btf.integer("int", 4, Encoding.SIGNED)
    context = btf.pointer(btf.struct("__sk_buff", 192, ()))
    proto = btf.func_proto(0 if void else number, [Param("skb", context)])
    functions = [btf.func("main", proto), btf.func("function", proto, int(linkage))]
    infos = [
        FuncInfo(0, functions[0], "main", FuncLinkage.GLOBAL),
        FuncInfo(start, functions[1], "function", linkage),
    ]
    return ProgSpec(kind, insns, license="GPL", maps={3: _JUMPS}, btf=btf.build(), func_info=infos)


def _refusal(spec: ProgSpec) -> VerifierError:
    with pytest.raises(VerifierError) as caught:
        verify(spec)
    return caught.value


def test_a_function_left_by_a_tail_call_returns_anything() -> None:
    refusal = _refusal(_spec(_INDEXED + _TAIL, ProgType.SOCKET_FILTER))
    assert refusal.message == ("math between fp pointer and register with unbounded min value is not allowed")


def test_a_function_left_by_a_load_outside_of_the_packet_returns_zero() -> None:
    accepted = _INDEXED.replace("-6", "-8")
    assert verify(_spec(accepted + _LOAD, ProgType.SOCKET_FILTER))
    kept = _INDEXED.replace("r1 += r0", "if r0 == 5 goto +1\nr0 = *(u8 *)(r10 +0)")
    assert _refusal(_spec(kept + _LOAD, ProgType.SOCKET_FILTER)).message == (
        "invalid read from stack R10 off=0 size=1"
    )


def test_the_result_of_such_a_load_may_matter() -> None:
    text = _INDEXED.replace("r1 += r0", "r0 &= 7\nr1 += r0").replace("-6", "-8")
    assert verify(_spec(text + _LOAD.replace("r0 = 5\n", ""), ProgType.SOCKET_FILTER))


@pytest.mark.parametrize("linkage", [FuncLinkage.STATIC, FuncLinkage.GLOBAL])
@pytest.mark.parametrize("function", [_PULL, _TAIL])
def test_packet_pointers_do_not_outlive_a_function_that_changes_the_packet(
    function: str, linkage: FuncLinkage
) -> None:
    assert verify(_spec(_PACKET + _NOTHING, ProgType.SCHED_CLS, linkage))
    assert _refusal(_spec(_PACKET + function, ProgType.SCHED_CLS, linkage)).message == (
        "R6 invalid mem access 'scalar'"
    )


def test_packet_pointers_outlive_a_tail_call_that_fails() -> None:
    text = _PACKET.replace("call function", "r2 = map_fd[3]\nr3 = 0\ncall bpf_tail_call#12")
    spec = _spec(_PACKET + _NOTHING, ProgType.SCHED_CLS)
    spec.insns, spec.func_info = assemble(text), spec.func_info[:1]
    assert verify(spec)


def test_such_functions_need_types_and_return_numbers() -> None:
    for function, word in ((_TAIL, "tail_call"), (_LOAD, "LD_ABS")):
        untyped = _spec(_INDEXED + function, ProgType.SOCKET_FILTER)
        untyped.func_info = ()
        refusal = _refusal(untyped)
        assert (refusal.errno, refusal.message) == (
            errno.EINVAL,
            f"{word} is not allowed in subprogs without BTF",
        )
        refusal = _refusal(_spec(_INDEXED + function, ProgType.SOCKET_FILTER, void=True))
        assert refusal.message == f"{word} is only allowed in functions that return 'int'."


def test_records_of_functions_match_the_functions() -> None:
    spec = _spec(_INDEXED + _NOTHING, ProgType.SOCKET_FILTER)
    main, function = spec.func_info
    for infos, message in (
        ([main], "number of funcs in func_info doesn't match number of subprogs"),
        ([function, main], f"nonzero insn_off {function.insn_off} for the first func info record"),
        ([main, main], "same or smaller insn offset (0) than previous func info record (0)"),
        (
            [main, FuncInfo(3, function.type_id, "function")],
            "func_info BTF section doesn't match subprog layout in BPF program",
        ),
        ([main, FuncInfo(function.insn_off, 1, "function")], "invalid type id 1 in func info"),
    ):
        spec.func_info = infos
        assert _refusal(spec).message == message


def test_where_there_is_a_tail_call_functions_share_their_stack() -> None:
    calls = "*(u8 *)(r10 -320) = 1\ncall function\nr0 = 0\nexit\n"
    uses = "function:\n*(u8 *)(r10 -320) = 1\n"
    plain = f"{calls}{uses}r0 = 0\nexit\n"
    assert verify(_spec(plain, ProgType.KPROBE))
    assert _refusal(_spec(plain, ProgType.XDP)).message == "combined stack size of 2 calls is 640. Too large"
    tail = f"{calls}{uses}{_TAIL.removeprefix(chr(10) + 'function:' + chr(10))}"
    assert _refusal(_spec(tail, ProgType.KPROBE)).message == (
        "tail_calls are not allowed when call stack of previous frames is 320 bytes. Too large"
    )
    beside = calls.replace("r0 = 0", "r1 = r6\nr2 = map_fd[3]\nr3 = 0\ncall bpf_tail_call#12\nr0 = 0")
    text = f"r6 = r1\n{beside}{uses}r0 = 0\nexit\n"
    assert _refusal(_spec(text, ProgType.KPROBE)).message == (
        "combined stack size of 2 calls is 640. Too large"
    )
