"""The machine: memory, control block, modelled kernel, probes and registries that everything else hangs on.

Owns the heap, the kernel arena and the registries. `lock` guards the registries of this object and of
`probes`; it is never held while waiting for a tracee or reading tracee memory. Lock order: `lock`, then a
map's lock, then a ring's.
"""

import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from engine.clock import Clock, MonotonicClock
from engine.cpus import possible_cpus
from engine.env import CTL_SIZE, ENV_SIZE, RUN_LOCK_STRIDE, SCRATCH_SIZE, Ctl, Env, peek64, poke32, poke64
from engine.epoch import Epoch
from engine.idr import Idr
from engine.kernel.model import Kernel
from engine.memory import Heap, Region
from engine.probes.registry import Probes
from engine.probes.vfs import VfsHits

if TYPE_CHECKING:
    from engine.btf import Btf
    from engine.maps import Map
    from engine.progs import Prog

__all__ = ["KERNEL_ARENA_SIZE", "Machine"]

KERNEL_ARENA_SIZE = 256 << 20
"""Bytes of the arena for modelled kernel objects; sparse, so only what is touched costs memory."""


class Machine:
    """One modelled machine. `close` gives everything back; nothing may run in it any more by then."""

    def __init__(self, clock: Clock | None = None, nr_cpus: int | None = None) -> None:
        self.clock = clock if clock is not None else MonotonicClock()
        self.nr_cpus = nr_cpus or possible_cpus()
        self.lock = threading.RLock()
        self.heap = Heap()
        self.arena = Region("bpf-kernel", KERNEL_ARENA_SIZE)
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.ctl = self._control_block()
        self.epoch = Epoch(self.heap, self.ctl)
        self.kernel = Kernel(self.heap, self.arena, self.ctl)
        self.probes = Probes(self)
        self.vfs = VfsHits(self)
        self.maps: Idr[Map] = Idr()
        self.progs: Idr[Prog] = Idr()
        self.links: Idr[object] = Idr()
        self._envs: set[int] = set()

    @cached_property
    def btfs(self) -> "Idr[Btf]":
        """Type information by id; the first is the modelled kernel's."""
        from engine.loader.kernelinfo import modelled_kernel

        rows: Idr[Btf] = Idr()
        model = modelled_kernel(self).btf
        assert model is not None
        model.id, model.name = rows.add(model), "vmlinux"
        return rows

    def _control_block(self) -> int:
        ctl = self.heap.alloc(CTL_SIZE, 64)
        poke32(ctl + Ctl.NR_CPUS, self.nr_cpus)
        poke64(ctl + Ctl.KERNEL_ARENA, self.arena.address)
        poke64(ctl + Ctl.KERNEL_ARENA_SIZE, self.arena.size)
        poke64(ctl + Ctl.WAKE_FD, self.wake_fd)
        poke64(ctl + Ctl.RUN_LOCKS, self.heap.alloc(self.nr_cpus * RUN_LOCK_STRIDE, 64))
        return ctl

    def new_env(self) -> int:
        """A zeroed environment for a new runner, with staging buffer and epoch slot. See `free_env`."""
        env = self.heap.alloc(ENV_SIZE, 64)
        poke64(env + Env.CTL, self.ctl)
        poke64(env + Env.SCRATCH, self.heap.alloc(SCRATCH_SIZE, 64))
        poke64(env + Env.EPOCH_SLOT, self.epoch.register())
        with self.lock:
            self._envs.add(env)
        return env

    def free_env(self, env: int) -> None:
        """The runner of `env` has ended."""
        with self.lock:
            self._envs.remove(env)
        self.epoch.unregister(peek64(env + Env.EPOCH_SLOT))
        self.heap.free(peek64(env + Env.SCRATCH))
        self.heap.free(env)

    def close(self) -> None:
        """End the machine: reclaim what is retired, unmap all memory, close the eventfd."""
        self.vfs.close()
        for env in list(self._envs):
            self.free_env(env)
        self.epoch.close()
        os.close(self.wake_fd)
        self.arena.close()
        self.heap.close()
