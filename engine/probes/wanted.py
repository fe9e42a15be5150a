"""What the tracer asks at each system call before it looks at registers: does any probe care?"""

from engine.env import Env
from engine.epoch import epoch_enter, epoch_leave
from engine.jit.lang import native, u64
from engine.probes.fire import site_of

__all__ = ["syscall_wanted"]


@native
def syscall_wanted(env: int, nr: int) -> int:
    """Whether entry or return of system call `nr` fires anything."""
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    site = site_of(env, nr)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return 1 if site != 0 else 0
