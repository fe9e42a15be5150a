"""Runs a program many times in an environment of its own (`bpf_test_run`)."""

import ctypes
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.clock import monotonic
from engine.env import Env, poke32, poke64
from engine.epoch import epoch_enter, epoch_leave
from engine.errors import KernelError
from engine.interruption import check
from engine.jit.lang import native, put64, u64
from engine.progs import Prog, run_prog
from engine.runlock import run_lock, run_unlock
from engine.testrun.request import RunRequest

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["run"]

_SLICE_NS = 5_000_000
"""About how long programs run before anybody may interrupt them."""
_MAX_TIMES = 1 << 16
_U32_MAX = 0xFFFF_FFFF


@native
def run_repeatedly(env: int, ctx: int, prog: int, times: int, duration: int) -> int:
    """Run a program so often; its last result. The nanoseconds of all runs go to the u64 at `duration`."""
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    run_lock(env)
    start = monotonic()
    result = 0
    for _ in range(times):
        result = run_prog(env, ctx, prog)
    put64(duration, monotonic() - start)
    run_unlock(env)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return result


@contextmanager
def _environment(machine: "Machine", asked: RunRequest) -> Iterator[int]:
    """An environment in which the asking process is the current one."""
    env = machine.new_env()
    try:
        poke32(env + Env.TGID, asked.pid)
        poke32(env + Env.TID, asked.tid)
        poke64(env + Env.MEM_TID, asked.tid)
        yield env
    finally:
        machine.free_env(env)


def run(machine: "Machine", prog: Prog, asked: RunRequest, ctx: int) -> tuple[int, int]:
    """(r0 as a u32, mean nanoseconds) of runs on the context at `ctx`. EINTR where the caller gives up."""
    times = asked.repeat or 1
    left, step, spent, result = times, 1, 0, 0
    took = ctypes.c_uint64(0)
    with _environment(machine, asked) as env:
        poke64(env + Env.REGS, ctx)
        while left:
            step = min(step, left)
            result = run_repeatedly(env, ctx, prog.address, step, ctypes.addressof(took))
            left -= step
            spent += took.value
            step = min(2 * step, _MAX_TIMES) if took.value < _SLICE_NS else max(1, step // 2)
            _give_way()
    return result & _U32_MAX, min(spent // times, _U32_MAX)


def _give_way() -> None:
    try:
        check()
    except KernelError:
        raise KernelError(errno.EINTR, "interrupted") from None
