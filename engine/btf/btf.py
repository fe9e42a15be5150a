"""`Btf`: the types of one blob, with the questions that loaders, verifiers and printers ask of them."""

import errno
from collections.abc import Callable
from functools import cached_property

from engine.btf.names import essential
from engine.btf.parse import Header, parse_types
from engine.btf.types import (
    Array,
    Composite,
    DataSec,
    Enum,
    Float,
    Func,
    Int,
    Kind,
    Member,
    Modifier,
    Pointer,
    Type,
    Typedef,
    Var,
    Void,
)
from engine.errors import KernelError

__all__ = ["MAX_RESOLVE_DEPTH", "Btf"]

MAX_RESOLVE_DEPTH = 32
"""How many typedefs, modifiers and array levels may be followed (kernel/bpf/btf.c)."""


class Btf:
    """Types by id; id 0 is void. `odd` says what else a kernel would object to.

    Immutable once made. `id` and `name` are the registry's (bpf_btf_info), 0 and "" until it is loaded.
    """

    def __init__(self, data: bytes) -> None:
        """Parse `data`. Raises KernelError(EINVAL, E2BIG, EOPNOTSUPP)."""
        header = Header(data)
        self._data: bytes | None = data
        self._encode: Callable[[], bytes] | None = None
        self.strings = header.strings
        self.id = 0
        self.name = ""
        self._names: dict[int, str] = {0: ""}
        self._text_left = 16 * len(self.strings) + 4096
        self.types, self.odd = parse_types(header, self.string)

    @classmethod
    def derived(cls, base: "Btf", types: list[Type], encode: Callable[[], bytes]) -> "Btf":
        """`base` with other records; `encode` makes its blob when somebody asks for it."""
        made = cls.__new__(cls)
        made._data, made._encode = None, encode
        made.id, made.name = 0, ""
        made._names, made._text_left = base._names, base._text_left
        made.types = types
        made.odd = {i: reason for i, reason in base.odd.items() if types[i] is base.types[i]}
        return made

    @property
    def data(self) -> bytes:
        """The blob."""
        if self._data is None:
            assert self._encode is not None
            self._data = self._encode()
        return self._data

    @cached_property
    def strings(self) -> bytes:
        """The string section of the blob."""
        return Header(self.data).strings

    def string(self, offset: int) -> str:
        """Text at `offset` of the string section. Raises KernelError(EINVAL)."""
        known = self._names.get(offset)
        if known is None:
            if offset >= len(self.strings):
                raise KernelError(errno.EINVAL, f"Invalid name_offset:{offset}")
            end = self.strings.index(0, offset)
            self._text_left -= end - offset
            if self._text_left < 0:
                raise KernelError(errno.EINVAL, "BTF: strings lie on one another")
            known = self.strings[offset:end].decode("utf-8", "surrogateescape")
            self._names[offset] = known
        return known

    @property
    def string_offsets(self) -> dict[str, int]:
        """Offset of every text that was asked for so far, names of types among them."""
        return {text: offset for offset, text in self._names.items()}

    def __len__(self) -> int:
        """Number of types, void included."""
        return len(self.types)

    def type(self, type_id: int) -> Type:
        """The record `type_id`. Raises KernelError(EINVAL)."""
        if 0 <= type_id < len(self.types):
            return self.types[type_id]
        raise KernelError(errno.EINVAL, f"invalid BTF type id {type_id}")

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for type_id, record in enumerate(self.types):
            if record.name:
                found.setdefault(record.name, []).append(type_id)
        return found

    def find(self, name: str, *kinds: Kind) -> int | None:
        """Lowest id of a type called `name`, of one of `kinds` if given; None if there is none."""
        for type_id in self._by_name.get(name, ()):
            if not kinds or self.types[type_id].kind in kinds:
                return type_id
        return None

    def find_all(self, name: str, *kinds: Kind) -> list[int]:
        """All ids of types called `name`, of one of `kinds` if given."""
        ids = self._by_name.get(name, [])
        return [type_id for type_id in ids if not kinds or self.types[type_id].kind in kinds]

    @cached_property
    def _flavours(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for name, ids in self._by_name.items():
            found.setdefault(essential(name), []).extend(ids)
        return found

    def flavours(self, name: str) -> list[int]:
        """Ids of types called `name` or `name___anything`, ascending."""
        return sorted(self._flavours.get(name, ()))

    def skip(self, type_id: int) -> int:
        """Follow typedefs, qualifiers and type tags (`btf_type_skip_modifiers`)."""
        for _ in range(MAX_RESOLVE_DEPTH + 1):
            record = self.type(type_id)
            if not isinstance(record, Typedef | Modifier):
                return type_id
            type_id = record.type
        raise KernelError(errno.EINVAL, f"BTF type id {type_id}: typedefs in a loop")

    def resolve(self, type_id: int) -> Type:
        """The record behind typedefs, qualifiers and type tags."""
        return self.types[self.skip(type_id)]

    def size_of(self, type_id: int) -> int:
        """Bytes of a type; KernelError(EINVAL) for void, functions and forward declarations."""
        count = 1
        for _ in range(MAX_RESOLVE_DEPTH):
            record = self.type(type_id)
            match record:
                case Int() | Composite() | Enum() | Float() | DataSec():
                    return self._sized(count * record.size)
                case Pointer():
                    return self._sized(count * 8)
                case Array():
                    count *= record.count
                    type_id = record.type
                case Typedef() | Modifier() | Var():
                    type_id = record.type
                case _:
                    break
        raise KernelError(errno.EINVAL, f"BTF type id {type_id} has no size")

    @staticmethod
    def _sized(size: int) -> int:
        if size > 0xFFFFFFFF:
            raise KernelError(errno.EINVAL, "Array size overflows U32_MAX")
        return size

    def align_of(self, type_id: int) -> int:
        """Natural alignment in bytes (as libbpf's `btf__align_of`)."""
        return self._align(type_id, MAX_RESOLVE_DEPTH)

    def _align(self, type_id: int, depth: int) -> int:
        if not depth:
            raise KernelError(errno.EINVAL, f"BTF type id {type_id} is nested too deeply")
        record = self.type(type_id)
        match record:
            case Int() | Enum() | Float():
                return max(1, min(8, record.size))
            case Pointer():
                return 8
            case Typedef() | Modifier() | Array() | Var():
                return self._align(record.type, depth - 1)
            case Composite():
                align = 1
                for member in record.members:
                    align = max(align, self._align(member.type, depth - 1))
                return align
        raise KernelError(errno.EINVAL, f"BTF type id {type_id} has no alignment")

    def member(self, type_id: int, path: str) -> tuple[int, Member]:
        """Bit offset from the start of struct `type_id`, and record, of a member like `f_path.dentry`.

        Anonymous structs and unions on the way are seen through. Raises KernelError(ENOENT).
        """
        bits = 0
        found: Member | None = None
        for name in path.split("."):
            step = self._member(type_id, name, MAX_RESOLVE_DEPTH)
            if step is None:
                raise KernelError(errno.ENOENT, f"{self.resolve(type_id).name} has no member {path}")
            offset, found = step
            bits += offset
            type_id = found.type
        if found is None:
            raise KernelError(errno.ENOENT, "no member named")
        return bits, found

    def _member(self, type_id: int, name: str, depth: int) -> tuple[int, Member] | None:
        record = self.resolve(type_id)
        if not isinstance(record, Composite) or not depth:
            return None
        for member in record.members:
            if member.name == name:
                return member.bit_offset, member
            if not member.name:
                inner = self._member(member.type, name, depth - 1)
                if inner is not None:
                    return member.bit_offset + inner[0], inner[1]
        return None

    def func(self, name: str) -> tuple[int, Func] | None:
        """Id and record of function `name`, None if there is none."""
        type_id = self.find(name, Kind.FUNC)
        if type_id is None:
            return None
        record = self.types[type_id]
        return (type_id, record) if isinstance(record, Func) else None

    def is_void(self, type_id: int) -> bool:
        """Whether a type is void behind its qualifiers."""
        return isinstance(self.resolve(type_id), Void)
