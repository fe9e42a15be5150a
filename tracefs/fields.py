"""Fields of an event's record, as its format file tells them."""

from dataclasses import dataclass

__all__ = ["COMMON_FIELDS", "COMMON_SIZE", "Field", "format_text"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field: C type and name as the format file shows them, offset and bytes in the record."""

    type: str
    name: str
    offset: int
    size: int
    signed: bool
    suffix: str = ""
    """Behind the name: `[]` or `[16]`."""

    def line(self) -> str:
        """Its line of the format file."""
        return (
            f"\tfield:{self.type} {self.name}{self.suffix};\toffset:{self.offset};"
            f"\tsize:{self.size};\tsigned:{int(self.signed)};\n"
        )


COMMON_FIELDS = (
    Field("unsigned short", "common_type", 0, 2, False),
    Field("unsigned char", "common_flags", 2, 1, False),
    Field("unsigned char", "common_preempt_count", 3, 1, False),
    Field("int", "common_pid", 4, 4, True),
)
"""struct trace_entry."""
COMMON_SIZE = 8


def format_text(name: str, number: int, fields: tuple[Field, ...], print_fmt: str) -> str:
    """A format file."""
    common = "".join(field.line() for field in COMMON_FIELDS)
    own = "".join(field.line() for field in fields)
    return f"name: {name}\nID: {number}\nformat:\n{common}\n{own}\nprint fmt: {print_fmt}\n"
