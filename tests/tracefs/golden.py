"""Reading the golden transcripts: tables of single writes with what the kernel answered."""

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["GOLDEN", "Row", "rows"]

GOLDEN = Path(__file__).parent.parent / "golden"


@dataclass
class Row:
    """One write: the text, the error's name ("" if it was taken), and what three files held afterwards."""

    line: str
    number: int
    error: str = ""
    events: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.number}:{self.line}"


def rows(name: str) -> list[Row]:
    """The `> line` rows of a transcript in order."""
    found: list[Row] = []
    inside = False
    for number, text in enumerate((GOLDEN / name).read_text(encoding="latin-1").splitlines(), 1):
        if text.startswith("> "):
            found.append(Row(text[2:], number))
            inside = True
        elif inside and text.startswith("  write = "):
            answer = text.removeprefix("  write = ")
            found[-1].error = "" if answer == "ok" else answer.split()[-1]
        elif inside and text.startswith("  = "):
            found[-1].events.append(text[4:])
        elif inside and text.startswith("  F "):
            found[-1].fields.append(text[4:])
        elif inside and text.startswith("  E "):
            found[-1].log.append(text[4:])
        else:
            inside = False
    return [row for row in found if row.line]
