"""A tracer whose handlers count: how often each system call was entered and returned, and by whom last.

The counters live in a block at Env.PRIVATE: u64 entries[512], u64 returns[512].
"""

from engine.env import Env
from engine.jit.lang import atomic_add64, native, u64, ult
from engine.tracees import Handlers
from engine.tracees.ptrace import UserRegs

__all__ = ["BLOCK", "COUNTING", "RETURNS"]

RETURNS = 512 * 8
BLOCK = 2 * RETURNS


@native
def want_all(env: int, nr: int) -> int:
    """Every system call that can be counted, both ways."""
    return ult(nr, 512)


@native
def count_entry(env: int, regs: int) -> int:
    """One more entry; the return is wanted."""
    atomic_add64(u64(env + Env.PRIVATE) + u64(regs + UserRegs.ORIG_AX) * 8, 1)
    return 1


@native
def count_return(env: int, regs: int, retval: int) -> int:
    """One more return."""
    return atomic_add64(u64(env + Env.PRIVATE) + RETURNS + u64(regs + UserRegs.ORIG_AX) * 8, 1)


COUNTING = Handlers(want_all, count_entry, count_return)
