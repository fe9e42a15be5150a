"""Programs as text: names of functions, maps and helpers, source lines, opcodes, assembler."""

from collections.abc import Iterator

import pytest

from engine.abi.bpf import MapType, ProgType
from engine.isa import assemble
from engine.machine import Machine
from engine.maps import MapSpec, create_map
from engine.progdump import assembly, xlated
from engine.progs import load_prog
from engine.progspec import FuncInfo, LineInfo, ProgSpec


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def test_names_and_source_lines(machine: Machine) -> None:
    used = create_map(MapSpec(MapType.ARRAY, 4, 8, 1, name="m"), machine)
    text = """
        r1 = map_fd[7]
        r1 = map_value[7][0]+4
        r1 = 0x123456789
        call bpf_ktime_get_ns
        call f
        exit
    f:  r0 = 0
        exit
    """
    spec = ProgSpec(ProgType.KPROBE, assemble(text), license="GPL", maps={7: used})
    spec.func_info = [FuncInfo(0, 1, "main"), FuncInfo(9, 2, "helper")]
    spec.line_info = [LineInfo(0, "a.c", "\tint x = 1;", 1, 1), LineInfo(9, "a.c", "\treturn 0;", 2, 1)]
    assert list(xlated(load_prog(machine, spec))) == [
        "main:",
        "; int x = 1;",
        f"   0: (18) r1 = map[id:{used.id}]",
        f"   2: (18) r1 = map[id:{used.id}][0]+4",
        "   4: (18) r1 = 0x123456789",
        "   6: (85) call bpf_ktime_get_ns#5",
        "   7: (85) call pc+1#helper",
        "   8: (95) exit",
        "helper:",
        "; return 0;",
        "   9: (b7) r0 = 0",
        "  10: (95) exit",
    ]


def test_opcodes_without_source(machine: Machine) -> None:
    spec = ProgSpec(ProgType.KPROBE, assemble("r0 = 1 ll\nexit"), license="GPL")
    spec.line_info = [LineInfo(0, "a.c", "return 1;", 1, 1)]
    assert list(xlated(load_prog(machine, spec), opcodes=True, source=False)) == [
        "   0: (18) r0 = 0x1",
        "       18 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00",
        "   2: (95) exit",
        "       95 00 00 00 00 00 00 00",
    ]


def test_assembly(machine: Machine) -> None:
    spec = ProgSpec(ProgType.KPROBE, assemble("r0 = 77\nexit"), license="GPL")
    text = assembly(load_prog(machine, spec))
    assert "prog:" in text
    assert "$77" in text
