"""When two whole types are the same for CO-RE (`bpf_core_types_are_compat`, `bpf_core_types_match`)."""

import errno

from engine.btf.btf import MAX_RESOLVE_DEPTH, Btf
from engine.btf.names import essential
from engine.btf.types import Array, Composite, Encoding, Enum, FuncProto, Fwd, Int, Kind, Pointer, Type, Void
from engine.errors import KernelError

__all__ = ["types_compatible", "types_match"]

_MAX_CHECKS = 100_000


def _too_deep() -> KernelError:
    return KernelError(errno.EINVAL, "types are nested too deeply")


def _kinds_compatible(ours: Type, theirs: Type) -> bool:
    return ours.kind is theirs.kind or (isinstance(ours, Enum) and isinstance(theirs, Enum))


def types_compatible(local: Btf, local_id: int, target: Btf, target_id: int, level: int = 32) -> bool:
    """Roughly the same type: kinds agree down pointers, arrays and prototypes. Names are not looked at.

    Raises KernelError(EINVAL) for types that are nested too deeply.
    """
    if not _kinds_compatible(local.type(local_id), target.type(target_id)):
        return False
    for _ in range(MAX_RESOLVE_DEPTH):
        ours, theirs = local.resolve(local_id), target.resolve(target_id)
        if not _kinds_compatible(ours, theirs):
            return False
        match ours, theirs:
            case (Void() | Composite() | Enum() | Fwd(), _):
                return True
            case Int(), Int():
                return not ours.offset and not theirs.offset
            case Pointer() | Array(), Pointer() | Array():
                local_id, target_id = ours.type, theirs.type
            case FuncProto(), FuncProto():
                if len(ours.params) != len(theirs.params):
                    return False
                for mine, other in zip(ours.params, theirs.params, strict=True):
                    if not level:
                        raise _too_deep()
                    pair = (local.skip(mine.type), target.skip(other.type))
                    if not types_compatible(local, pair[0], target, pair[1], level - 1):
                        return False
                local_id, target_id = local.skip(ours.type), target.skip(theirs.type)
            case _:
                return False
    raise _too_deep()


def types_match(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Whether the target has all that the local type has, by name, size and sign.

    Raises KernelError(EINVAL) for types that are nested too deeply or beyond reason.
    """
    return _Matcher(local, target).match(local_id, target_id, False, 32)


class _Matcher:
    """`__bpf_core_types_match`, with a bound on the work that hostile types can cause."""

    def __init__(self, local: Btf, target: Btf) -> None:
        self._local = local
        self._target = target
        self._left = _MAX_CHECKS

    def match(self, local_id: int, target_id: int, behind: bool, level: int) -> bool:
        """Compare two types; `behind` a pointer structs need only names and kinds."""
        for _ in range(MAX_RESOLVE_DEPTH):
            self._left -= 1
            if level <= 0 or self._left <= 0:
                raise _too_deep()
            ours, theirs = self._local.resolve(local_id), self._target.resolve(target_id)
            if not _names_match(ours.name, theirs.name):
                return False
            match ours, theirs:
                case (Void(), Void()):
                    return True
                case (Fwd(), Fwd()):
                    return ours.union == theirs.union
                case (Fwd(), Composite()):
                    return behind and ours.union == (theirs.kind is Kind.UNION)
                case (Composite(), Fwd()):
                    return behind and theirs.union == (ours.kind is Kind.UNION)
                case (Enum(), Enum()):
                    return _enums_match(ours, theirs)
                case (Composite(), Composite()) if ours.kind is theirs.kind:
                    return behind or self._members_match(ours, theirs, behind, level)
                case (Int(), Int()):
                    signs = ours.encoding & Encoding.SIGNED, theirs.encoding & Encoding.SIGNED
                    return ours.size == theirs.size and signs[0] == signs[1]
                case (Pointer(), Pointer()):
                    behind = True
                    local_id, target_id = ours.type, theirs.type
                case (Array(), Array()):
                    if ours.count != theirs.count:
                        return False
                    local_id, target_id = ours.type, theirs.type
                case (FuncProto(), FuncProto()):
                    if len(ours.params) != len(theirs.params):
                        return False
                    for mine, other in zip(ours.params, theirs.params, strict=True):
                        if not self.match(mine.type, other.type, behind, level - 1):
                            return False
                    local_id, target_id = ours.type, theirs.type
                case _:
                    return False
        raise _too_deep()

    def _members_match(self, ours: Composite, theirs: Composite, behind: bool, level: int) -> bool:
        if len(ours.members) > len(theirs.members):
            return False
        by_name: dict[str, list[int]] = {}
        for member in theirs.members:
            by_name.setdefault(essential(member.name), []).append(member.type)
        for member in ours.members:
            others = by_name.get(essential(member.name), [])
            if not any(self.match(member.type, other, behind, level - 1) for other in others):
                return False
        return True


def _names_match(ours: str, theirs: str) -> bool:
    if not theirs:
        return not ours
    return essential(ours) == essential(theirs)


def _enums_match(ours: Enum, theirs: Enum) -> bool:
    if ours.size != theirs.size or len(ours.values) > len(theirs.values):
        return False
    names = {essential(row.name) for row in theirs.values}
    return all(essential(row.name) in names for row in ours.values)
