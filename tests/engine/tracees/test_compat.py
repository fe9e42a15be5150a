"""32-bit programs run on unobserved and undisturbed; i386 and x32 calls of 64-bit code are no events."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.abi.syscalls import NR
from tests.engine.tracees.conftest import SOURCES, Build, Gated, Watch, compiler, until

FREESTANDING = ["-m32", "-O1", "-nostdlib", "-static", "-fno-pie", "-fno-stack-protector"]


@pytest.fixture
def compat(tmp_path: Path) -> str:
    """The 32-bit program, if it can be built and run here."""
    target = str(tmp_path / "compat")
    made = subprocess.run(
        [compiler(), *FREESTANDING, "-o", target, str(SOURCES / "compat.c")], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no 32-bit code from this compiler: {made.stderr[-200:]!r}")
    try:
        subprocess.run([target], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this kernel runs no 32-bit programs (CONFIG_IA32_EMULATION)")
    return target


def test_a_32_bit_program_is_left_alone(compat: str, start: Callable[..., Gated], watch: Watch) -> None:
    watch.arm()
    gated = start(compat)
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.line() == "2"
    assert watch.entries(NR["execve"]) == 1
    for number in (4, 5, 256, 329):
        assert watch.entries(number) == 0
    for turn in range(4):
        watch.arm(turn % 2 == 1)
        time.sleep(0.02)
    assert gated.finish() == (0, "ok")
    # The first stops and exec, none of its own 200 calls.
    assert watch.tracer.stats["stops"] < 20


def test_a_32_bit_program_attached_while_it_waits(
    compat: str, start: Callable[..., Gated], watch: Watch
) -> None:
    gated = start(compat)
    gated.open()
    assert gated.line() == "2"
    watch.arm()
    watch.tracer.attach(gated.pid)
    time.sleep(0.05)
    watch.tracer.detach(gated.pid)
    assert gated.finish() == (0, "ok")
    assert watch.tracer.stats["restarts"] >= 1


def test_other_calls_of_64_bit_code(build: Build, start: Callable[..., Gated], watch: Watch) -> None:
    watch.arm()
    gated = start(build("int80"))
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.finish() == (0, "")
    assert watch.entries(20) == 0
    assert watch.entries(NR["getppid"]) == 100
    assert watch.entries(NR["getpgrp"]) == 0
    assert until(lambda: not watch.tracer.pids())
