"""Run locks: one spin lock per modelled CPU, held while handlers and programs run on it.

It makes "this CPU's" map values and rings private to one runner at a time, as disabled preemption does in
the kernel. Reentrant use is the caller's error: a handler runs with the lock of `Env.CPU` held.
"""

from engine.env import RUN_LOCK_STRIDE, Ctl, Env
from engine.jit.lang import native, u32, u64
from engine.spin import spin_lock, spin_unlock

__all__ = ["run_lock", "run_unlock"]


@native
def run_lock(env: int) -> int:
    """Take the run lock of the environment's CPU."""
    return spin_lock(u64(u64(env + Env.CTL) + Ctl.RUN_LOCKS) + u32(env + Env.CPU) * RUN_LOCK_STRIDE)


@native(inline=True)
def run_unlock(env: int) -> int:
    """Release the run lock of the environment's CPU."""
    return spin_unlock(u64(u64(env + Env.CTL) + Ctl.RUN_LOCKS) + u32(env + Env.CPU) * RUN_LOCK_STRIDE)
