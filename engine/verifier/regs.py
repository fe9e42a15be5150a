"""Registers as the verifier sees them: a type, what is known of the value, and identities.

A `Reg` is immutable once it is in a state; states share it. For pointers `b` bounds the variable part of
the offset
and `off` is the fixed part. What the other fields mean depends on the type, as the table shows.

    type        map          n                     id
    SCALAR      -            -                     links equal scalars (with ADD_CONST64: equal plus `off`;
    with
                                         ADD_CONST32: the same modulo 2^32)
    MAP_PTR     the map      -                     names the inner map it came from
    MAP_VALUE   the map      -                     names the lookup, for null checks and spin locks
    STACK       -            frame number          -
    PACKET*     -            bytes proven present  names the variable offset
    MEM, BTF    type name    size in bytes         names the allocation
    FUNC        -            subprogram            -
    XDP_SOCK    -            -                     -
"""

from enum import IntEnum
from typing import Any

from engine.verifier.bounds import UNKNOWN, Bounds, const_bounds

__all__ = [
    "ADD_CONST",
    "ADD_CONST32",
    "ADD_CONST64",
    "MAYBE_NULL",
    "NOT_INIT",
    "RDONLY",
    "RINGBUF",
    "SCALAR",
    "TRUSTED",
    "UNKNOWN_SCALAR",
    "UNTRUSTED",
    "ZERO",
    "Reg",
    "RegType",
    "const_reg",
    "scalar",
    "type_name",
]


class RegType(IntEnum):
    """What a register holds (`enum bpf_reg_type`)."""

    NOT_INIT = 0
    SCALAR = 1
    CTX = 2
    MAP_PTR = 3
    MAP_VALUE = 4
    MAP_KEY = 5
    STACK = 6
    PACKET_META = 7
    PACKET = 8
    PACKET_END = 9
    MEM = 10
    BTF = 11
    FUNC = 12
    DYNPTR = 13
    XDP_SOCK = 14


MAYBE_NULL = 1 << 8
RDONLY = 1 << 9
RINGBUF = 1 << 10
TRUSTED = 1 << 11
UNTRUSTED = 1 << 12
"""It may point anywhere; loads that fault give 0."""
ADD_CONST64 = 1 << 31
ADD_CONST32 = 1 << 30
ADD_CONST = ADD_CONST64 | ADD_CONST32

_NAMES = {
    RegType.NOT_INIT: "?",
    RegType.SCALAR: "scalar",
    RegType.CTX: "ctx",
    RegType.MAP_PTR: "map_ptr",
    RegType.MAP_VALUE: "map_value",
    RegType.MAP_KEY: "map_key",
    RegType.STACK: "fp",
    RegType.PACKET_META: "pkt_meta",
    RegType.PACKET: "pkt",
    RegType.PACKET_END: "pkt_end",
    RegType.MEM: "mem",
    RegType.BTF: "ptr_",
    RegType.FUNC: "func",
    RegType.DYNPTR: "dynptr_ptr",
    RegType.XDP_SOCK: "xdp_sock",
}


def type_name(kind: int, flags: int = 0) -> str:
    """The name that the log gives to a type (`reg_type_str`)."""
    prefix = ""
    if flags & RDONLY:
        prefix += "rdonly_"
    if flags & RINGBUF:
        prefix += "ringbuf_"
    if flags & UNTRUSTED:
        prefix += "untrusted_"
    if flags & TRUSTED:
        prefix += "trusted_"
    postfix = ""
    if flags & MAYBE_NULL:
        postfix = "or_null_" if kind == RegType.BTF else "_or_null"
    return f"{prefix}{_NAMES[RegType(kind)]}{postfix}"


class Reg:
    """One register or spilled register. Never changed after it was put into a state."""

    __slots__ = ("b", "flags", "id", "map", "n", "off", "precise", "ref", "type")

    def __init__(
        self,
        kind: int,
        b: Bounds,
        off: int = 0,
        id: int = 0,
        flags: int = 0,
        map: Any = None,
        n: int = 0,
        ref: int = 0,
        precise: bool = False,
    ) -> None:
        self.type = kind
        self.b = b
        self.off = off
        self.id = id
        self.flags = flags
        self.map = map
        self.n = n
        self.ref = ref
        self.precise = precise

    def copy(self) -> "Reg":
        """A copy that the caller may change until it is put into a state."""
        return Reg(self.type, self.b, self.off, self.id, self.flags, self.map, self.n, self.ref, self.precise)

    def with_bounds(self, b: Bounds) -> "Reg":
        """The same with another value part."""
        return Reg(self.type, b, self.off, self.id, self.flags, self.map, self.n, self.ref, self.precise)

    def with_id(self, id: int) -> "Reg":
        """The same with another id."""
        return Reg(self.type, self.b, self.off, id, self.flags, self.map, self.n, self.ref, self.precise)

    def with_precise(self) -> "Reg":
        """The same scalar, marked as one whose exact value matters."""
        return Reg(self.type, self.b, self.off, self.id, self.flags, self.map, self.n, self.ref, True)

    @property
    def is_const(self) -> bool:
        """Whether it is a scalar of one known value."""
        return self.type == RegType.SCALAR and not self.b.m

    @property
    def name(self) -> str:
        """The name of its type in the log."""
        return type_name(self.type, self.flags)

    def __repr__(self) -> str:
        return f"Reg({self.name}, off={self.off}, id={self.id}, n={self.n}, {self.b!r})"


SCALAR = int(RegType.SCALAR)
NOT_INIT = Reg(RegType.NOT_INIT, UNKNOWN)
UNKNOWN_SCALAR = Reg(SCALAR, UNKNOWN)


def scalar(b: Bounds) -> Reg:
    """A scalar with these bounds and no identity."""
    return Reg(SCALAR, b)


_CONSTS: dict[int, Reg] = {n: Reg(SCALAR, const_bounds(n)) for n in range(-256, 1025)}
ZERO = _CONSTS[0]


def const_reg(value: int) -> Reg:
    """A scalar of one value, given as s64 or u64."""
    known = _CONSTS.get(value)
    return known if known is not None else Reg(SCALAR, const_bounds(value))
