"""engine.probes.follow: which programs can look into kernel objects."""

import pytest

from engine.isa import Insn
from engine.probes.follow import program_follows_pointers

EXIT = Insn(0x95, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("code", "src", "imm", "follows"),
    [
        (0x85, 0, 113, True),
        (0x85, 0, 115, True),
        (0x85, 0, 4, True),
        (0x85, 0, 12, True),
        (0x85, 0, 112, False),
        (0x85, 0, 1, False),
        (0x85, 1, 4, False),
        (0xB7, 0, 113, False),
    ],
)
def test_by_the_helpers_that_are_called(code: int, src: int, imm: int, follows: bool) -> None:
    assert program_follows_pointers([Insn(code, 0, src, 0, imm), EXIT]) is follows
