"""The doorbell: every request is heard at once, also while tracees run, and none is lost."""

import signal
import threading
from collections.abc import Callable
from functools import partial

from engine.abi.syscalls import NR
from engine.tracees.doorbell import DOORBELL
from tests.engine.tracees.conftest import Build, Gated, Watch, state_of, until

EPOLL_WAIT = NR["epoll_wait"]


def entered_since(watch: Watch, seen: int) -> bool:
    """Whether epoll_wait was entered more than `seen` times."""
    return watch.entries(EPOLL_WAIT) > seen


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
        assert until(lambda: state_of(gated.pid) == "S"), turn
        seen = watch.entries(EPOLL_WAIT)
        watch.arm()
        # Interrupted, it enters the call anew, and is seen.
        assert until(partial(entered_since, watch, seen)), turn
        watch.arm(False)
        # It sleeps on between two system-call stops; a signal brings it back to full speed.
        gated.send(signal.SIGWINCH)
    gated.send(signal.SIGTERM)
    assert gated.finish()[0] == -signal.SIGTERM


def test_the_signal_is_one_that_nobody_else_uses() -> None:
    assert signal.SIGRTMIN < DOORBELL < signal.SIGRTMAX
