"""The kinds of BTF types (`include/uapi/linux/btf.h`) as plain records.

    struct btf_type:  name_off u32 | info u32 | size or type u32
    info:             kind_flag 31 | 30..29 | kind 28..24 | 23..16 | vlen 15..0

Every record has `kind` and `name`; a reference to another type is its id in the same BTF. Records are
shared and never changed once they are in a `Btf`.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar

__all__ = [
    "Array",
    "Composite",
    "DataSec",
    "DeclTag",
    "Encoding",
    "Enum",
    "Enumerator",
    "Float",
    "Func",
    "FuncProto",
    "Fwd",
    "Int",
    "Kind",
    "Linkage",
    "Member",
    "Modifier",
    "Param",
    "Pointer",
    "SecVar",
    "Type",
    "Typedef",
    "Var",
    "Void",
]


class Kind(IntEnum):
    """`BTF_KIND_*`; 0 is void, which no record of a BTF blob has."""

    UNKN = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


class Encoding(IntFlag):
    """`BTF_INT_*`: how an integer is to be printed."""

    NONE = 0
    SIGNED = 1
    CHAR = 2
    BOOL = 4


class Linkage(IntEnum):
    """Linkage of a FUNC (`enum btf_func_linkage`) and of a VAR."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


@dataclass(slots=True)
class Void:
    """Type id 0."""

    kind: ClassVar[Kind] = Kind.UNKN
    name: ClassVar[str] = ""


@dataclass(slots=True)
class Int:
    """An integer of `bits` bits at bit `offset` of `size` bytes."""

    name: str
    size: int
    encoding: Encoding = Encoding.NONE
    offset: int = 0
    bits: int = 0
    kind: ClassVar[Kind] = Kind.INT


@dataclass(slots=True)
class Pointer:
    """A pointer to `type`."""

    type: int
    kind: ClassVar[Kind] = Kind.PTR
    name: ClassVar[str] = ""


@dataclass(slots=True)
class Array:
    """`count` elements of `type`."""

    type: int
    index: int
    count: int
    kind: ClassVar[Kind] = Kind.ARRAY
    name: ClassVar[str] = ""


@dataclass(slots=True)
class Member:
    """A field: `bit_offset` from the start of its struct; `bits` is 0 unless it is a bit field."""

    name: str
    type: int
    bit_offset: int
    bits: int = 0


@dataclass(slots=True)
class Composite:
    """A struct or a union. `flag` says that members carry their bit field sizes (kind_flag)."""

    kind: Kind
    name: str
    size: int
    members: tuple[Member, ...] = ()
    flag: bool = False


@dataclass(slots=True)
class Enumerator:
    """One value of an enum."""

    name: str
    value: int


@dataclass(slots=True)
class Enum:
    """ENUM or ENUM64 with values in their own sign."""

    kind: Kind
    name: str
    size: int
    values: tuple[Enumerator, ...] = ()
    signed: bool = False


@dataclass(slots=True)
class Fwd:
    """A forward declaration of a struct, or of a union."""

    name: str
    union: bool = False
    kind: ClassVar[Kind] = Kind.FWD


@dataclass(slots=True)
class Typedef:
    """`typedef type name`."""

    name: str
    type: int
    kind: ClassVar[Kind] = Kind.TYPEDEF


@dataclass(slots=True)
class Modifier:
    """VOLATILE, CONST, RESTRICT, or a TYPE_TAG called `name`."""

    kind: Kind
    type: int
    name: str = ""


@dataclass(slots=True)
class Func:
    """A function whose prototype is `type`."""

    name: str
    type: int
    linkage: int = Linkage.STATIC
    kind: ClassVar[Kind] = Kind.FUNC


@dataclass(slots=True)
class Param:
    """A parameter; without name and type at the end it means a variable argument list."""

    name: str
    type: int


@dataclass(slots=True)
class FuncProto:
    """A prototype that returns `type`."""

    type: int
    params: tuple[Param, ...] = ()
    kind: ClassVar[Kind] = Kind.FUNC_PROTO
    name: ClassVar[str] = ""


@dataclass(slots=True)
class Var:
    """A global variable."""

    name: str
    type: int
    linkage: int = Linkage.STATIC
    kind: ClassVar[Kind] = Kind.VAR


@dataclass(slots=True)
class SecVar:
    """Where variable `type` lies in its section, in bytes."""

    type: int
    offset: int
    size: int


@dataclass(slots=True)
class DataSec:
    """A section of variables."""

    name: str
    size: int
    vars: tuple[SecVar, ...] = ()
    kind: ClassVar[Kind] = Kind.DATASEC


@dataclass(slots=True)
class Float:
    """A floating-point number."""

    name: str
    size: int
    kind: ClassVar[Kind] = Kind.FLOAT


@dataclass(slots=True)
class DeclTag:
    """Attribute `name` of declaration `type`, or of its member or parameter `component` (-1: none)."""

    name: str
    type: int
    component: int = -1
    kind: ClassVar[Kind] = Kind.DECL_TAG


Type = (
    Void
    | Int
    | Pointer
    | Array
    | Composite
    | Enum
    | Fwd
    | Typedef
    | Modifier
    | Func
    | FuncProto
    | Var
    | DataSec
    | Float
    | DeclTag
)
