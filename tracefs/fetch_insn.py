"""Fetch instructions: what an argument of a probe is parsed to (kernel/trace/trace_probe.h)."""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from tracefs.fetch_types import FetchType

__all__ = ["FETCH_INSN_MAX", "REGISTER_OFFSETS", "FetchInsn", "Op", "ProbeArg", "ProbeFlag"]

FETCH_INSN_MAX = 16
_REGISTERS = [
    "r15",
    "r14",
    "r13",
    "r12",
    "bp",
    "bx",
    "r11",
    "r10",
    "r9",
    "r8",
    "ax",
    "cx",
    "dx",
    "si",
    "di",
    "orig_ax",
    "ip",
    "cs",
    "flags",
    "sp",
    "ss",
]
REGISTER_OFFSETS = {name: index * 8 for index, name in enumerate(_REGISTERS)}
"""Bytes into struct pt_regs, as `regs_query_register_offset` answers."""


class Op(IntEnum):
    """Fetch operations (`enum fetch_op`). HOST_STRING stands for COMM or DATA followed by ST_STRING."""

    END = 0
    REG = 1
    STACK = 2
    STACKP = 3
    RETVAL = 4
    IMM = 5
    COMM = 6
    ARG = 7
    DATA = 8
    DEREF = 9
    UDEREF = 10
    ST_RAW = 11
    ST_MEM = 12
    ST_UMEM = 13
    ST_STRING = 14
    ST_USTRING = 15
    ST_SYMSTR = 16
    MOD_BF = 17
    LP_ARRAY = 18


class ProbeFlag(IntFlag):
    """What kind of probe the arguments are for (TPARG_FL_*)."""

    RETURN = 1
    FENTRY = 2


@dataclass(frozen=True, slots=True)
class FetchInsn:
    """One step. `value` is an offset, parameter, immediate or string, as `op` says."""

    op: Op
    value: int = 0
    size: int = 0
    lshift: int = 0
    rshift: int = 0
    data: bytes = b""
    symbol: str = ""
    """Of `@SYMBOL`: `value` is filled in when the probe is registered."""


@dataclass(frozen=True, slots=True)
class ProbeArg:
    """A parsed argument: name, expression as written, type, array length (0: none), offset in the record."""

    name: str
    comm: str
    type: FetchType
    count: int
    offset: int
    code: tuple[FetchInsn, ...]

    @property
    def size(self) -> int:
        """Bytes of its fixed part in the record."""
        return self.type.size * (self.count or 1)

    @property
    def dynamic(self) -> bool:
        """Whether it has a part behind the fixed ones (`__data_loc`)."""
        return self.type.is_string
