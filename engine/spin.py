"""Spin locks in shared memory: a u32 that is 0 when free, as `struct bpf_spin_lock`."""

from engine.jit.lang import c_call, cas32, native, pause, store_release32, u32

__all__ = ["relax", "spin_lock", "spin_unlock"]

_SPINS = 127
"""Tries between two rests: the holder may have been preempted."""
_YIELDS = 1023
"""Tries after which a rest is a sleep: sched_yield(2) of a real-time thread, or beside a holder of policy
SCHED_IDLE, does not bring the holder back."""
_SLEEP_US = 20


@native
def relax(spins: int) -> int:
    """Wait a little before try number `spins`."""
    if spins & _SPINS:
        pause()
    elif spins > _YIELDS:
        c_call("usleep", _SLEEP_US)
    else:
        c_call("sched_yield")
    return 0


@native
def _spin_lock_slow(lock: int) -> int:
    """Wait for a lock that was found taken."""
    spins = 0
    while u32(lock) != 0 or cas32(lock, 0, 1) != 0:
        spins += 1
        relax(spins)
    return 0


@native(inline=True)
def spin_lock(lock: int) -> int:
    """Take the u32 at `lock`, which is held for few instructions, but for run locks."""
    if cas32(lock, 0, 1) != 0:
        _spin_lock_slow(lock)
    return 0


@native(inline=True)
def spin_unlock(lock: int) -> int:
    """Release the u32 at `lock`."""
    store_release32(lock, 0)
    return 0
