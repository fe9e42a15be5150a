"""set_event_pid and set_event_notrace_pid (golden 05)."""

import ctypes
import errno

import pytest

from engine.errors import KernelError
from engine.jit.lang import put32
from engine.probes.driver import Driver
from tests.tracefs.conftest import Files
from tracefs.pids import pid_exits, pid_forks


def test_lists(files: Files) -> None:
    name = "set_event_pid"
    assert files.read(name) == files.read("set_event_notrace_pid") == ""
    files.write(name, "1\n")
    files.append(name, "5 3 99999\n")
    assert files.read(name) == "1\n3\n5\n99999\n"
    for text, shown in (("7", "7\n"), ("0", "0\n"), ("99999999", "99999999\n"), ("\n", ""), ("0x10", "16\n")):
        files.write(name, text)
        assert files.read(name) == shown
    for wrong in ("foo", "-1", "12 foo 13", "99999999999"):
        with pytest.raises(KernelError) as refused:
            files.write(name, wrong)
        assert refused.value.errno == errno.EINVAL
        assert files.read(name) == ""


def test_children_are_followed_with_event_fork(files: Files, driver: Driver) -> None:
    record = (ctypes.c_uint8 * 64)()
    address = ctypes.addressof(record)
    buffer = files.tracefs.context.buffer.address

    def fork(parent: int, child: int) -> None:
        put32(address + 24, parent)
        put32(address + 44, child)
        pid_forks(driver.env, address, buffer)

    files.write("set_event_pid", "100")
    fork(100, 101)
    fork(101, 4194303)
    fork(7, 8)
    assert files.read("set_event_pid") == "100\n101\n4194303\n"
    put32(address + 24, 101)
    pid_exits(driver.env, address, buffer)
    assert files.read("set_event_pid") == "100\n4194303\n"
    for on in (1, 0, 1):
        files.write("options/event-fork", str(on))
        wanted = {"sched:sched_process_fork", "sched:sched_process_exit"} if on else set()
        assert files.machine.probes.armed == wanted


def test_whose_hits_are_recorded(files: Files, driver: Driver) -> None:
    files.write("kprobe_events", "p:a ksys_read\n")
    files.write("events/kprobes/a/enable", "1")

    def recorded() -> bool:
        files.write("trace", "")
        driver.call("read", 0, 0, 0)
        return bool(files.lines())

    assert recorded()
    files.write("set_event_pid", f"{driver.tid + 1}")
    assert not recorded()
    files.append("set_event_pid", f"{driver.tid}")
    assert recorded()
    files.write("set_event_notrace_pid", f"{driver.tid}")
    assert not recorded()
    files.write("set_event_notrace_pid", "")
    files.write("set_event_pid", "")
    assert recorded()
