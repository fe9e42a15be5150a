"""The probe_read family (kernel/trace/bpf_trace.c): what cannot be read becomes zeros and an error."""

from engine.abi.bpf import FuncId, ProgType
from engine.helpers.access import (
    TASK_SIZE,
    host_of,
    read_kernel,
    read_kernel_string,
    read_user,
    read_user_string,
)
from engine.helpers.progtypes import TRACING
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import memset, native, ult

__all__ = [
    "copy_from_user",
    "probe_read",
    "probe_read_kernel",
    "probe_read_kernel_str",
    "probe_read_str",
    "probe_read_user",
    "probe_read_user_str",
]

_ARGS = (Arg.UNINIT_MEM, Arg.CONST_SIZE_OR_ZERO, Arg.ANYTHING)
_LEGACY = TRACING | {ProgType.SYSCALL}
"""Types that may call the helpers which guess what an address is of."""


@native
def _or_zeros(to: int, size: int, result: int) -> int:
    """`result`; zeros in the destination when it is an error."""
    if result < 0:
        memset(to, 0, size)
    return result


@native
def _is_user(env: int, address: int) -> int:
    """Whether the untyped helpers take an address for one of user memory."""
    return ult(address, TASK_SIZE) and host_of(env, address, 1) < 0


@helper(Proto(FuncId.probe_read_user, "bpf_probe_read_user", Ret.INTEGER, _ARGS, gpl_only=True))
@native
def probe_read_user(env: int, to: int, size: int, address: int) -> int:
    """Copy user memory. -EFAULT."""
    return _or_zeros(to, size, read_user(env, to, address, size))


@helper(Proto(FuncId.probe_read_kernel, "bpf_probe_read_kernel", Ret.INTEGER, _ARGS, gpl_only=True))
@native
def probe_read_kernel(env: int, to: int, size: int, address: int) -> int:
    """Copy kernel memory. -EFAULT, -ERANGE (no kernel address)."""
    return _or_zeros(to, size, read_kernel(env, to, address, size))


@helper(Proto(FuncId.probe_read_user_str, "bpf_probe_read_user_str", Ret.INTEGER, _ARGS, gpl_only=True))
@native
def probe_read_user_str(env: int, to: int, size: int, address: int) -> int:
    """Copy a string of user memory; its length with the NUL. -EFAULT."""
    return _or_zeros(to, size, read_user_string(env, to, address, size))


@helper(Proto(FuncId.probe_read_kernel_str, "bpf_probe_read_kernel_str", Ret.INTEGER, _ARGS, gpl_only=True))
@native
def probe_read_kernel_str(env: int, to: int, size: int, address: int) -> int:
    """Copy a string of kernel memory; its length with the NUL. -EFAULT, -ERANGE (no kernel address)."""
    return _or_zeros(to, size, read_kernel_string(env, to, address, size))


@helper(Proto(FuncId.probe_read, "bpf_probe_read", Ret.INTEGER, _ARGS, gpl_only=True, progs=_LEGACY))
@native
def probe_read(env: int, to: int, size: int, address: int) -> int:
    """Copy user or kernel memory, whichever the address is of. -EFAULT."""
    if _is_user(env, address):
        return probe_read_user(env, to, size, address)
    return probe_read_kernel(env, to, size, address)


@helper(Proto(FuncId.probe_read_str, "bpf_probe_read_str", Ret.INTEGER, _ARGS, gpl_only=True, progs=_LEGACY))
@native
def probe_read_str(env: int, to: int, size: int, address: int) -> int:
    """Copy a string of user or kernel memory, whichever the address is of. -EFAULT."""
    if _is_user(env, address):
        return probe_read_user_str(env, to, size, address)
    return probe_read_kernel_str(env, to, size, address)


@helper(Proto(FuncId.copy_from_user, "bpf_copy_from_user", Ret.INTEGER, _ARGS))
@native
def copy_from_user(env: int, to: int, size: int, address: int) -> int:
    """As probe_read_user, for sleepable programs. -EFAULT."""
    return _or_zeros(to, size, read_user(env, to, address, size))
