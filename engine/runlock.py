"""Run locks: one spin lock per modelled CPU, held while handlers and programs run on it.

It makes "this CPU's" map values and rings private to one runner at a time, as disabled preemption does in
the kernel. Reentrant use is the caller's error: a handler runs with the lock of `Env.CPU` held.
"""

from engine.env import RUN_LOCK_STRIDE, Ctl, Env
from engine.jit.lang import c_call, cas32, native, pause, store_release32, u32, u64

__all__ = ["run_lock", "run_unlock"]

_SPINS = 64


@native
def run_lock(env: int) -> int:
    """Take the run lock of the environment's CPU."""
    lock = u64(u64(env + Env.CTL) + Ctl.RUN_LOCKS) + u32(env + Env.CPU) * RUN_LOCK_STRIDE
    spins = 0
    while cas32(lock, 0, 1) != 0:
        spins += 1
        if spins & (_SPINS - 1):
            pause()
        else:
            c_call("sched_yield")
    return 0


@native(inline=True)
def run_unlock(env: int) -> int:
    """Release the run lock of the environment's CPU."""
    store_release32(u64(u64(env + Env.CTL) + Ctl.RUN_LOCKS) + u32(env + Env.CPU) * RUN_LOCK_STRIDE, 0)
    return 0
