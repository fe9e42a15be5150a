"""Hits at full speed in another thread while the buffer is read, cloned, cleared and resized."""

import ctypes
import os
import threading

from engine.jit.lang import compile_native, native
from engine.kernfs import WouldBlock
from engine.probes.driver import Driver
from engine.probes.fire import syscall_enter, syscall_exit
from tests.tracefs.conftest import Files

HITS = 60_000


@native
def hit_often(env: int, regs: int, number: int) -> int:
    """The same system call `number` times."""
    for _ in range(number):
        syscall_enter(env, regs)
        syscall_exit(env, regs, 0)
    return 0


def arm(files: Files, driver: Driver) -> threading.Thread:
    """A probe with a string, and a thread that is ready to hit it."""
    files.write("kprobe_events", "p:a do_sys_openat2 f=+0(%si):ustring\n")
    files.write("events/kprobes/a/enable", "1")
    files.write("buffer_size_kb", "64")
    name = ctypes.create_string_buffer(b"/some/file")
    driver.enter("openat", 0, ctypes.addressof(name), 0, 0)
    driver.leave(0)
    files.write("trace", "")
    compile_native([hit_often])

    def hit(kept: object = name) -> None:
        for _ in range(HITS // 1000):
            hit_often(driver.env, driver.regs, 1000)

    return threading.Thread(target=hit)


def drain(files: Files, thread: threading.Thread) -> tuple[int, int]:
    """Read trace_pipe while `thread` runs: lines of events, and events told lost."""
    seen = lost = 0
    with files.open("trace_pipe", os.O_RDONLY | os.O_NONBLOCK) as pipe:
        alive = True
        rest = b""
        while True:
            try:
                rest += pipe.read(0, 65536)
            except WouldBlock:
                if not alive:
                    break
                alive = thread.is_alive()
                continue
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if line.startswith(b"CPU:"):
                    lost += int(line.split()[2])
                else:
                    assert line.endswith(b'a: (do_sys_openat2+0x0/0x170) f="/some/file"'), line
                    seen += 1
    assert rest == b""
    return seen, lost


def test_every_hit_is_seen_or_counted_as_lost(files: Files, driver: Driver) -> None:
    thread = arm(files, driver)
    thread.start()
    try:
        seen, lost = drain(files, thread)
    finally:
        thread.join()
    assert seen + lost == HITS
    counters = files.tracefs.context.buffer.counters(1)
    assert (counters.overrun, counters.read, counters.entries) == (lost, seen, 0)


def test_changes_under_load_break_nothing(files: Files, driver: Driver) -> None:
    thread = arm(files, driver)
    thread.start()
    rounds = 0
    try:
        while thread.is_alive():
            change(files, rounds)
            rounds += 1
    finally:
        thread.join()
    assert rounds > 1
    files.write("trace", "")
    files.append("trace_marker", "end")
    assert "end" in files.read("trace")


def change(files: Files, number: int) -> None:
    """Whatever can be changed while hits come in. A hit under way may outlive its event: `Unknown type`."""
    known = ('a: (do_sys_openat2+0x0/0x170) f="/some/file"', "b: (vfs_open+0x0/0x30)")
    files.write("buffer_size_kb", ("64", "4", "200")[number % 3])
    for line in files.lines():
        assert line.endswith(known) or "Unknown type" in line, line
    if number % 4 == 0:
        files.write("trace", "")
    if number % 2:
        files.append("kprobe_events", "p:b vfs_open\n")
        files.write("events/kprobes/b/enable", "1")
        files.write("events/kprobes/a/filter", 'f ~ "/some*"')
        files.write("events/kprobes/b/enable", "0")
        files.append("kprobe_events", "-:b\n")
        files.write("events/kprobes/a/filter", "0")
        files.machine.epoch.poll()
    files.write("tracing_on", "0")
    files.write("tracing_on", "1")
