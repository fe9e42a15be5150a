"""What a program is before it is loaded: the input of the verifier and of `load_prog`.

It carries what `union bpf_attr` carries for BPF_PROG_LOAD, with file descriptors already turned into
objects.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, Protocol

from engine.abi.bpf import AttachType, MapType, ProgType

if TYPE_CHECKING:
    from engine.isa import Insn

__all__ = ["FuncInfo", "FuncLinkage", "LineInfo", "MapLike", "ProgFlag", "ProgSpec"]


class ProgFlag(IntFlag):
    """`prog_flags` of BPF_PROG_LOAD."""

    STRICT_ALIGNMENT = 1 << 0
    ANY_ALIGNMENT = 1 << 1
    TEST_RND_HI32 = 1 << 2
    TEST_STATE_FREQ = 1 << 3
    SLEEPABLE = 1 << 4
    XDP_HAS_FRAGS = 1 << 5
    XDP_DEV_BOUND_ONLY = 1 << 6
    TEST_REG_INVARIANTS = 1 << 7


class FuncLinkage(IntEnum):
    """`enum btf_func_linkage`: a global function is verified apart from its callers."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class MapLike(Protocol):
    """What the verifier reads of a map; `engine.maps.Map` has it all."""

    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    id: int
    frozen: bool

    def lookup(self, key: bytes) -> bytes:
        """Value at `key`; asked for frozen read-only arrays only, whose content is a constant."""
        ...


@dataclass(frozen=True, slots=True)
class FuncInfo:
    """One subprogram: first instruction, BTF id of its FUNC, its name and linkage (`struct
    bpf_func_info`)."""

    insn_off: int
    type_id: int
    name: str
    linkage: FuncLinkage = FuncLinkage.STATIC


@dataclass(frozen=True, slots=True)
class LineInfo:
    """Source line that instruction `insn_off` begins (`struct bpf_line_info`, strings resolved)."""

    insn_off: int
    file_name: str
    text: str
    line: int
    column: int


@dataclass(slots=True)
class ProgSpec:
    """A program to load.

    `insns` has one entry for each 8-byte slot (LD_IMM64 is two). `maps` gives the map behind the `imm` of a
    LD_IMM64 whose `src` is MAP_FD or MAP_VALUE; `fd_array` the one behind MAP_IDX and MAP_IDX_VALUE. `btf`
    is the
    program's BTF (`engine.btf`), `kernel_btf` the modelled kernel's, which `attach_btf_id` refers to;
    `symbol` gives the address of a function of the modelled kernel.
    """

    type: ProgType
    insns: "Sequence[Insn]"
    license: str = ""
    name: str = ""
    maps: Mapping[int, MapLike] = field(default_factory=dict)
    fd_array: Sequence[MapLike] = ()
    btf: Any = None
    kernel_btf: Any = None
    func_info: Sequence[FuncInfo] = ()
    line_info: Sequence[LineInfo] = ()
    expected_attach_type: AttachType | None = None
    attach_btf_id: int = 0
    attach_prog: Any = None
    flags: int = 0
    kern_version: int = 0
    symbol: Callable[[str], int | None] = lambda _: None

    @property
    def gpl_compatible(self) -> bool:
        """Whether GPL-only helpers may be called (`license_is_gpl_compatible`, include/linux/license.h)."""
        return self.license in _GPL_COMPATIBLE


_GPL_COMPATIBLE = frozenset(
    ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")
)
