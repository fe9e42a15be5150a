"""Ring buffer helpers (kernel/bpf/ringbuf.c)."""

from engine.abi.bpf import FuncId
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import native
from engine.maps.ring_ops import ring_commit, ring_output, ring_query, ring_reserve

__all__ = ["ringbuf_discard", "ringbuf_output", "ringbuf_query", "ringbuf_reserve", "ringbuf_submit"]


@helper(
    Proto(
        FuncId.ringbuf_output,
        "bpf_ringbuf_output",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.PTR_TO_MEM, Arg.CONST_SIZE_OR_ZERO, Arg.ANYTHING),
    )
)
@native
def ringbuf_output(env: int, map: int, data: int, size: int, flags: int) -> int:
    """Copy `data` into the ring as a record. -EINVAL, -EAGAIN."""
    return ring_output(env, map, data, size, flags)


@helper(
    Proto(
        FuncId.ringbuf_reserve,
        "bpf_ringbuf_reserve",
        Ret.PTR_TO_ALLOC_MEM_OR_NULL,
        (Arg.CONST_MAP_PTR, Arg.CONST_ALLOC_SIZE_OR_ZERO, Arg.ANYTHING),
    )
)
@native
def ringbuf_reserve(env: int, map: int, size: int, flags: int) -> int:
    """Room for a record that the program fills, then submits or discards; 0 when there is none."""
    return ring_reserve(env, map, size, flags)


@helper(
    Proto(
        FuncId.ringbuf_submit,
        "bpf_ringbuf_submit",
        Ret.VOID,
        (Arg.ALLOC_MEM_RELEASE, Arg.ANYTHING),
    )
)
@native
def ringbuf_submit(env: int, sample: int, flags: int) -> int:
    """Show a reserved record to readers."""
    return ring_commit(env, sample, flags, 0)


@helper(
    Proto(
        FuncId.ringbuf_discard,
        "bpf_ringbuf_discard",
        Ret.VOID,
        (Arg.ALLOC_MEM_RELEASE, Arg.ANYTHING),
    )
)
@native
def ringbuf_discard(env: int, sample: int, flags: int) -> int:
    """Let readers skip a reserved record."""
    return ring_commit(env, sample, flags, 1)


@helper(
    Proto(
        FuncId.ringbuf_query,
        "bpf_ringbuf_query",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.ANYTHING),
    )
)
@native
def ringbuf_query(env: int, map: int, what: int) -> int:
    """Bytes to read, size, consumer's or producer's position."""
    return ring_query(env, map, what)
