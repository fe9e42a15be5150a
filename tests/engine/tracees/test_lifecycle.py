"""Process events of real processes: births, programs, names and ends, in the kernel's order."""

import struct
from collections.abc import Callable, Iterator

import pytest

from engine.machine import Machine
from engine.tracees import Tracer
from tests.engine.probes.conftest import Hit, Recorder
from tests.engine.tracees.conftest import Build, Gated, until

EVENTS = (
    "sched:sched_process_fork",
    "sched:sched_process_exec",
    "sched:sched_process_exit",
    "task:task_rename",
)


@pytest.fixture
def watched() -> Iterator[tuple[Tracer, Recorder]]:
    """A running tracer, and what its machine's probes see."""
    machine = Machine()
    tracer = Tracer(machine)
    tracer.start()
    yield tracer, Recorder(machine)
    tracer.stop()
    machine.close()


def text(raw: bytes) -> str:
    """A name of fixed size."""
    return raw.rstrip(b"\0").decode()


def of(recorder: Recorder, label: str) -> list[Hit]:
    """Hits of one probe."""
    return [hit for hit in recorder.hits if hit.label == label]


def run(tracer: Tracer, gated: Gated) -> None:
    """Attach it, and wait until all is over."""
    tracer.attach(gated.pid)
    gated.open()
    assert gated.finish() == (0, "")
    assert until(lambda: tracer.threads() == [])


@pytest.mark.parametrize("armed", [False, True])
def test_births_programs_and_ends(
    armed: bool, watched: tuple[Tracer, Recorder], build: Build, start: Callable[..., Gated]
) -> None:
    tracer, recorder = watched
    for event in EVENTS:
        recorder.tracepoint(event)
    recorder.probe("do_exit")
    if armed:
        recorder.probe("__x64_sys_getpid")
    gated = start(build("counts"), "1", "fork", "vfork", "thread", "threadexec")
    run(tracer, gated)
    forks = of(recorder, "sched:sched_process_fork")
    children = [struct.unpack("<8x16si16si", hit.data) for hit in forks]
    assert len(children) == 2 + 2 + 4 + 1
    assert {parent for _, parent, _, _ in children} == {gated.pid}
    assert {text(name) for name, _, _, _ in children} == {"counts"}
    born = {child for _, _, _, child in children}
    assert len(born) == 9
    ends = of(recorder, "sched:sched_process_exit")
    assert [hit.env["tid"] for hit in ends].count(gated.pid) == 2
    assert len(ends) == len(of(recorder, "p do_exit")) == 10
    programs = of(recorder, "sched:sched_process_exec")
    assert len(programs) == 1 + 2 + 1
    names = {hit.data[20:].rstrip(b"\0").decode() for hit in programs}
    assert names == {build("counts")}
    old = [struct.unpack_from("<ii", hit.data, 12) for hit in programs]
    assert [pid for pid, before in old if pid != before] == [gated.pid]
    first: dict[int, int] = {}
    for at, hit in enumerate(recorder.hits):
        first.setdefault(hit.env["tid"], at)
    for at, hit in enumerate(recorder.hits):
        if hit.label == "sched:sched_process_fork":
            child = struct.unpack("<8x16si16si", hit.data)[3]
            assert first.get(child, at) >= at, "a child did something before it was born"


def test_names(watched: tuple[Tracer, Recorder], build: Build, start: Callable[..., Gated]) -> None:
    tracer, recorder = watched
    recorder.tracepoint("task:task_rename")
    gated = start(build("who"))
    tracer.attach(gated.pid)
    gated.open()
    assert gated.finish()[0] == 0
    renames = [struct.unpack_from("<8xi16s16s", hit.data) for hit in of(recorder, "task:task_rename")]
    told = [(text(before), text(after)) for _, before, after in renames]
    assert told[:2] == [("gate", "who"), ("who", "renamed (x) y")]
    assert told[-1] == ("renamed (x) y", "who")
    assert ("renamed (x) y", "a thread") in told


def test_killed(watched: tuple[Tracer, Recorder], build: Build, start: Callable[..., Gated]) -> None:
    """A process that is killed ends once, all its threads do, and each in do_group_exit."""
    tracer, recorder = watched
    recorder.probe("do_group_exit")
    recorder.tracepoint("sched:sched_process_exit")
    gated = start(build("busy"), "20")
    tracer.attach(gated.pid)
    gated.open()
    assert until(lambda: len(tracer.threads()) >= 3)
    own = {gated.pid, *(tid for tid in tracer.threads() if tid > gated.pid)}
    gated.kill()
    assert until(lambda: tracer.threads() == [])
    ends = [hit.env["tid"] for hit in of(recorder, "sched:sched_process_exit")]
    assert len(ends) == len(set(ends))
    assert gated.pid in ends
    assert gated.pid in {hit.env["tid"] for hit in of(recorder, "p do_group_exit")}
    assert own & set(ends)
    assert tracer.stats["errors"] == 0


def test_events_come_and_go_under_load(
    watched: tuple[Tracer, Recorder], build: Build, start: Callable[..., Gated]
) -> None:
    """Nobody is left held when process events are switched off, and nobody is harmed."""
    tracer, recorder = watched
    probe = recorder.tracepoint("sched:sched_process_fork")
    gated = start(build("busy"), "3")
    tracer.attach(gated.pid)
    gated.open()
    for turn in range(120):
        (probe.disable if turn % 2 else probe.enable)()
        until(lambda: False, 0.015)
    assert gated.finish() == (0, "ok")
    assert recorder.hits
    assert until(lambda: tracer.threads() == [])
