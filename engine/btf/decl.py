"""Types and functions as C text, as bpftool prints the signature of a function (btf_dumper.c)."""

from engine.btf.btf import MAX_RESOLVE_DEPTH, Btf
from engine.btf.types import (
    Array,
    Composite,
    Enum,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Kind,
    Modifier,
    Pointer,
    Typedef,
)

__all__ = ["signature", "type_text"]

_MAX_TEXT = 1024
_QUALIFIERS = {Kind.CONST: "const ", Kind.VOLATILE: "volatile ", Kind.RESTRICT: "restrict "}


class _Unprintable(Exception):
    """A kind without C text, or too much of it."""


def signature(btf: Btf, func_id: int) -> str | None:
    """`int read_return(struct pt_regs * ctx)` for a FUNC; None for what bpftool gives up on."""
    record = btf.type(func_id)
    proto = btf.type(record.type) if isinstance(record, Func) else None
    if not isinstance(proto, FuncProto):
        return None
    try:
        return _bounded(_function(btf, proto, record.name, MAX_RESOLVE_DEPTH))
    except _Unprintable:
        return None


def type_text(btf: Btf, type_id: int) -> str | None:
    """`const struct file * ` for a type, with a blank at its end; None for what bpftool gives up on."""
    try:
        return _bounded(_type(btf, type_id, MAX_RESOLVE_DEPTH))
    except _Unprintable:
        return None


def _bounded(text: str) -> str:
    if len(text) >= _MAX_TEXT:
        raise _Unprintable
    return text


def _type(btf: Btf, type_id: int, depth: int) -> str:
    if not type_id:
        return "void "
    if not depth:
        raise _Unprintable
    record = btf.type(type_id)
    match record:
        case Int() | Typedef() | Float():
            return f"{record.name} "
        case Composite():
            return f"{'struct' if record.kind is Kind.STRUCT else 'union'} {record.name} "
        case Enum():
            return f"enum {record.name} "
        case Array():
            return f"{_type(btf, record.type, depth - 1)}[{record.count}]"
        case Pointer():
            return _bounded(f"{_type(btf, record.type, depth - 1)}* ")
        case Fwd():
            return f"{'union' if record.union else 'struct'} {record.name} "
        case Modifier() if record.kind in _QUALIFIERS:
            return _bounded(_QUALIFIERS[record.kind] + _type(btf, record.type, depth - 1))
        case FuncProto():
            return _function(btf, record, "", depth - 1)
    raise _Unprintable


def _function(btf: Btf, proto: FuncProto, name: str, depth: int) -> str:
    if not depth:
        raise _Unprintable
    params = []
    for param in proto.params:
        params.append(_type(btf, param.type, depth - 1) + param.name if param.type else "...")
        _bounded("".join(params))
    return _bounded(f"{_type(btf, proto.type, depth - 1)}{name}({', '.join(params)})")
