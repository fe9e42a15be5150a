"""Arming, disarming, attaching and detaching interrupt blocked system calls, and nobody notices."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.tracees.restart import IDENTITY_CALLS, RESTARTABLE, bitmap, in_bitmap
from tests.engine.tracees.conftest import Build, Gated, Watch, state_of, until

RESULTS = {
    "epoll_wait": "0 0",
    "epoll_signal": "-1 EINTR",
    "semtimedop": "-1 EAGAIN",
    "msgrcv": "8 0",
    "sigtimedwait": "-1 EAGAIN",
    "poll": "0 0",
    "pselect": "0 0",
    "nanosleep": "0 0",
    "futex": "-1 ETIMEDOUT",
    "pause": "-1 EINTR",
    "pipe": "1 0",
    "accept": "1 0",
    "accept_timeout": "-1 EAGAIN",
    "io_getevents": "0 0",
    "inotify": "1 0",
    "wait": "1 0",
}
"""What programs/blocks.c prints when nobody interrupts it."""


@pytest.mark.parametrize("kind", RESULTS)
def test_arming_does_not_show(kind: str, build: Build, start: Callable[..., Gated], watch: Watch) -> None:
    gated = start(build("blocks"), kind)
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.line() == "2"
    assert until(lambda: state_of(gated.pid) == "S")
    for turn in range(6):
        watch.arm(turn % 2 == 0)
        time.sleep(0.03)
    status, out = gated.finish()
    assert (status, out) == (0, RESULTS[kind])
    assert watch.tracer.stats["interrupts"] > 0


@pytest.mark.parametrize("kind", RESULTS)
def test_detaching_does_not_show(kind: str, build: Build, start: Callable[..., Gated], watch: Watch) -> None:
    watch.arm()
    gated = start(build("blocks"), kind)
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.line() == "2"
    assert until(lambda: state_of(gated.pid) == "S")
    for _ in range(3):
        watch.tracer.detach(gated.pid)
        assert watch.tracer.pids() in ([], [gated.pid + 1], watch.tracer.pids())
        assert gated.pid not in watch.tracer.pids()
        time.sleep(0.02)
        watch.tracer.attach(gated.pid)
        time.sleep(0.02)
    assert gated.finish() == (0, RESULTS[kind])


def test_close_is_not_restarted() -> None:
    assert 3 not in RESTARTABLE
    assert 16 not in RESTARTABLE


def test_bitmap(tmp_path: Path) -> None:
    import ctypes

    buffer = ctypes.create_string_buffer(bitmap(IDENTITY_CALLS), 64)
    found = {nr for nr in range(-3, 600) if in_bitmap(ctypes.addressof(buffer), nr)}
    assert found == IDENTITY_CALLS
    assert in_bitmap(ctypes.addressof(buffer), 1 << 40) == 0
