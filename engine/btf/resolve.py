"""Second pass of BTF verification: every reference leads to a type of the right sort, without loops.

A depth-first walk with an explicit stack of at most 32 (`btf_resolve`). While a pointer is resolved, structs
and arrays are ends; while a struct or an array is, pointers are: so a struct may point to itself, but not
contain itself.
"""

import errno
from enum import Enum as PyEnum
from enum import auto

from engine.btf.btf import MAX_RESOLVE_DEPTH, Btf
from engine.btf.membercheck import check_member, is_regular_int
from engine.btf.types import (
    Array,
    Composite,
    DataSec,
    DeclTag,
    Enum,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Modifier,
    Pointer,
    Type,
    Typedef,
    Var,
    Void,
)
from engine.btf.verifylog import VerifyLog
from engine.errors import KernelError

__all__ = ["Resolver"]


class _Mode(PyEnum):
    TBD = auto()
    POINTER = auto()
    AGGREGATE = auto()


_NEEDS = Typedef | Modifier | Pointer | Composite | Array | Var | Func | DeclTag | DataSec
_SOURCE_ONLY = Var | DeclTag | DataSec
_NOSIZE = Void | Fwd | Func | FuncProto


class _Push(Exception):
    """Another type has to be resolved first."""

    def __init__(self, type_id: int) -> None:
        super().__init__(type_id)
        self.type_id = type_id


class Resolver:
    """`env` of the kernel's second pass. `run` raises KernelError after the last line of the log."""

    def __init__(self, btf: Btf, log: VerifyLog) -> None:
        self._btf = btf
        self._log = log
        self._state: dict[int, bool] = {}
        self._ids: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._mode = _Mode.TBD
        self._current = 0

    def run(self) -> None:
        """Resolve all types, check all prototypes."""
        for type_id, record in enumerate(self._btf.types):
            self._current = type_id
            if isinstance(record, _NEEDS):
                self._resolve(type_id)
            self._current = type_id
            if isinstance(record, FuncProto):
                self._prototype(type_id, record)

    def _bad(self, type_id: int, reason: str, number: int = errno.EINVAL) -> KernelError:
        self._log.type(type_id, self._btf.types[type_id], reason)
        return KernelError(number, reason)

    def _record(self, type_id: int) -> Type | None:
        return self._btf.types[type_id] if type_id < len(self._btf) else None

    def _resolved(self, type_id: int) -> bool:
        return self._state.get(type_id, False)

    def _is_sink(self, record: Type) -> bool:
        if self._mode is _Mode.TBD:
            return not isinstance(record, _NEEDS)
        if self._mode is _Mode.POINTER:
            return not isinstance(record, Typedef | Modifier | Pointer)
        return not isinstance(record, Typedef | Modifier | Array | Composite)

    def _resolve(self, type_id: int) -> None:
        """`btf_resolve` of one type and what it needs."""
        if self._resolved(type_id):
            return
        self._mode = _Mode.TBD
        stack: list[tuple[int, list[int]]] = []
        self._push(stack, type_id, type_id)
        while stack:
            current, progress = stack[-1]
            self._current = current
            try:
                self._step(current, progress)
            except _Push as push:
                self._push(stack, push.type_id, type_id)
                continue
            self._state[current] = True
            stack.pop()

    def _push(self, stack: list[tuple[int, list[int]]], type_id: int, root: int) -> None:
        if len(stack) == MAX_RESOLVE_DEPTH:
            reason = f"Exceeded max resolving depth:{MAX_RESOLVE_DEPTH}"
            raise self._bad(root, reason, errno.E2BIG)
        if type_id in self._state:
            raise self._bad(root, "Loop detected", errno.EEXIST)
        self._state[type_id] = False
        stack.append((type_id, [0]))
        if self._mode is _Mode.TBD:
            record = self._btf.types[type_id]
            if isinstance(record, Pointer):
                self._mode = _Mode.POINTER
            elif isinstance(record, Composite | Array):
                self._mode = _Mode.AGGREGATE

    def _need(self, type_id: int, record: Type) -> None:
        """Go on only with a type that is an end here, or resolved."""
        if not self._is_sink(record) and not self._resolved(type_id):
            raise _Push(type_id)

    def _step(self, type_id: int, progress: list[int]) -> None:
        record = self._btf.types[type_id]
        match record:
            case Typedef() | Modifier():
                self._reference(type_id, record.type, follow=False)
            case Pointer():
                self._reference(type_id, record.type, follow=True)
            case Var():
                self._variable(type_id, record)
            case Array():
                self._array(type_id, record)
            case Composite():
                self._composite(type_id, record, progress)
            case DataSec():
                self._datasec(type_id, record, progress)
            case DeclTag():
                self._decl_tag(type_id, record)
            case Func():
                self._function(type_id, record)

    def sized(self, type_id: int) -> tuple[int, int] | None:
        """(id behind modifiers, bytes) of a type that has a size (`btf_type_id_size`)."""
        record = self._record(type_id)
        if record is None or isinstance(record, _NOSIZE):
            return None
        if isinstance(record, Typedef | Modifier | Var):
            type_id = self._ids.get(type_id, 0)
            record = self._record(type_id)
        match record:
            case Int() | Composite() | Enum() | DataSec() | Float():
                return type_id, record.size
            case Array():
                return type_id, self._sizes.get(type_id, 0)
            case Pointer():
                return type_id, 8
        return None

    def _target(self, type_id: int, target: int) -> Type:
        record = self._record(target)
        if record is None or isinstance(record, _SOURCE_ONLY):
            raise self._bad(type_id, "Invalid type_id")
        self._need(target, record)
        return record

    def _last_pointer(self, target: int, record: Type) -> None:
        """A modifier that stopped at a pointer goes on here, lest the pointer lead back."""
        if isinstance(record, Typedef | Modifier):
            behind_id = self._ids.get(target, 0)
            behind = self._btf.types[behind_id]
            if isinstance(behind, Pointer):
                self._need(behind_id, behind)

    def _reference(self, type_id: int, target: int, *, follow: bool) -> None:
        record = self._target(type_id, target)
        if follow:
            self._last_pointer(target, record)
        found = self.sized(target)
        if found is None:
            if self._resolved(target):
                target = self._ids.get(target, 0)
                record = self._btf.types[target]
            if not isinstance(record, Void | Fwd | FuncProto):
                raise self._bad(type_id, "Invalid type_id")
        self._ids[type_id] = found[0] if found is not None else target

    def _variable(self, type_id: int, var: Var) -> None:
        record = self._target(type_id, var.type)
        self._last_pointer(var.type, record)
        found = self.sized(var.type)
        if found is None:
            raise self._bad(type_id, "Invalid type_id")
        self._ids[type_id] = found[0]

    def _array(self, type_id: int, array: Array) -> None:
        for target, reason in ((array.index, "Invalid index"), (array.type, "Invalid elem")):
            record = self._record(target)
            if record is None or isinstance(record, _NOSIZE | _SOURCE_ONLY):
                raise self._bad(type_id, reason)
            self._need(target, record)
            found = self.sized(target)
            behind = self._btf.types[found[0]] if found is not None else None
            if target == array.index and reason == "Invalid index":
                if not isinstance(behind, Int) or not is_regular_int(behind):
                    raise self._bad(type_id, reason)
                continue
            if found is None:
                raise self._bad(type_id, reason)
            if isinstance(behind, Int) and not is_regular_int(behind):
                raise self._bad(type_id, "Invalid array of int")
            if found[1] * array.count > 0xFFFFFFFF:
                raise self._bad(type_id, "Array size overflows U32_MAX")
            self._ids[type_id], self._sizes[type_id] = found[0], found[1] * array.count

    def _bad_member(self, type_id: int, record: Composite, member: Member, reason: str) -> KernelError:
        self._log.type(type_id, record)
        self._log.member(record, member, reason)
        return KernelError(errno.EINVAL, reason)

    def _composite(self, type_id: int, record: Composite, progress: list[int]) -> None:
        for number in range(progress[0], len(record.members)):
            progress[0] = number
            member = record.members[number]
            target = self._record(member.type)
            if target is None or isinstance(target, _NOSIZE | _SOURCE_ONLY):
                raise self._bad_member(type_id, record, member, "Invalid member")
            self._need(member.type, target)
            found = self.sized(member.type)
            if found is None:
                raise self._bad_member(type_id, record, member, "Invalid member")
            reason = check_member(record, member, self._btf.types[found[0]], found[1])
            if reason:
                raise self._bad_member(type_id, record, member, reason)

    def _datasec(self, type_id: int, record: DataSec, progress: list[int]) -> None:
        for number in range(progress[0], len(record.vars)):
            progress[0] = number
            placed = record.vars[number]
            var = self._record(placed.type)
            reason = "" if isinstance(var, Var) else "Not a VAR kind member"
            if isinstance(var, Var):
                self._need(placed.type, var)
                found = self.sized(var.type)
                if found is None:
                    reason = "Invalid type"
                elif placed.size < found[1]:
                    reason = "Invalid size"
            if reason:
                self._log.type(type_id, record)
                self._log.var(placed, reason)
                raise KernelError(errno.EINVAL, reason)

    def _decl_tag(self, type_id: int, tag: DeclTag) -> None:
        target = self._record(tag.type)
        if not isinstance(target, Func | Composite | Var | Typedef):
            raise self._bad(type_id, "Invalid type_id")
        self._need(tag.type, target)
        if tag.component == -1:
            return
        count = 0
        if isinstance(target, Composite):
            count = len(target.members)
        elif isinstance(target, Func):
            proto = self._record(target.type)
            count = len(proto.params) if isinstance(proto, FuncProto) else 0
        if tag.component >= count:
            raise self._bad(type_id, "Invalid component_idx")

    def _function(self, type_id: int, func: Func) -> None:
        proto = self._record(func.type)
        if not isinstance(proto, FuncProto):
            raise self._bad(type_id, "Invalid type_id")
        for number, param in enumerate(proto.params):
            if not param.name and param.type:
                raise self._bad(type_id, f"Invalid arg#{number + 1}")
        self._ids[type_id] = func.type

    def _prototype(self, type_id: int, proto: FuncProto) -> None:
        """`btf_func_proto_check`: result and parameters have a size; a nameless void at the end is `...`."""
        if proto.type:
            self._sized_argument(type_id, proto.type, "Invalid return type")
        params = list(proto.params)
        if params and not params[-1].type:
            if params[-1].name:
                raise self._bad(type_id, f"Invalid arg#{len(params)}")
            params.pop()
        for number, param in enumerate(params):
            reason = f"Invalid arg#{number + 1}"
            if param.name and not param.name.isidentifier():
                raise self._bad(type_id, reason)
            self._sized_argument(type_id, param.type, reason)

    def _sized_argument(self, type_id: int, target: int, reason: str) -> None:
        record = self._record(target)
        if record is None:
            raise self._bad(type_id, reason)
        if isinstance(record, _NEEDS):
            self._resolve(target)
        if self.sized(target) is None:
            raise self._bad(type_id, reason)
