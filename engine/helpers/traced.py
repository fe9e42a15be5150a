"""What an fentry or fexit program asks about the call (kernel/trace/bpf_trace.c).

context  number of arguments (at -8) | arguments, a word each | result, at a return
"""

import errno

from engine.abi.bpf import AttachType, FuncId, ProgType
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import native, put64, u64, uge

__all__ = ["get_func_arg", "get_func_arg_cnt", "get_func_ret"]

_EINVAL = -errno.EINVAL
_TRACING = frozenset({ProgType.TRACING})
_CALLS = frozenset({AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT, AttachType.MODIFY_RETURN})
_RETURNS = frozenset({AttachType.TRACE_FEXIT, AttachType.MODIFY_RETURN})


@helper(
    Proto(
        FuncId.get_func_arg,
        "bpf_get_func_arg",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.ANYTHING, Arg.PTR_TO_LONG),
        progs=_TRACING,
        attach=_CALLS,
    )
)
@native
def get_func_arg(env: int, ctx: int, number: int, value: int) -> int:
    """Argument `number` (a u32) of the call. -EINVAL where there is none."""
    index = number & 0xFFFF_FFFF
    if uge(index, u64(ctx - 8)):
        return _EINVAL
    put64(value, u64(ctx + index * 8))
    return 0


@helper(
    Proto(
        FuncId.get_func_ret,
        "bpf_get_func_ret",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.PTR_TO_LONG),
        progs=_TRACING,
        attach=_RETURNS,
    )
)
@native
def get_func_ret(env: int, ctx: int, value: int) -> int:
    """The result of the call."""
    put64(value, u64(ctx + u64(ctx - 8) * 8))
    return 0


@helper(
    Proto(
        FuncId.get_func_arg_cnt,
        "bpf_get_func_arg_cnt",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX,),
        progs=_TRACING,
        attach=_CALLS,
    )
)
@native(inline=True)
def get_func_arg_cnt(env: int, ctx: int) -> int:
    """How many arguments the function takes."""
    return u64(ctx - 8)
