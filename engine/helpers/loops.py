"""Helpers that change where the program goes: bpf_loop and bpf_tail_call.

The JIT writes both out; these functions are what the interpreter uses, and the rules in one place.
"""

from engine.abi.bpf import FuncId
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import call, load_acquire64, native, u32, u64, ugt
from engine.maps.header import MapHdr

__all__ = ["MAX_LOOPS", "loop", "tail_call"]

MAX_LOOPS = 8 << 20
"""Most iterations of one bpf_loop (BPF_MAX_LOOPS)."""
_EINVAL = -22
_E2BIG = -7


@helper(
    Proto(
        FuncId.loop,
        "bpf_loop",
        Ret.INTEGER,
        (Arg.ANYTHING, Arg.PTR_TO_FUNC, Arg.PTR_TO_STACK_OR_NULL, Arg.ANYTHING),
    )
)
@native
def loop(env: int, nr: int, callback: int, ctx: int, flags: int) -> int:
    """Call callback(i, ctx) for i below the u32 `nr` until it returns 1; how often it was called."""
    times = nr & 0xFFFF_FFFF
    if flags != 0:
        return _EINVAL
    if ugt(times, MAX_LOOPS):
        return _E2BIG
    for i in range(times):
        if call(callback, i, ctx, 0, 0, 0, env) != 0:
            return i + 1
    return times


@helper(
    Proto(
        FuncId.tail_call,
        "bpf_tail_call",
        Ret.VOID,
        (Arg.PTR_TO_CTX, Arg.CONST_MAP_PTR, Arg.ANYTHING),
    )
)
@native
def tail_call(env: int, ctx: int, map: int, index: int) -> int:
    """Header of the program at `index`, or 0 where there is none and the caller goes on."""
    slot = index & 0xFFFF_FFFF
    if slot >= u32(map + MapHdr.MAX_ENTRIES):
        return 0
    return load_acquire64(u64(map + MapHdr.DATA) + slot * 8)
