"""Small programs with the verdict of Linux 6.18: the files of tests/golden/verifier.

Each program is preceded by `# TYPE VERDICT: message`. `map_fd[A]` is an array of 4 values of 16 bytes,
`map_fd[H]` a
hash with keys of 8 and values of 64 bytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.abi.bpf import MapType, ProgType
from engine.isa import Insn, assemble
from tests.differential.fakemap import FakeMap

__all__ = ["MAPS", "Case", "cases", "normalise"]

_GOLDEN = Path(__file__).parents[2] / "golden" / "verifier"
MAPS = {"A": FakeMap(MapType.ARRAY, 4, 16, 4), "H": FakeMap(MapType.HASH, 8, 64, 16)}
_POINTER = re.compile(r"(r\d = )0x(?:ffff[0-9a-f]{12}|[0-9a-f]{1,3})\b *(;|\n)")
_SCC = re.compile(r"(?m)^  [ 0-9]{2} ( +\d+: [0-9.]{10} )")
_COUNTS = re.compile(r"total_states \d+ peak_states \d+")


@dataclass(frozen=True)
class Case:
    """A program as text, its type, and what Linux says of it: `OK`, or the errno's name and the last
    message."""

    type: ProgType
    verdict: str
    message: str
    text: str

    def insns(self, fds: dict[str, int]) -> list[Insn]:
        """The program with these descriptors for the maps."""
        text = self.text
        for name, fd in fds.items():
            text = text.replace(f"map_fd[{name}]", f"map_fd[{fd}]")
        return assemble(text)


def cases() -> Iterator[Case]:
    """Every program of every file."""
    for path in sorted(_GOLDEN.glob("*.txt")):
        for block in path.read_text().strip().split("\n\n"):
            head, _, text = block.partition("\n")
            kind, _, outcome = head.removeprefix("# ").partition(" ")
            verdict, _, message = outcome.partition(": ")
            yield Case(ProgType[kind], verdict, message, text)


def normalise(log: str) -> list[str]:
    """A log without what differs by nature: addresses of maps, numbers of loops, notes on stack liveness,
    counts of
    states."""
    log = _SCC.sub(r"    \1", _POINTER.sub(r"\1ADDR \2", log))
    log = _COUNTS.sub("", log)
    noise = ("(0", "(2", "SCC e")
    return [line for line in log.split("\n") if not line.startswith(noise) and "SCC e" not in line]
