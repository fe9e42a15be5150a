"""The doorbell: every request is heard at once, also while tracees run, and none is lost."""

import signal
import threading
from collections.abc import Callable
from functools import partial

from engine.tracees.doorbell import DOORBELL
from tests.engine.tracees.conftest import Build, Gated, Watch, until


def grew(watch: Watch, counter: str, since: int) -> bool:
    """Whether a counter of the tracer is above what it was."""
    return watch.tracer.stats[counter] > since


def test_requests_from_many_threads(watch: Watch, build: Build, start: Callable[..., Gated]) -> None:
    gated = start(build("busy"), "2")
    watch.tracer.attach(gated.pid)
    gated.open()
    done: list[int] = []

    def ask() -> None:
        for turn in range(150):
            watch.tracer.attach(gated.pid)
            watch.arm(turn % 3 == 0)
        done.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 4
    assert gated.finish() == (0, "ok")


def test_requests_while_nothing_is_attached(watch: Watch) -> None:
    for _ in range(300):
        watch.tracer.rearm()
        assert watch.tracer.pids() == []
    assert until(lambda: watch.tracer.stats["stops"] == 0)


def test_arming_wakes_a_tracer_that_waits(watch: Watch, build: Build, start: Callable[..., Gated]) -> None:
    """Each of many armings finds the tracer asleep in wait4 and the tracee asleep in a system call."""
    gated = start(build("signals"), "stopped")
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.line() == "waiting"
    for turn in range(60):
        seen = watch.tracer.stats["interrupts"]
        watch.arm()
        assert until(partial(grew, watch, "interrupts", seen)), turn
        watch.arm(False)
        # It sleeps on between two system-call stops; a signal brings it back to full speed.
        stops = watch.tracer.stats["stops"]
        gated.send(signal.SIGWINCH)
        assert until(partial(grew, watch, "stops", stops)), turn
    gated.send(signal.SIGTERM)
    assert gated.finish()[0] == -signal.SIGTERM


def test_the_signal_is_one_that_nobody_else_uses() -> None:
    assert signal.SIGRTMIN < DOORBELL < signal.SIGRTMAX
