"""What the tracer asks at each system call before it looks at registers: does any probe care?"""

from engine.env import Ctl, Env
from engine.epoch import epoch_enter, epoch_leave
from engine.jit.lang import load_acquire64, native, u64, ult

__all__ = ["syscall_wanted"]

_ENTRY_AND_RETURN = 3


@native
def syscall_wanted(env: int, nr: int) -> int:
    """Bits of `tracees.state.Wanted` for system call `nr`: all or none (`syscall_exit` sorts out returns)."""
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    table = load_acquire64(u64(env + Env.CTL) + Ctl.ENTRY_SITES)
    site = 0
    if table != 0:
        rows = u64(table)
        site = u64(table + 8 + (nr if ult(nr, rows) else rows) * 8)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return _ENTRY_AND_RETURN if site != 0 else 0
