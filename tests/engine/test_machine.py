"""engine.machine, engine.runlock: what a machine owns, environments, mutual exclusion on a CPU."""

import threading
from pathlib import Path

from engine.env import SCRATCH_SIZE, Ctl, Env, peek32, peek64, poke32, poke64
from engine.jit.lang import native, put64, u64
from engine.machine import Machine
from engine.memory import in_window
from engine.runlock import run_lock, run_unlock


class StillClock:
    """Time stands still."""

    def now_ns(self) -> int:
        """Always the same."""
        return 12345


@native
def count_under_lock(env: int, word: int, times: int) -> int:
    """Add to an ordinary word, safe only because of the run lock."""
    for _i in range(times):
        run_lock(env)
        put64(word, u64(word) + 1)
        run_unlock(env)
    return 0


def test_control_block() -> None:
    machine = Machine(StillClock(), nr_cpus=4)
    assert machine.clock.now_ns() == 12345
    assert peek32(machine.ctl + Ctl.NR_CPUS) == 4
    assert peek64(machine.ctl + Ctl.KERNEL_ARENA) == machine.arena.address
    assert in_window(machine.arena.address, machine.arena.size)
    machine.close()


def test_closing_gives_everything_back() -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        machine = Machine()
        machine.new_env()
        machine.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_environments_are_separate() -> None:
    machine = Machine()
    used = machine.heap.used
    one, two = machine.new_env(), machine.new_env()
    assert peek64(one + Env.CTL) == machine.ctl
    assert peek64(one + Env.EPOCH_SLOT) != peek64(two + Env.EPOCH_SLOT)
    poke64(peek64(one + Env.SCRATCH) + SCRATCH_SIZE - 8, 7)
    assert peek64(peek64(two + Env.SCRATCH) + SCRATCH_SIZE - 8) == 0
    machine.free_env(one)
    machine.free_env(two)
    assert machine.heap.used == used
    machine.close()


def test_run_lock_excludes_runners_of_the_same_cpu() -> None:
    machine = Machine(nr_cpus=2)
    word = machine.heap.alloc(8)
    envs = [machine.new_env() for _ in range(2)]
    for env in envs:
        poke32(env + Env.CPU, 1)
    threads = [threading.Thread(target=count_under_lock, args=(env, word, 20000)) for env in envs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert peek64(word) == 40000
    machine.close()
