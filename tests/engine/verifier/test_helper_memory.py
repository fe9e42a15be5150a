"""Memory of every kind for each memory argument of each helper, given to the kernel and to the verifier."""

from collections.abc import Iterator

import pytest

from engine.abi.bpf import FuncId, MapType, ProgType
from engine.helpers import HELPERS, Helper
from engine.helpers.proto import Arg
from engine.isa import Alu, Class, Insn, Jmp, Mode, Size, Source
from engine.progspec import MapLike
from engine.verifier.mapfuncs import maps_for
from tests import kernel_oracle
from tests.differential.helpercalls import HelperMaps
from tests.differential.verdicts import ask_both

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

_PACKETS = {ProgType.XDP: (0, 4), ProgType.SCHED_CLS: (76, 80), ProgType.CGROUP_SKB: (76, 80)}
_MOV, _ADD = Class.ALU64 | Alu.MOV, Class.ALU64 | Alu.ADD
_MEMORY = ("MEM", "MAP_KEY", "MAP_VALUE", "LONG", "PTR_TO_INT")
_EXIT = [Insn(_MOV), Insn(Class.JMP | Jmp.EXIT)]


@pytest.fixture(scope="module")
def maps() -> Iterator[HelperMaps]:
    made = HelperMaps()
    yield made
    made.close()


def _is_memory(arg: Arg) -> bool:
    return "ALLOC" not in arg.name and any(word in arg.name for word in _MEMORY)


def _map_for(number: int, known: dict[int, MapLike]) -> int:
    """A map that the helper takes."""
    wanted = maps_for(FuncId(number)) or frozenset({MapType.HASH})
    return next((fd for fd, used in known.items() if used.type in wanted), next(iter(known)))


def _call(number: int, helper: Helper, at: int, pointer: list[Insn], maps: HelperMaps) -> list[Insn]:
    """A call with `pointer` as argument `at`, and what fits as the others. r6 is the context."""
    insns: list[Insn] = []
    for position, arg in enumerate(helper.proto.args):
        reg = position + 1
        if position == at:
            insns += pointer
        elif arg is Arg.CONST_MAP_PTR:
            insns += [Insn(0x18, reg, 1, 0, _map_for(number, maps.known)), Insn(0)]
        elif "CTX" in arg.name:
            insns.append(Insn(_MOV | Source.X, reg, 6))
        elif "SIZE" in arg.name or arg is Arg.ANYTHING:
            insns.append(Insn(_MOV, reg, 0, 0, 64 if "SIZE" in arg.name else 0))
        else:
            insns += [Insn(_MOV | Source.X, reg, 10), Insn(_ADD, reg, 0, 0, -64)]
    return [*insns, Insn(0x85, 0, 0, 0, number), *_EXIT]


@pytest.mark.parametrize("kind", list(_PACKETS))
@pytest.mark.parametrize("source", ["packet", "read-only", "stack", "odd stack"])
def test_memory_arguments(maps: HelperMaps, kind: ProgType, source: str) -> None:
    data, end = _PACKETS[kind]
    start = [
        Insn(_MOV | Source.X, 6, 1),
        Insn(Class.LDX | Mode.MEM | Size.W, 7, 1, data),
        Insn(Class.LDX | Mode.MEM | Size.W, 8, 1, end),
        Insn(_MOV | Source.X, 9, 7),
        Insn(_ADD, 9, 0, 0, 64),
        Insn(Class.JMP | Jmp.JGE | Source.X, 8, 9, 2),
        *_EXIT,
        *(Insn(Class.ST | Mode.MEM | Size.DW, 10, 0, -8 * word) for word in range(1, 9)),
    ]
    accepted = 0
    for number, helper in sorted(HELPERS.items()):
        for at in (i for i, arg in enumerate(helper.proto.args) if _is_memory(arg)):
            pointer = {
                "packet": [Insn(_MOV | Source.X, at + 1, 7)],
                "read-only": [Insn(0x18, at + 1, 2, 0, maps.text_fd), Insn(0)],
                "stack": [Insn(_MOV | Source.X, at + 1, 10), Insn(_ADD, at + 1, 0, 0, -64)],
                "odd stack": [Insn(_MOV | Source.X, at + 1, 10), Insn(_ADD, at + 1, 0, 0, -63)],
            }[source]
            both = ask_both([*start, *_call(number, helper, at, pointer, maps)], kind, maps.known)
            assert both.outcome in ("accept", "reject"), (helper.proto.name, at, both.kernel_log[-300:])
            accepted += both.outcome == "accept"
    assert accepted > 5
