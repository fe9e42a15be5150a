"""Helpers that tell who is running (kernel/bpf/helpers.c, kernel/trace/bpf_trace.c)."""

from engine.abi.bpf import FuncId
from engine.env import Env
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import memcpy, memset, native, put8, u32, u64

__all__ = [
    "get_current_comm",
    "get_current_pid_tgid",
    "get_current_task",
    "get_current_task_btf",
    "get_current_uid_gid",
]

_COMM_LEN = 16


@helper(Proto(FuncId.get_current_pid_tgid, "bpf_get_current_pid_tgid", Ret.INTEGER))
@native(inline=True)
def get_current_pid_tgid(env: int) -> int:
    """tgid << 32 | pid, as the kernel calls them: process id and thread id."""
    return u32(env + Env.TGID) << 32 | u32(env + Env.TID)


@helper(Proto(FuncId.get_current_uid_gid, "bpf_get_current_uid_gid", Ret.INTEGER))
@native(inline=True)
def get_current_uid_gid(env: int) -> int:
    """gid << 32 | uid."""
    return u32(env + Env.GID) << 32 | u32(env + Env.UID)


@helper(Proto(FuncId.get_current_comm, "bpf_get_current_comm", Ret.INTEGER, (Arg.UNINIT_MEM, Arg.CONST_SIZE)))
@native
def get_current_comm(env: int, buffer: int, size: int) -> int:
    """Copy the thread's name, cut to `size` with its NUL, and fill the rest with zeros (strscpy_pad)."""
    length = size if size < _COMM_LEN else _COMM_LEN
    memcpy(buffer, env + Env.COMM, length)
    put8(buffer + length - 1, 0)
    memset(buffer + length, 0, size - length)
    return 0


@helper(Proto(FuncId.get_current_task, "bpf_get_current_task", Ret.INTEGER, gpl_only=True))
@native(inline=True)
def get_current_task(env: int) -> int:
    """Address of the current task_struct, as a number."""
    return u64(env + Env.TASK)


@helper(
    Proto(
        FuncId.get_current_task_btf,
        "bpf_get_current_task_btf",
        Ret.PTR_TO_BTF_ID,
        gpl_only=True,
        btf_id="task_struct",
    )
)
@native(inline=True)
def get_current_task_btf(env: int) -> int:
    """The current task_struct, as a typed pointer."""
    return u64(env + Env.TASK)
