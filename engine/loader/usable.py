"""BTF that a kernel takes, made of what a compiler emits.

Rust and C++ put names into BTF that are no identifiers of C; they are spelled differently then, as Aya does
(`Btf::fixup_and_sanitize`). GCC says of `char` that it is both a character and signed, sets bits of forward
declarations that must be zero, and leaves parameters of helpers without names. Type information is optional:
an object whose BTF is broken loads without it, as with libbpf.
"""

import logging
import re
from dataclasses import replace

from engine.btf import Btf
from engine.btf.build import replace_records
from engine.btf.types import Composite, Encoding, Enum, Func, FuncProto, Fwd, Int, Type, Typedef, Var
from engine.btf.verify import BtfError, verify

__all__ = ["usable_btf"]

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BAD = re.compile(r"[^A-Za-z0-9_]", re.ASCII)
_MAX_NAME = 511


def usable_btf(btf: Btf) -> Btf | None:
    """`btf`, or one with the same type ids and other names, or None if no kernel would take it."""
    try:
        verify(btf)
        return btf
    except BtfError:
        pass
    renamed = _renamed(btf)
    try:
        verify(renamed)
        return renamed
    except BtfError as error:
        _log.warning("BTF of the object is broken, going on without it: %s", error.message)
        return None


def _renamed(btf: Btf) -> Btf:
    changed: dict[int, Type] = {}
    defined = {record.type for record in btf.types if isinstance(record, Func)}
    for type_id, record in enumerate(btf.types):
        new = _rename(record)
        if isinstance(new, FuncProto) and type_id in defined:
            new = _named(new)
        if isinstance(new, Fwd) and type_id in btf.odd:
            new = replace(new)
        if new is not record:
            changed[type_id] = new
    return replace_records(btf, changed) if changed else btf


def _named(proto: FuncProto) -> FuncProto:
    """`proto` with a name for each parameter: that of a function has them."""
    if all(row.name or not row.type for row in proto.params):
        return proto
    rows = (
        replace(row, name=row.name or f"arg{number}") if row.type else row
        for number, row in enumerate(proto.params)
    )
    return replace(proto, params=tuple(rows))


def _identifier(name: str) -> str:
    if not name or (_NAME.fullmatch(name) and len(name) <= _MAX_NAME):
        return name
    spelled = _BAD.sub("_", name)
    return ("_" + spelled if spelled[0].isdigit() else spelled)[:_MAX_NAME]


def _rename(record: Type) -> Type:
    """`record` as a kernel takes it, the same object if it is that already."""
    match record:
        case Int() if record.encoding & Encoding.SIGNED:
            plain = record.encoding == Encoding.SIGNED
            return record if plain else replace(record, encoding=Encoding.SIGNED)
        case Composite():
            members = tuple(
                row if row.name == _identifier(row.name) else replace(row, name=_identifier(row.name))
                for row in record.members
            )
            if members == record.members and record.name == _identifier(record.name):
                return record
            return replace(record, name=_identifier(record.name), members=members)
        case Enum():
            values = tuple(replace(row, name=_identifier(row.name) or "_") for row in record.values)
            if values == record.values and record.name == _identifier(record.name):
                return record
            return replace(record, name=_identifier(record.name), values=values)
        case FuncProto():
            params = tuple(replace(row, name=_identifier(row.name)) for row in record.params)
            return record if params == record.params else replace(record, params=params)
        case Typedef() | Fwd() | Func() | Var():
            name = _identifier(record.name) or "_"
            return record if name == record.name else replace(record, name=name)
    return record
