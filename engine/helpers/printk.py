"""bpf_trace_printk and bpf_trace_vprintk: a text into the trace (kernel/trace/bpf_trace.c)."""

import errno

from engine.abi.bpf import FuncId
from engine.env import Ctl, Env
from engine.helpers.format import MAX_BPRINTF_BUF, bprintf
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import call, local, native, put64, u64, ugt

__all__ = ["trace_printk", "trace_vprintk"]

_EINVAL = -errno.EINVAL
_MAX_VARARGS = 12


@native
def _print(env: int, fmt: int, fmt_size: int, args: int, count: int) -> int:
    """Format and hand the text to whoever prints for this machine; its length, or an error."""
    text = local(1024)
    length = bprintf(env, text, MAX_BPRINTF_BUF, fmt, fmt_size, args, count)
    ctl = u64(env + Env.CTL)
    if length < 0 or ctl == 0 or u64(ctl + Ctl.PRINTK_FN) == 0:
        return length
    shown = length if length < MAX_BPRINTF_BUF else MAX_BPRINTF_BUF - 1
    call(u64(ctl + Ctl.PRINTK_FN), u64(ctl + Ctl.PRINTK_PRIV), env, text, shown)
    return length


@helper(
    Proto(
        FuncId.trace_printk,
        "bpf_trace_printk",
        Ret.INTEGER,
        (Arg.PTR_TO_MEM, Arg.CONST_SIZE, Arg.DONTCARE, Arg.DONTCARE, Arg.DONTCARE),
        gpl_only=True,
    )
)
@native
def trace_printk(env: int, fmt: int, fmt_size: int, first: int, second: int, third: int) -> int:
    """Print a format with up to three arguments. -EINVAL, -ENOSPC."""
    args = local(24)
    put64(args, first)
    put64(args + 8, second)
    put64(args + 16, third)
    return _print(env, fmt, fmt_size, args, 3)


@helper(
    Proto(
        FuncId.trace_vprintk,
        "bpf_trace_vprintk",
        Ret.INTEGER,
        (Arg.PTR_TO_MEM, Arg.CONST_SIZE, Arg.PTR_TO_MEM_OR_NULL, Arg.CONST_SIZE_OR_ZERO),
        gpl_only=True,
    )
)
@native
def trace_vprintk(env: int, fmt: int, fmt_size: int, args: int, args_size: int) -> int:
    """Print a format with up to twelve arguments in an array of u64. -EINVAL, -ENOSPC."""
    if args_size & 7 or ugt(args_size, _MAX_VARARGS * 8) or (args_size != 0 and args == 0):
        return _EINVAL
    return _print(env, fmt, fmt_size, args, args_size >> 3)
