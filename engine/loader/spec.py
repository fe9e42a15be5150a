"""What is in an object file, before any of it is created: `ObjectSpec` and its parts.

Nothing here depends on a machine. Instructions are kept as bytes, and what depends on the machine (addresses
of maps, kernel types, externs) is a list of `Reloc`s and `CoreRelo`s beside them.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from engine.abi.bpf import MapType
from engine.btf import Btf
from engine.btf.ext import CoreRelo, ExtLine
from engine.loader.secname import SecName
from engine.progspec import FuncInfo

__all__ = ["Extern", "ExternKind", "MapDef", "ObjectSpec", "ProgDef", "Reloc", "RelocKind"]


@dataclass(slots=True)
class MapDef:
    """A map to create. `name` is whole; the kernel keeps its first 15 bytes.

    `content` is what element 0 of an array starts with (.data, .rodata), None for zeros. `inner` is the
    template of a map of maps, `slots` its elements by index (names of maps, or of programs for a PROG_ARRAY).
    `section` is the ELF section of a global data map, empty for others.
    """

    name: str
    type: MapType | int
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    numa_node: int = 0
    map_extra: int = 0
    pin_by_name: bool = False
    btf_key_type_id: int = 0
    btf_value_type_id: int = 0
    content: bytes | None = None
    frozen: bool = False
    inner: "MapDef | None" = None
    slots: dict[int, str] = field(default_factory=dict)
    section: str = ""


class ExternKind(Enum):
    """Where the value of an extern comes from."""

    KCONFIG = auto()
    KSYM_ADDRESS = auto()
    KSYM_VARIABLE = auto()
    KFUNC = auto()


@dataclass(slots=True)
class Extern:
    """An undefined symbol: a kernel configuration value, or a kernel symbol.

    `type_id` is its type in the object's BTF (0: none); `offset` its place in the map `.kconfig`, in bytes.
    """

    name: str
    kind: ExternKind
    type_id: int
    weak: bool
    offset: int = 0
    size: int = 0


class RelocKind(Enum):
    """What LD_IMM64 or CALL at an instruction refers to."""

    MAP_FD = auto()
    MAP_VALUE = auto()
    EXTERN = auto()


@dataclass(frozen=True, slots=True)
class Reloc:
    """Instruction `insn` of the linked program loads map or extern `name`; `offset` counts into its value."""

    insn: int
    kind: RelocKind
    name: str
    offset: int = 0


@dataclass(slots=True)
class ProgDef:
    """A program, linked: its subprograms follow it. Instruction numbers count 8-byte slots from its start."""

    name: str
    secname: SecName
    insns: bytes
    relocs: list[Reloc] = field(default_factory=list)
    core: list[CoreRelo] = field(default_factory=list)
    func_info: list[FuncInfo] = field(default_factory=list)
    line_info: list[ExtLine] = field(default_factory=list)


@dataclass(slots=True)
class ObjectSpec:
    """A parsed object. Maps and programs are in the order of the file.

    `types` is what the compiler knew, for CO-RE and externs; `btf` the same types as a kernel takes them,
    None if it would not.
    """

    maps: dict[str, MapDef] = field(default_factory=dict)
    progs: dict[str, ProgDef] = field(default_factory=dict)
    externs: dict[str, Extern] = field(default_factory=dict)
    license: str = ""
    version: int = 0
    types: Btf | None = None
    btf: Btf | None = None
