"""Call stacks: bpf_get_stackid, bpf_get_stack (kernel/bpf/stackmap.c).

The kernel stack of a hit is the probed function and the modelled function that called it. The user stack is
the thread's instruction pointer and what its frame pointers lead to, as perf_callchain_user walks them.
"""

import errno

from engine.abi.bpf import FuncId
from engine.env import Env
from engine.helpers.access import TASK_SIZE, read_kernel, read_user
from engine.helpers.progtypes import TRACING
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import local, memcpy, memset, native, put64, u32, u64, udiv, uge, ugt, urem
from engine.kernel.layout import ALIAS, Slot
from engine.maps.header import MapHdr
from engine.maps.stack_ops import StackFlag, stack_id
from engine.probes.regs import Reg

__all__ = ["get_stack", "get_stackid"]

_MAX_STACK = 127
_EINVAL = -errno.EINVAL
_EFAULT = -errno.EFAULT
_TEXT_START = 0xFFFF_FFFF_8100_0000
_TEXT_END = 0xFFFF_FFFF_A000_0000
_ID_FLAGS = StackFlag.SKIP_MASK | StackFlag.USER_STACK | StackFlag.FAST_STACK_CMP | StackFlag.REUSE_STACKID
_STACK_FLAGS = StackFlag.SKIP_MASK | StackFlag.USER_STACK | StackFlag.USER_BUILD_ID


@native
def _is_text(address: int) -> int:
    """Whether an address is in the modelled kernel's functions."""
    return uge(address, _TEXT_START) and not uge(address, _TEXT_END)


@native
def _kernel_stack(env: int, ips: int, limit: int) -> int:
    """Fill `ips` with the kernel's addresses; how many."""
    regs = u64(env + Env.REGS)
    if regs == 0 or limit == 0:
        return 0
    put64(ips, u64(regs + Reg.IP))
    word = local(8)
    if limit > 1 and read_kernel(env, word, u64(regs + Reg.SP), 8) == 0 and _is_text(u64(word)):
        put64(ips + 8, u64(word))
        return 2
    return 1


@native
def _user_stack(env: int, ips: int, limit: int) -> int:
    """Fill `ips` with the thread's addresses, along its frame pointers; how many."""
    task = u64(env + Env.TASK)
    if task == 0 or limit == 0:
        return 0
    regs = task - ALIAS + Slot.REGS
    put64(ips, u64(regs + Reg.IP))
    frame = u64(regs + Reg.BP)
    pair = local(16)
    count = 1
    while count < limit and frame & 7 == 0 and read_user(env, pair, frame, 16) == 0:
        if u64(pair + 8) == 0 or uge(u64(pair + 8), TASK_SIZE):
            break
        put64(ips + count * 8, u64(pair + 8))
        count += 1
        if not ugt(u64(pair), frame):
            break
        frame = u64(pair)
    return count


@native
def _stack(env: int, ips: int, flags: int, limit: int) -> int:
    """A stack without the addresses to skip; how many are left. -EFAULT where none is."""
    skip = flags & StackFlag.SKIP_MASK
    most = skip + limit if skip + limit < _MAX_STACK else _MAX_STACK
    if flags & StackFlag.USER_STACK:
        count = _user_stack(env, ips, most)
    else:
        count = _kernel_stack(env, ips, most)
    if count <= skip:
        return _EFAULT
    for i in range(count - skip):
        put64(ips + i * 8, u64(ips + (i + skip) * 8))
    return count - skip


@helper(
    Proto(
        FuncId.get_stackid,
        "bpf_get_stackid",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.CONST_MAP_PTR, Arg.ANYTHING),
        gpl_only=True,
        progs=TRACING,
    )
)
@native
def get_stackid(env: int, ctx: int, map: int, flags: int) -> int:
    """Put the current stack into a map; its id. -EINVAL (flags), -EFAULT (no stack), -EEXIST, -ENOMEM."""
    if flags & ~_ID_FLAGS:
        return _EINVAL
    ips = local(1024)
    count = _stack(env, ips, flags, u32(map + MapHdr.VALUE_SIZE) >> 3)
    return count if count < 0 else stack_id(map, ips, count, flags)


@helper(
    Proto(
        FuncId.get_stack,
        "bpf_get_stack",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.UNINIT_MEM, Arg.CONST_SIZE_OR_ZERO, Arg.ANYTHING),
        gpl_only=True,
        progs=TRACING,
    )
)
@native
def get_stack(env: int, ctx: int, buffer: int, size: int, flags: int) -> int:
    """Write the current stack's addresses; bytes written, zeros after them. -EINVAL, -EFAULT."""
    if flags & ~_STACK_FLAGS or flags & StackFlag.USER_BUILD_ID or urem(size, 8) != 0:
        memset(buffer, 0, size)
        return _EINVAL
    ips = local(1024)
    count = _stack(env, ips, flags, udiv(size, 8))
    if count < 0:
        memset(buffer, 0, size)
        return count
    memcpy(buffer, ips, count * 8)
    memset(buffer + count * 8, 0, size - count * 8)
    return count * 8
