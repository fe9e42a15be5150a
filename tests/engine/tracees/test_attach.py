"""Attaching and detaching: who may be, storms of both under load, and how processes die meanwhile."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.abi.syscalls import NR
from engine.errors import KernelError
from engine.tracees import Tracer
from tests.engine.tracees.conftest import Build, Gated, Watch, state_of, until


def errno_of(action: Callable[[], object]) -> int:
    """The errno that `action` fails with."""
    with pytest.raises(KernelError) as caught:
        action()
    return caught.value.errno


def life_of(pid: int) -> str:
    """State letter of a process, or "gone"."""
    try:
        return state_of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def test_who_cannot_be_attached(watch: Watch) -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        assert errno_of(lambda: watch.tracer.attach(os.getpid())) == errno.EPERM
        assert errno_of(lambda: watch.tracer.attach(child.pid)) == errno.EPERM
    finally:
        child.kill()
        child.wait()
    assert errno_of(lambda: watch.tracer.attach(child.pid)) == errno.ESRCH
    assert errno_of(lambda: watch.tracer.attach(1 << 22)) == errno.ESRCH
    assert errno_of(lambda: watch.tracer.attach(-5)) == errno.ESRCH
    assert errno_of(lambda: watch.tracer.detach(1)) == errno.ESRCH
    assert watch.tracer.pids() == []


def test_kernel_threads_cannot_be_attached(watch: Watch) -> None:
    if not Path("/proc/2/comm").exists() or Path("/proc/2/comm").read_text() != "kthreadd\n":
        pytest.skip("no kernel thread is visible here")
    assert errno_of(lambda: watch.tracer.attach(2)) == errno.EPERM


def test_a_process_has_one_tracer(start: Callable[..., Gated], watch: Watch, build: Build) -> None:
    gated = start(build("busy"), "1")
    watch.tracer.attach(gated.pid)
    watch.tracer.attach(gated.pid)
    other = Tracer(watch.machine)
    other.start()
    assert errno_of(lambda: other.attach(gated.pid)) == errno.EPERM
    other.stop()
    gated.open()
    assert gated.finish() == (0, "ok")


def test_zombies_cannot_be_attached(start: Callable[..., Gated], watch: Watch) -> None:
    forks = "import os, time; pid = os.fork() or os._exit(0); print(pid, flush=True); time.sleep(60)"
    gated = start(sys.executable, "-c", forks)
    gated.open()
    zombie = int(gated.line())
    assert until(lambda: state_of(zombie) == "Z")
    assert errno_of(lambda: watch.tracer.attach(zombie)) == errno.EPERM


def test_all_threads_are_attached_by_any_of_their_ids(
    start: Callable[..., Gated], watch: Watch, build: Build
) -> None:
    gated = start(build("busy"), "2")
    gated.open()
    tasks = Path(f"/proc/{gated.pid}/task")
    assert until(lambda: len(list(tasks.iterdir())) == 3)
    tids = sorted(int(task.name) for task in tasks.iterdir())
    watch.tracer.attach(tids[-1])
    assert set(tids) <= set(watch.tracer.threads())
    assert gated.pid in watch.tracer.pids()
    watch.arm()
    assert until(lambda: watch.entries(NR["openat"]) > 100)
    watch.tracer.detach(gated.pid)
    assert gated.pid not in watch.tracer.pids()
    assert until(lambda: "TracerPid:\t0\n" in Path(f"/proc/{gated.pid}/status").read_text())
    assert gated.finish() == (0, "ok")


@pytest.mark.parametrize("armed", [True, False])
def test_every_kind_of_process(armed: bool, start: Callable[..., Gated], watch: Watch, build: Build) -> None:
    """Untraced clones, leaders that end first, filters of system calls: all end as they would without us."""
    watch.arm(armed)
    gated = start(build("kinds"))
    watch.tracer.attach(gated.pid)
    gated.open()
    assert gated.finish() == (0, "ok")
    assert until(lambda: watch.tracer.threads() == [])


@pytest.mark.parametrize("armed", [True, False])
def test_a_process_whose_leader_has_ended(
    armed: bool, start: Callable[..., Gated], watch: Watch, build: Build
) -> None:
    watch.arm(armed)
    gated = start(build("kinds"), "leaderless")
    gated.open()
    assert gated.line() == "alone"
    assert state_of(gated.pid) == "Z"
    watch.tracer.attach(gated.pid)
    assert watch.tracer.pids() == [gated.pid]
    assert gated.pid not in watch.tracer.threads()
    watch.tracer.detach(gated.pid)
    assert until(lambda: watch.tracer.threads() == [])
    watch.tracer.attach(gated.pid)
    assert gated.finish() == (0, "ok")
    assert until(lambda: watch.tracer.threads() == [])


def test_storm(start: Callable[..., Gated], watch: Watch, build: Build) -> None:
    """Attach, detach, arm and disarm at random under load; the load notices nothing."""
    dice = random.Random(7)
    loads = [start(build("busy"), "4") for _ in range(2)]
    for load in loads:
        load.open()
    deadline = time.monotonic() + 3
    attached = 0
    while time.monotonic() < deadline:
        load = dice.choice(loads)
        try:
            if dice.random() < 0.4:
                watch.tracer.attach(load.pid)
                attached += 1
            elif dice.random() < 0.5:
                watch.tracer.detach(load.pid)
            else:
                watch.arm(dice.random() < 0.6)
        except KernelError as error:
            assert error.errno == errno.ESRCH
        time.sleep(dice.random() * 0.01)
    assert [load.finish() for load in loads] == [(0, "ok")] * 2
    assert attached > 10
    assert watch.tracer.stats["errors"] == 0
    assert until(lambda: watch.tracer.threads() == [])


def test_attaching_while_programs_are_executed(
    start: Callable[..., Gated], watch: Watch, build: Build
) -> None:
    """PTRACE_SEIZE waits for execve, which waits for the end of threads, which wait for us: nobody hangs, and
    nothing is refused because a thread was dying just then."""
    gated = start(build("execs"), "100")
    watch.arm()
    gated.open()
    ended: list[str] = []

    def storm() -> None:
        while not ended:
            try:
                watch.tracer.attach(gated.pid)
                watch.tracer.detach(gated.pid)
            except KernelError:
                ended.append(life_of(gated.pid))

    attacher = threading.Thread(target=storm, daemon=True)
    attacher.start()
    assert gated.finish() == (0, "ok")
    attacher.join(20)
    assert ended in (["Z"], ["X"], ["gone"])


def test_killed_at_random_moments(start: Callable[..., Gated], watch: Watch, build: Build) -> None:
    dice = random.Random(11)
    watch.arm()
    for _ in range(25):
        gated = start(build("busy"), "20")
        watch.tracer.attach(gated.pid)
        gated.open()
        time.sleep(dice.random() * 0.08)
        os.kill(gated.pid, signal.SIGKILL)
        assert gated.finish()[0] == -signal.SIGKILL
    # Children that were alive then end by themselves.
    assert until(lambda: watch.tracer.threads() == [])
    assert watch.tracer.stats["errors"] == 0


def test_detaching_while_it_is_killed(start: Callable[..., Gated], watch: Watch, build: Build) -> None:
    watch.arm()
    for _ in range(15):
        gated = start(build("busy"), "20")
        watch.tracer.attach(gated.pid)
        gated.open()
        time.sleep(0.02)
        killer = threading.Thread(target=os.kill, args=(gated.pid, signal.SIGKILL))
        killer.start()
        try:
            watch.tracer.detach(gated.pid)
        except KernelError as error:
            assert error.errno == errno.ESRCH
        killer.join()
        assert gated.finish()[0] == -signal.SIGKILL
    assert until(lambda: watch.tracer.threads() == [])


def test_stop_lets_everybody_go(start: Callable[..., Gated], watch: Watch, build: Build) -> None:
    watch.arm()
    gated = start(build("busy"), "2")
    watch.tracer.attach(gated.pid)
    gated.open()
    assert until(lambda: watch.entries(NR["openat"]) > 100)
    watch.tracer.stop()
    assert watch.tracer.pids() == []
    assert "TracerPid:\t0\n" in Path(f"/proc/{gated.pid}/status").read_text()
    assert errno_of(lambda: watch.tracer.attach(gated.pid)) == errno.ESRCH
    watch.tracer.stop()
    assert gated.finish() == (0, "ok")


DAEMON = """
import sys, time
from tests.engine.tracees.conftest import Watch
watch = Watch()
watch.arm()
watch.tracer.attach(int(sys.argv[1]))
print("attached", flush=True)
time.sleep(60)
"""


def test_tracees_outlive_a_killed_daemon(start: Callable[..., Gated], build: Build) -> None:
    gated = start(build("busy"), "3")
    gated.open()
    command = [sys.executable, "-c", DAEMON, str(gated.pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "attached\n"
        time.sleep(0.3)
        daemon.kill()
    assert gated.finish() == (0, "ok")


def test_other_children_are_not_disturbed(start: Callable[..., Gated], watch: Watch, build: Build) -> None:
    watch.arm()
    gated = start(build("busy"), "2")
    watch.tracer.attach(gated.pid)
    gated.open()
    for code in range(40):
        assert subprocess.run(["sh", "-c", f"exit {code}"], check=False).returncode == code
    assert gated.finish() == (0, "ok")
