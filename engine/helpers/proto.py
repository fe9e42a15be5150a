"""What a helper takes and returns (`struct bpf_func_proto`, include/linux/bpf.h).

One row per helper: verifier, JIT and interpreter read the same one.
"""

from dataclasses import dataclass
from enum import Enum, auto

from engine.abi.bpf import AttachType, FuncId, ProgType

__all__ = ["Arg", "Proto", "Ret"]


class Arg(Enum):
    """`enum bpf_arg_type`, the kinds that the helpers of this engine use."""

    DONTCARE = auto()
    CONST_MAP_PTR = auto()
    PTR_TO_MAP_KEY = auto()
    PTR_TO_MAP_VALUE = auto()
    PTR_TO_MAP_VALUE_OR_NULL = auto()
    UNINIT_MAP_VALUE = auto()
    PTR_TO_MEM = auto()
    PTR_TO_MEM_OR_NULL = auto()
    UNINIT_MEM = auto()
    WRITTEN_MEM = auto()
    """PTR_TO_MEM that the helper reads and writes (MEM_WRITE)."""
    CONST_SIZE = auto()
    CONST_SIZE_OR_ZERO = auto()
    CONST_ALLOC_SIZE_OR_ZERO = auto()
    PTR_TO_CTX = auto()
    PTR_TO_CTX_OR_NULL = auto()
    ANYTHING = auto()
    PTR_TO_SPIN_LOCK = auto()
    PTR_TO_TIMER = auto()
    PTR_TO_ALLOC_MEM = auto()
    PTR_TO_FUNC = auto()
    PTR_TO_STACK_OR_NULL = auto()
    PTR_TO_CONST_STR = auto()
    PTR_TO_LONG = auto()
    PTR_TO_INT = auto()
    PTR_TO_BTF_ID_OR_NULL = auto()
    PTR_TO_DYNPTR = auto()
    UNINIT_DYNPTR_LOCAL = auto()
    UNINIT_DYNPTR_RINGBUF = auto()
    DYNPTR_RINGBUF_RELEASE = auto()
    ALLOC_MEM_RELEASE = auto()


class Ret(Enum):
    """`enum bpf_return_type`."""

    INTEGER = auto()
    VOID = auto()
    PTR_TO_MAP_VALUE_OR_NULL = auto()
    PTR_TO_ALLOC_MEM_OR_NULL = auto()
    PTR_TO_DYNPTR_MEM_OR_NULL = auto()
    PTR_TO_BTF_ID = auto()
    PTR_TO_BTF_ID_OR_NULL = auto()


@dataclass(frozen=True, slots=True)
class Proto:
    """Prototype of helper `id`, called `name` (with the bpf_ prefix).

    `progs` is the set of program types that may call it; None means all of them.
    `attach` narrows TRACING programs to those that are attached so.
    `pkt_access`: a pointer to packet data may be passed for memory, a key or a value.
    `btf_id` names the struct that a PTR_TO_BTF_ID argument or result points to.
    """

    id: FuncId
    name: str
    ret: Ret
    args: tuple[Arg, ...] = ()
    gpl_only: bool = False
    progs: frozenset[ProgType] | None = None
    btf_id: str | None = None
    attach: frozenset[AttachType] | None = None
    pkt_access: bool = False
