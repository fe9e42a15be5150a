"""Spin locks in map values: where they are, one at a time, the same one unlocked (`process_spin_lock`)."""

from engine.progspec import MapLike
from engine.verifier.env import Env
from engine.verifier.mapinfo import LOCK, special_fields
from engine.verifier.regs import Reg

__all__ = ["lock_arg"]


def lock_arg(env: Env, reg: Reg, regno: int, lock: bool) -> None:
    """Check the argument of bpf_spin_lock or bpf_spin_unlock and note the lock as taken or given back."""
    if reg.b.m:
        env.invalid(f"R{regno} doesn't have constant offset. {LOCK} has to be at the constant offset")
    target: MapLike = reg.map
    if getattr(target, "btf", None) is None:
        env.invalid(f"map '{target.name}' has to have BTF in order to use {LOCK}")
    places = [off for name, off, _ in special_fields(target) if name == LOCK]
    if not places:
        env.invalid(f"map '{target.name}' has no valid {LOCK}")
    off = reg.off + reg.b.smin
    if off != places[0]:
        env.invalid(f"off {off} doesn't point to 'struct {LOCK}' that is at {places[0]}")
    state = env.state
    if lock:
        if state.active_lock is not None:
            env.invalid("Locking two bpf_spin_locks are not allowed")
        state.active_lock = (target, reg.id)
        return
    if state.active_lock is None:
        env.invalid("bpf_spin_unlock without taking a lock")
    if state.active_lock[0] is not target or state.active_lock[1] != reg.id:
        env.invalid("bpf_spin_unlock of different lock")
    state.active_lock = None
