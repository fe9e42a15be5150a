"""Task storage helpers (kernel/bpf/bpf_task_storage.c)."""

import errno

from engine.abi.bpf import FuncId
from engine.helpers.access import read_kernel
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import local, native, u64
from engine.kernel.layout import Task
from engine.maps.task_storage import task_storage_find, task_storage_remove

__all__ = ["task_storage_delete", "task_storage_get"]

_F_CREATE = 1
_EINVAL = -errno.EINVAL


@helper(
    Proto(
        FuncId.task_storage_get,
        "bpf_task_storage_get",
        Ret.PTR_TO_MAP_VALUE_OR_NULL,
        (Arg.CONST_MAP_PTR, Arg.PTR_TO_BTF_ID_OR_NULL, Arg.PTR_TO_MAP_VALUE_OR_NULL, Arg.ANYTHING),
        btf_id="task_struct",
    )
)
@native
def task_storage_get(env: int, map: int, task: int, value: int, flags: int) -> int:
    """A thread's value, made from `value` where there is none and `flags` says CREATE; 0 without."""
    start = local(8)
    if flags & ~_F_CREATE or read_kernel(env, start, task + Task.START_TIME, 8) < 0:
        return 0
    return task_storage_find(env, map, task, u64(start), value, flags)


@helper(
    Proto(
        FuncId.task_storage_delete,
        "bpf_task_storage_delete",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.PTR_TO_BTF_ID_OR_NULL),
        btf_id="task_struct",
    )
)
@native
def task_storage_delete(env: int, map: int, task: int) -> int:
    """Forget a thread's value. -ENOENT; -EINVAL where `task` is no thread."""
    start = local(8)
    if read_kernel(env, start, task + Task.START_TIME, 8) < 0:
        return _EINVAL
    return task_storage_remove(env, map, task, u64(start))
