"""Finds in a kernel's types what a CO-RE relocation walks through (`bpf_core_spec_match`)."""

import errno
from dataclasses import dataclass, field

from engine.btf.btf import Btf
from engine.btf.coretypes import types_compatible, types_match
from engine.btf.ext import CoreKind, CoreRelo
from engine.btf.names import essential
from engine.btf.types import Array, Composite, Enum, Float, Fwd, Int, Pointer
from engine.errors import KernelError

__all__ = ["MAX_STEPS", "Spec", "Step", "match", "parse_spec"]

MAX_STEPS = 64
"""BPF_CORE_SPEC_MAX_LEN: how deep an access may go."""
_TYPE_KINDS = frozenset(
    (
        CoreKind.TYPE_ID_LOCAL,
        CoreKind.TYPE_ID_TARGET,
        CoreKind.TYPE_EXISTS,
        CoreKind.TYPE_SIZE,
    )
)
_ENUM_KINDS = frozenset((CoreKind.ENUMVAL_EXISTS, CoreKind.ENUMVAL_VALUE))


@dataclass(frozen=True, slots=True)
class Step:
    """A field (member `index` of struct `type_id`), or an array element of `type_id` (`name` is None)."""

    type_id: int
    index: int
    name: str | None


@dataclass(slots=True)
class Spec:
    """An access from type `root`: its steps, how many types it goes through, and its place in bits."""

    root: int
    kind: CoreKind
    steps: list[Step] = field(default_factory=list)
    depth: int = 0
    bit_offset: int = 0


def _bad(reason: str, number: int = errno.EINVAL) -> KernelError:
    return KernelError(number, reason)


def parse_spec(btf: Btf, relo: CoreRelo) -> Spec:
    """The access that `relo` describes in the object's own types. Raises KernelError(EINVAL, E2BIG)."""
    spec = Spec(relo.type_id, relo.kind)
    if relo.kind in _TYPE_KINDS or relo.kind is CoreKind.TYPE_MATCHES:
        if relo.access != "0":
            raise _bad(f"access {relo.access!r} of a whole type")
        btf.type(relo.type_id)
        return spec
    if len(relo.access) > 12 * MAX_STEPS:
        raise _bad("access is too long", errno.E2BIG)
    parts = relo.access.split(":")
    if not all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts):
        raise _bad(f"invalid access {relo.access!r}")
    indexes = [int(part) for part in parts]
    if len(indexes) > MAX_STEPS:
        raise _bad("access is too deep", errno.E2BIG)
    type_id = btf.skip(relo.type_id)
    if relo.kind in _ENUM_KINDS:
        record = btf.types[type_id]
        if not isinstance(record, Enum) or len(indexes) > 1 or indexes[0] >= len(record.values):
            raise _bad(f"invalid enumerator {relo.access!r}")
        spec.steps.append(Step(type_id, indexes[0], record.values[indexes[0]].name))
        return spec
    spec.steps.append(Step(type_id, indexes[0], None))
    spec.bit_offset = indexes[0] * btf.size_of(type_id) * 8
    for index in indexes[1:]:
        type_id = _walk(btf, spec, type_id, index)
    return spec


def _walk(btf: Btf, spec: Spec, type_id: int, index: int) -> int:
    """One step of an access string; returns the type that it leads to."""
    type_id = btf.skip(type_id)
    record = btf.types[type_id]
    if isinstance(record, Composite):
        if index >= len(record.members):
            raise _bad(f"{record.name} has no member {index}")
        member = record.members[index]
        spec.bit_offset += member.bit_offset
        if member.name:
            spec.steps.append(Step(type_id, index, member.name))
        return member.type
    if isinstance(record, Array):
        element = btf.skip(record.type)
        if index >= record.count and not _flexible(btf, spec.steps[-1], record):
            raise _bad(f"array has no element {index}")
        spec.steps.append(Step(element, index, None))
        spec.bit_offset += index * btf.size_of(element) * 8
        return element
    raise _bad(f"captures type [{type_id}] of unexpected kind {record.kind.name}")


def _flexible(btf: Btf, step: Step, array: Array) -> bool:
    """Whether the array is the last member of its struct and has no length."""
    owner = btf.types[step.type_id]
    if step.name is None or array.count or not isinstance(owner, Composite):
        return False
    return step.index == len(owner.members) - 1


def match(spec: Spec, local: Btf, target: Btf, target_id: int) -> Spec | None:
    """`spec` walked in type `target_id` of `target`; None if it has no such field, element or value."""
    found = Spec(target_id, spec.kind)
    if spec.kind is CoreKind.TYPE_MATCHES:
        return found if types_match(local, spec.root, target, target_id) else None
    if spec.kind in _TYPE_KINDS:
        return found if types_compatible(local, spec.root, target, target_id) else None
    if spec.kind in _ENUM_KINDS:
        return _enumerator(spec, target, found)
    for number, step in enumerate(spec.steps):
        target_id = target.skip(target_id)
        if step.name is not None:
            after = _member(local, step, target, target_id, found)
            if after is None:
                return None
            target_id = after
            continue
        if number:
            record = target.types[target_id]
            if not isinstance(record, Array):
                return None
            if step.index >= record.count and not _flexible(target, found.steps[-1], record):
                return None
            target_id = target.skip(record.type)
        _deeper(found)
        found.steps.append(Step(target_id, step.index, None))
        found.bit_offset += step.index * target.size_of(target_id) * 8
    return found


def _deeper(spec: Spec) -> None:
    if spec.depth == MAX_STEPS:
        raise _bad("types are nested too deeply", errno.E2BIG)
    spec.depth += 1


def _enumerator(spec: Spec, target: Btf, found: Spec) -> Spec | None:
    type_id = target.skip(found.root)
    record = target.types[type_id]
    wanted = essential(spec.steps[0].name or "")
    for index, row in enumerate(record.values if isinstance(record, Enum) else ()):
        if essential(row.name) == wanted:
            found.steps.append(Step(type_id, index, row.name))
            return found
    return None


def _member(local: Btf, step: Step, target: Btf, target_id: int, found: Spec) -> int | None:
    """Find the field of `step` in a target struct, through anonymous ones; returns its type."""
    target_id = target.skip(target_id)
    record = target.types[target_id]
    owner = local.types[step.type_id]
    if not isinstance(record, Composite) or not isinstance(owner, Composite):
        return None
    for index, member in enumerate(record.members):
        if member.name and member.name != step.name:
            continue
        _deeper(found)
        found.bit_offset += member.bit_offset
        if not member.name:
            inner = _member(local, step, target, member.type, found)
            if inner is not None:
                return inner
        elif _fields_compatible(local, owner.members[step.index].type, target, member.type):
            found.steps.append(Step(target_id, index, member.name))
            return member.type
        found.bit_offset -= member.bit_offset
        found.depth -= 1
    return None


def _fields_compatible(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Whether a field may stand for another (`bpf_core_fields_are_compat`)."""
    for _ in range(MAX_STEPS):
        ours, theirs = local.resolve(local_id), target.resolve(target_id)
        match ours, theirs:
            case (Composite(), Composite()) | (Pointer(), Pointer()) | (Float(), Float()):
                return True
            case (Enum(), Enum()) | (Fwd(), Fwd()):
                mine, other = essential(ours.name), essential(theirs.name)
                return not mine or not other or mine == other
            case Int(), Int():
                return not ours.offset and not theirs.offset
            case Array(), Array():
                local_id, target_id = ours.type, theirs.type
            case _:
                return False
    raise _bad("arrays are nested too deeply", errno.E2BIG)
