"""bpf_perf_event_output: a record into the perf event of a CPU (kernel/trace/bpf_trace.c)."""

import errno

from engine.abi.bpf import FuncId
from engine.env import Env
from engine.helpers.progtypes import NETWORKING, TRACING
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import load_acquire64, native, u32, u64
from engine.maps.header import MapHdr
from engine.perf.ring import perf_output

__all__ = ["perf_event_output"]

_INDEX_MASK = 0xFFFF_FFFF
_CURRENT_CPU = 0xFFFF_FFFF
_EINVAL = -errno.EINVAL
_E2BIG = -errno.E2BIG
_ENOENT = -errno.ENOENT


@helper(
    Proto(
        FuncId.perf_event_output,
        "bpf_perf_event_output",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.PTR_TO_MEM, Arg.CONST_SIZE_OR_ZERO),
        gpl_only=True,
        progs=TRACING | NETWORKING,
    )
)
@native
def perf_event_output(env: int, ctx: int, map: int, flags: int, data: int, size: int) -> int:
    """Write `data` to the event at index `flags`, or of this CPU.

    -EINVAL (flags), -E2BIG (index), -ENOENT (no event there), -EOPNOTSUPP (it is another CPU's), -ENOSPC.
    """
    if flags & ~_INDEX_MASK:
        return _EINVAL
    index = u32(env + Env.CPU) if flags == _CURRENT_CPU else flags
    if index >= u32(map + MapHdr.MAX_ENTRIES):
        return _E2BIG
    event = load_acquire64(u64(map + MapHdr.DATA) + index * 8)
    if event == 0:
        return _ENOENT
    return perf_output(env, event, data, size)
