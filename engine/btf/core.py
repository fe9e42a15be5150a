"""CO-RE relocations: instructions adapted to the kernel that they run on (libbpf's `relo_core.c`).

For the local type of a relocation every kernel type of the same name is a candidate; names match up to a
`___flavour`. Those that have what the relocation walks through must agree on the result, and are the only
candidates for later relocations of that type. Where none has it, existence is 0 and any other instruction is
poisoned: only if it can be reached, the verifier complains.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from engine.btf.btf import Btf
from engine.btf.corematch import Spec, match, parse_spec
from engine.btf.corepatch import Value, patch, poison
from engine.btf.ext import CoreKind, CoreRelo
from engine.btf.names import essential
from engine.btf.types import Composite, Encoding, Enum, Int, Kind, Pointer
from engine.errors import KernelError

__all__ = ["relocate"]

TYPE_KINDS = frozenset(
    (
        CoreKind.TYPE_ID_LOCAL,
        CoreKind.TYPE_ID_TARGET,
        CoreKind.TYPE_EXISTS,
        CoreKind.TYPE_SIZE,
        CoreKind.TYPE_MATCHES,
    )
)


class _Unmet(Exception):
    """The kernel does not have what the relocation asks: poison the instruction."""


def relocate(
    prog: str,
    insns: bytearray,
    relos: Sequence[CoreRelo],
    local: Btf | None,
    kernel: Btf | None,
    candidates: dict[int, list[int]] | None = None,
) -> None:
    """Apply `relos` of program `prog`, whose types are `local`'s, to `insns`.

    `candidates`, by local type, is for the programs of one object to share; it starts empty.
    Raises KernelError: EINVAL for a broken or ambiguous relocation, ESRCH without BTF, ERANGE, E2BIG.
    """
    if local is None or (kernel is None and any(r.kind is not CoreKind.TYPE_ID_LOCAL for r in relos)):
        raise KernelError(errno.ESRCH, f"prog '{prog}': CO-RE relocations need the BTF of object and kernel")
    kernel = kernel if kernel is not None else local
    candidates = candidates if candidates is not None else {}
    known: dict[tuple[int, str, CoreKind], _Result] = {}
    for number, relo in enumerate(relos):
        key = (relo.type_id, relo.access, relo.kind)
        try:
            result = known.get(key)
            if result is None:
                result = known[key] = _Question(local, kernel, relo, candidates).result()
            if not 0 <= relo.insn_off < len(insns) // 8:
                raise KernelError(errno.EINVAL, "of no instruction")
            if result.poison:
                poison(insns, relo.insn_off)
            else:
                patch(insns, relo.insn_off, result.before, result.after, validate=result.validate)
        except KernelError as error:
            what = f"CO-RE relocation #{number} ({relo.kind.name.lower()}) at insn #{relo.insn_off}"
            raise KernelError(error.errno, f"prog '{prog}': {what}: {error.message}") from None


@dataclass(frozen=True, slots=True)
class _Result:
    before: Value
    after: Value
    validate: bool = True
    poison: bool = False


class _Question:
    """One relocation against all candidates."""

    def __init__(self, local: Btf, kernel: Btf, relo: CoreRelo, candidates: dict[int, list[int]]) -> None:
        self._local = local
        self._kernel = kernel
        self._relo = relo
        self._known = candidates

    @cached_property
    def _spec(self) -> Spec:
        return parse_spec(self._local, self._relo)

    def result(self) -> _Result:
        """What to write into the instruction."""
        kind, type_id = self._relo.kind, self._relo.type_id
        record = self._local.type(type_id)
        spec = self._spec
        if kind is CoreKind.TYPE_ID_LOCAL:
            return _Result(Value(type_id), Value(type_id), validate=False)
        if not record.name:
            raise KernelError(errno.EOPNOTSUPP, "relocation doesn't support anonymous types")
        if type_id not in self._known:
            self._known[type_id] = self._candidates(record.name, record.kind)
        chosen: tuple[Spec, _Result] | None = None
        matching = []
        for candidate in self._known[type_id]:
            found = match(spec, self._local, self._kernel, candidate)
            if found is None:
                continue
            matching.append(candidate)
            result = self._compute(found)
            if chosen is None:
                chosen = found, result
            elif found.bit_offset != chosen[0].bit_offset:
                raise KernelError(
                    errno.EINVAL, f"field offset ambiguity: {found.bit_offset} != {chosen[0].bit_offset}"
                )
            elif (result.poison, result.after.number) != (chosen[1].poison, chosen[1].after.number):
                raise KernelError(errno.EINVAL, "relocation decision ambiguity")
        if chosen is None:
            return self._compute(None)
        self._known[type_id] = matching
        return chosen[1]

    def _candidates(self, name: str, kind: Kind) -> list[int]:
        """Kernel types of the same essential name and compatible kind."""
        wanted = essential(name)
        enums = (Kind.ENUM, Kind.ENUM64)
        found = []
        for type_id in self._kernel.flavours(wanted):
            other = self._kernel.types[type_id].kind
            if other is kind or (other in enums and kind in enums):
                found.append(type_id)
        return found

    def _compute(self, found: Spec | None) -> _Result:
        kind = self._relo.kind
        try:
            if kind in TYPE_KINDS:
                return self._type_result(found)
            if kind in (CoreKind.ENUMVAL_EXISTS, CoreKind.ENUMVAL_VALUE):
                return self._enum_result(found)
            before, validate = _field(kind, self._local, self._spec)
            after, _ = _field(kind, self._kernel, found)
        except _Unmet:
            return _Result(Value(0), Value(0), poison=True)
        return _Result(before, after, validate)

    def _type_result(self, found: Spec | None) -> _Result:
        kind = self._relo.kind
        if kind is CoreKind.TYPE_SIZE:
            before = self._local.size_of(self._relo.type_id)
            after = self._kernel.size_of(found.root) if found is not None else 0
            return _Result(Value(before), Value(after))
        if kind is CoreKind.TYPE_ID_TARGET:
            return _Result(Value(0), Value(found.root if found is not None else 0), validate=False)
        return _Result(Value(1), Value(int(found is not None)))

    def _enum_result(self, found: Spec | None) -> _Result:
        if self._relo.kind is CoreKind.ENUMVAL_EXISTS:
            return _Result(Value(1), Value(int(found is not None)))
        if found is None:
            raise _Unmet
        return _Result(Value(_enumerator(self._local, self._spec)), Value(_enumerator(self._kernel, found)))


def _enumerator(btf: Btf, spec: Spec) -> int:
    record = btf.resolve(spec.steps[0].type_id)
    if not isinstance(record, Enum):
        raise KernelError(errno.EINVAL, "not an enum")
    return record.values[spec.steps[0].index].value


def _field(kind: CoreKind, btf: Btf, spec: Spec | None) -> tuple[Value, bool]:
    """Value of a relocation of a field, and whether the compiler must have seen the same in `btf`."""
    if kind is CoreKind.FIELD_EXISTS:
        return Value(int(spec is not None)), True
    if spec is None:
        raise _Unmet
    last = spec.steps[-1]
    if last.name is None:
        size = btf.size_of(last.type_id)
        if kind is CoreKind.FIELD_BYTE_OFFSET:
            return Value(spec.bit_offset // 8, size, _adjustable(btf, last.type_id)), True
        if kind is CoreKind.FIELD_BYTE_SIZE:
            return Value(size), True
        raise KernelError(errno.EINVAL, "can't be applied to array access")
    owner = btf.type(last.type_id)
    if not isinstance(owner, Composite):
        raise KernelError(errno.EINVAL, "not a member of a struct")
    member = owner.members[last.index]
    record = btf.resolve(member.type)
    if member.bits:
        return _bitfield(kind, record, spec.bit_offset, member.bits)
    size = btf.size_of(member.type)
    match kind:
        case CoreKind.FIELD_BYTE_OFFSET:
            return Value(spec.bit_offset // 8, size, _adjustable(btf, member.type)), True
        case CoreKind.FIELD_BYTE_SIZE:
            return Value(size), True
        case CoreKind.FIELD_SIGNED:
            return Value(_signed(record)), True
        case CoreKind.FIELD_LSHIFT_U64:
            return Value(64 - (spec.bit_offset % 8 + size * 8)), True
        case _:
            return Value(64 - size * 8), True


def _bitfield(kind: CoreKind, record: object, bit_offset: int, bits: int) -> tuple[Value, bool]:
    """Bit fields are read through the smallest integer that holds them; compilers may choose another."""
    if not isinstance(record, Int | Enum) or not record.size:
        raise KernelError(errno.EINVAL, "bit field of a type that is no integer")
    size = record.size
    start = bit_offset // 8 // size * size
    while bit_offset + bits - start * 8 > size * 8:
        if size >= 8:
            raise KernelError(errno.E2BIG, "can't be satisfied for bitfield")
        size *= 2
        start = bit_offset // 8 // size * size
    match kind:
        case CoreKind.FIELD_BYTE_OFFSET:
            return Value(start), False
        case CoreKind.FIELD_BYTE_SIZE:
            return Value(size), False
        case CoreKind.FIELD_SIGNED:
            return Value(_signed(record)), True
        case CoreKind.FIELD_LSHIFT_U64:
            return Value(64 - (bit_offset + bits - start * 8)), False
        case _:
            return Value(64 - bits), True


def _signed(record: object) -> int:
    if isinstance(record, Enum):
        return int(record.signed)
    return int(isinstance(record, Int) and bool(record.encoding & Encoding.SIGNED))


def _adjustable(btf: Btf, type_id: int) -> str:
    """Whether a load of the type may be made of another size: `ptr`, `unsigned`, or not at all."""
    record = btf.resolve(type_id)
    if isinstance(record, Pointer):
        return "ptr"
    return "unsigned" if isinstance(record, Int) and record.encoding != Encoding.SIGNED else ""
