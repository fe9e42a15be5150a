"""set_event_pid and set_event_notrace_pid (golden 05)."""

import errno

import pytest

from engine.errors import KernelError
from engine.probes.driver import Driver
from tests.tracefs.conftest import Files


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
