"""The types of fetch arguments: one row each (kernel/trace/trace_probe.c, `probe_fetch_types`)."""

from dataclasses import dataclass

from engine.errors import KernelError
from tracefs.ktext import kstrtoul

__all__ = ["DEFAULT_TYPE", "FETCH_TYPES", "FetchType", "find_fetch_type"]

DEFAULT_TYPE = "x64"


@dataclass(frozen=True, slots=True)
class FetchType:
    """A type: bytes in the record, whether signed, its printf conversion, its name in a format file."""

    name: str
    size: int
    signed: bool
    fmt: str
    fmttype: str
    is_string: bool = False


def _rows() -> list[FetchType]:
    rows = []
    for bits in (8, 16, 32, 64):
        size, long = bits // 8, "L" if bits == 64 else ""
        rows.append(FetchType(f"u{bits}", size, False, f"%{long}u", f"u{bits}"))
        rows.append(FetchType(f"s{bits}", size, True, f"%{long}d", f"s{bits}"))
        rows.append(FetchType(f"x{bits}", size, False, f"0x%{long}x", f"u{bits}"))
    rows.append(FetchType("symbol", 8, False, "%pS", "u64"))
    for name in ("string", "ustring", "symstr"):
        rows.append(FetchType(name, 4, True, '\\"%s\\"', "__data_loc char[]", True))
    return rows


FETCH_TYPES = {row.name: row for row in _rows()}


def find_fetch_type(name: str | None) -> FetchType | None:
    """The type called `name`; a bit field's is its container's; None for an unknown one."""
    if name is None:
        return FETCH_TYPES[DEFAULT_TYPE]
    if name.startswith("b"):
        try:
            bits = kstrtoul(name.split("/", 1)[1], 0)
        except (IndexError, KernelError):
            return None
        return FETCH_TYPES.get(f"u{bits}") if bits in (8, 16, 32, 64) else None
    return FETCH_TYPES.get(name)
