"""BTF that a kernel takes, made of what a compiler emits.

Rust and C++ put names into BTF that are no identifiers of C; they are spelled differently then, as Aya does
(`Btf::fixup_and_sanitize`). Type information is optional: an object whose BTF is broken loads without it, as
with libbpf.
"""

import logging
import re
from dataclasses import replace

from engine.btf import Btf
from engine.btf.build import replace_records
from engine.btf.types import Composite, Enum, Func, FuncProto, Fwd, Type, Typedef, Var
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
    except BtfError as error:
        reason = error.message
    renamed = _renamed(btf)
    try:
        verify(renamed)
        return renamed
    except BtfError:
        _log.warning("BTF of the object is broken, going on without it: %s", reason)
        return None


def _renamed(btf: Btf) -> Btf:
    changed: dict[int, Type] = {}
    for type_id, record in enumerate(btf.types):
        new = _rename(record)
        if new is not record:
            changed[type_id] = new
    return replace_records(btf, changed) if changed else btf


def _identifier(name: str) -> str:
    if not name or (_NAME.fullmatch(name) and len(name) <= _MAX_NAME):
        return name
    spelled = _BAD.sub("_", name)
    return ("_" + spelled if spelled[0].isdigit() else spelled)[:_MAX_NAME]


def _rename(record: Type) -> Type:
    """`record` with identifiers for names, the same object if it has them already."""
    match record:
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
