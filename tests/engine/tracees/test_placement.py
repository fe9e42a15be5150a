"""Where the tracer thread runs: beside who stops while stops come fast, at home otherwise."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from engine.env import peek32, poke32, poke64
from engine.machine import Machine
from engine.memory import Region
from engine.tracees.placement import MASK_SIZE, Place, Regime, go_home, note_stop
from engine.tracees.state import INDEX_SLOTS, MAX_THREADS, REC_SIZE, ST_SIZE, Rec, St
from engine.tracees.threads import insert

WINDOW = 64
NO_RSEQ = 1
UNKNOWN = 1 << 22
"""A thread id that is none."""


@pytest.fixture
def st() -> Iterator[int]:
    """A state block with a thread table, of a tracer that may yield."""
    machine = Machine()
    region = Region("test", ST_SIZE + INDEX_SLOTS * 4 + MAX_THREADS * REC_SIZE)
    state = region.address
    poke64(state + St.CTL, machine.ctl)
    poke64(state + St.INDEX, state + ST_SIZE)
    poke64(state + St.RECORDS, state + ST_SIZE + INDEX_SLOTS * 4)
    home = sum(1 << cpu for cpu in os.sched_getaffinity(0)).to_bytes(MASK_SIZE, "little")
    ctypes.memmove(state + Place.HOME, home, MASK_SIZE)
    poke32(state + Place.POLICY, os.sched_getscheduler(0))
    yield state
    region.close()
    machine.close()


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that has never run but on the last CPU; its id."""
    home = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(home)})
    try:
        started = subprocess.Popen(["sleep", "60"])
    finally:
        os.sched_setaffinity(0, home)
    with started as process:
        yield process.pid
        process.kill()


def in_a_thread(action: Callable[[], None]) -> None:
    """Run it in a thread of its own, whose placement is then nobody's concern; raise what it raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except AssertionError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def known(st: int, tid: int) -> None:
    """A record of `tid`, which has no rseq area that we may read."""
    poke64(insert(st, tid) + Rec.RSEQ, NO_RSEQ)


def test_beside_one_and_home_again(st: int, sleeper: int) -> None:
    known(st, sleeper)
    home = os.sched_getaffinity(0)

    def check() -> None:
        for _ in range(3 * WINDOW):
            note_stop(st, sleeper)
        assert peek32(st + Place.REGIME) == Regime.BESIDE
        assert os.sched_getaffinity(0) == {max(home)}
        for _ in range(WINDOW):
            note_stop(st, UNKNOWN)
        assert peek32(st + Place.REGIME) == Regime.ROAMING
        assert os.sched_getaffinity(0) == home

    in_a_thread(check)


def test_yielding(st: int, sleeper: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may leave SCHED_IDLE again")
    known(st, sleeper)
    poke32(st + Place.MAY_YIELD, 1)
    policy = os.sched_getscheduler(0)

    def check() -> None:
        for _ in range(3 * WINDOW):
            note_stop(st, sleeper)
        regime = peek32(st + Place.REGIME)
        assert (regime, os.sched_getscheduler(0)) == (Regime.YIELDING, os.SCHED_IDLE)
        go_home(st)
        assert peek32(st + Place.REGIME) == Regime.ROAMING
        assert os.sched_getscheduler(0) == policy
        assert os.sched_getaffinity(0) == os.sched_getaffinity(os.getpid())

    in_a_thread(check)


def test_unknown_threads_and_foreign_cpus_move_nobody(st: int, sleeper: int) -> None:
    home = os.sched_getaffinity(0)

    def check() -> None:
        for _ in range(3 * WINDOW):
            note_stop(st, sleeper)
        assert peek32(st + Place.REGIME) == Regime.ROAMING
        known(st, sleeper)
        ctypes.memset(st + Place.HOME, 0, MASK_SIZE)
        for _ in range(3 * WINDOW):
            note_stop(st, sleeper)
        assert peek32(st + Place.REGIME) == Regime.ROAMING
        assert os.sched_getaffinity(0) == home

    in_a_thread(check)
