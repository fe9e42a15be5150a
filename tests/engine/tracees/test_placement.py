"""Where the tracer thread runs: beside who stops while stops come fast, at home otherwise."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.env import peek32, peek64, poke32, poke64
from engine.machine import Machine
from engine.memory import Region
from engine.tracees.placement import MASK_SIZE, NO_FD, Place, Regime, be_urgent, go_home, note_stop
from engine.tracees.rescue import end_watch, watch_tracer
from engine.tracees.state import INDEX_SLOTS, MAX_THREADS, REC_SIZE, ST_SIZE, Rec, St
from engine.tracees.threads import insert
from tests.engine.tracees.conftest import until

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
    poke32(state + Place.CPUS, 4)
    for fd in (Place.LOAD_FD, Place.DELAY_FD, Place.AUTOGROUP_FD):
        poke32(state + fd, NO_FD)
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


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may leave SCHED_IDLE")


@pytest.fixture
def load(st: int, tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Sets how many threads run, as the tracer sees it in /proc/loadavg."""
    path = tmp_path / "loadavg"
    path.touch()

    def running(count: int) -> None:
        path.write_text(f"0.52 0.58 0.59 {count}/797 4221")

    with path.open("rb") as file:
        poke32(st + Place.LOAD_FD, file.fileno())
        yield running


@pytest.fixture
def nice(st: int, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Takes what was written to the autogroup's file since the last look; its own value is 3."""
    path = tmp_path / "autogroup"
    ctypes.memmove(st + Place.NICE, b"3  ", 3)
    with path.open("w+b", buffering=0) as file:

        def written() -> str:
            file.seek(0)
            text = file.read().decode()
            file.truncate(0)
            file.seek(0)
            return text

        poke32(st + Place.AUTOGROUP_FD, file.fileno())
        yield written


def placed(st: int) -> tuple[Regime, int]:
    """Regime and policy of this thread."""
    return Regime(peek32(st + Place.REGIME)), os.sched_getscheduler(0)


@needs_root
def test_it_yields_where_a_cpu_is_free_and_is_urgent_elsewhere(
    st: int, sleeper: int, load: Callable[[int], None], nice: Callable[[], str]
) -> None:
    known(st, sleeper)
    poke32(st + Place.MAY_YIELD, 1)
    policy = os.sched_getscheduler(0)

    def stops(windows: int) -> tuple[Regime, int]:
        # However busy this machine is, windows do not count as slow.
        for _ in range(windows * WINDOW):
            poke64(st + Place.BESIDE_NS, 1 << 60)
            note_stop(st, sleeper)
        return placed(st)

    def check() -> None:
        for running in (5, 11):
            load(running)
            assert stops(3) == (Regime.BESIDE, policy)
            assert nice() == "-20"
            load(4)
            assert stops(1) == (Regime.YIELDING, os.SCHED_IDLE)
            assert nice() == "3  "
        load(5)
        assert stops(1) == (Regime.BESIDE, policy)
        assert nice() == "-20"
        assert stops(2) == (Regime.BESIDE, policy)
        assert nice() == ""
        go_home(st)
        assert nice() == "3  "
        assert placed(st) == (Regime.ROAMING, policy)
        assert os.sched_getaffinity(0) == os.sched_getaffinity(os.getpid())

    in_a_thread(check)


@needs_root
@pytest.mark.parametrize("starved", [True, False])
def test_a_slow_window_backs_off_when_it_was_for_want_of_a_cpu(
    st: int, sleeper: int, load: Callable[[int], None], starved: bool, tmp_path: Path
) -> None:
    known(st, sleeper)
    poke32(st + Place.MAY_YIELD, 1)
    load(1)
    delays = tmp_path / "schedstat"
    delays.write_text("123 456 7\n")

    def check() -> None:
        while placed(st)[0] != Regime.YIELDING:
            poke64(st + Place.BESIDE_NS, 1 << 60)
            note_stop(st, sleeper)
        assert peek64(st + Place.DELAY_NS) == 456
        delays.write_text(f"123 {456 + starved * 10_000_000} 8\n")
        poke64(st + Place.BESIDE_NS, 1_000_000)
        poke64(st + Place.WINDOW_NS, peek64(st + Place.WINDOW_NS) - 5_000_000)
        note_stop(st, sleeper)
        assert placed(st)[0] == Regime.BESIDE
        assert bool(peek64(st + Place.RETRY_NS)) == starved

    with delays.open("rb") as file:
        poke32(st + Place.DELAY_FD, file.fileno())
        in_a_thread(check)


def test_urgency_ends_when_stops_cease(st: int, nice: Callable[[], str]) -> None:
    rescuer = threading.Thread(target=watch_tracer, args=(st,))
    rescuer.start()
    be_urgent(st, 1)
    be_urgent(st, 1)
    assert nice() == "-20"
    written: list[str] = []
    assert until(lambda: bool(written.append(nice()) or "".join(written)))
    assert "".join(written) == "3  "
    end_watch(st)
    rescuer.join()


@needs_root
def test_a_yielding_thread_without_progress_is_rescued(st: int) -> None:
    policy = os.sched_getscheduler(0)

    def check() -> None:
        poke64(st + St.TRACER, threading.get_native_id())
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        poke32(st + Place.REGIME, Regime.YIELDING)
        rescuer = threading.Thread(target=watch_tracer, args=(st,))
        rescuer.start()
        assert until(lambda: os.sched_getscheduler(0) == policy)
        assert peek64(st + Place.RESCUES) >= 1
        end_watch(st)
        rescuer.join()

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
