"""Events of tracepoints: format files, lines, filters on strings of all kinds."""

import ctypes
import re

import pytest

from engine.kernel.tracepoints import tracepoints
from engine.probes.driver import Driver
from tests.tracefs.conftest import Files

OPENAT = "events/syscalls/sys_enter_openat"


@pytest.fixture
def opened(files: Files, driver: Driver) -> ctypes.Array[ctypes.c_char]:
    """A file name for openat."""
    return ctypes.create_string_buffer(b"/etc/hosts")


def texts(files: Files) -> list[str]:
    """What follows the time stamps."""
    return [line.split(": ", 1)[1] for line in files.lines()]


def test_every_tracepoint_has_an_event(files: Files) -> None:
    listed = files.read("available_events").split()
    assert set(tracepoints()) | {"bpf_trace:bpf_trace_printk"} == set(listed)
    assert {"raw_syscalls", "syscalls", "sched", "task"} <= set(files.names("events"))
    assert files.names("events/raw_syscalls") == ["enable", "filter", "sys_enter", "sys_exit"]
    numbers = [int(files.read(f"events/{event.replace(':', '/')}/id")) for event in listed[:50]]
    assert len(set(numbers)) == 50


def test_format_of_a_system_call(files: Files) -> None:
    text = files.read(f"{OPENAT}/format")
    assert text.startswith("name: sys_enter_openat\nID: ")
    assert "\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n" in text
    assert "\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;\n" in text
    raw = files.read("events/raw_syscalls/sys_enter/format")
    assert "\tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;\n" in raw


def test_lines_of_system_calls(files: Files, driver: Driver, opened: ctypes.Array[ctypes.c_char]) -> None:
    files.write("events/syscalls/sys_enter_openat/enable", "1")
    files.write("events/syscalls/sys_exit_openat/enable", "1")
    files.write("events/raw_syscalls/enable", "1")
    address = ctypes.addressof(opened)
    driver.call("openat", 0xFFFFFF9C, address, 0x80000, 0, result=3)
    lines = sorted(texts(files))
    assert lines == sorted(
        [
            f"sys_enter: NR 257 (ffffff9c, {address:x}, 80000, 0, 0, 0)",
            f"sys_openat(dfd: ffffff9c, filename: {address:x}, flags: 80000, mode: 0)",
            "sys_exit: NR 257 = 3",
            "sys_openat -> 0x3",
        ]
    )
    files.write("events/enable", "0")
    driver.call("openat", 0, address, 0, 0)
    assert len(files.lines()) == 4


def test_filters_on_strings(files: Files, driver: Driver, opened: ctypes.Array[ctypes.c_char]) -> None:
    files.write(f"{OPENAT}/enable", "1")
    for form, passes in (
        ('filename == "/etc/hosts"', True),
        ('filename ~ "*passwd"', False),
        ('filename.ustring ~ "/etc/*" && flags == 0', True),
        ("filename != 0", True),
        ('comm == "trig" && __syscall_nr == 257', True),
    ):
        files.write("trace", "")
        files.write(f"{OPENAT}/filter", form)
        driver.call("openat", 0, ctypes.addressof(opened), 0, 0)
        assert bool(files.lines()) == passes, form


def test_all_events_can_be_enabled_at_once(files: Files, driver: Driver) -> None:
    files.write("events/enable", "1")
    assert files.read("events/enable") == files.read("events/syscalls/enable") == "1\n"
    driver.call("getppid")
    assert [re.sub(r"\(.*", "", text) for text in texts(files)] == [
        "sys_enter: NR 110 ",
        "sys_getppid",
        "sys_exit: NR 110 = 0",
        "sys_getppid -> 0x0",
    ]
    files.write("events/enable", "0")
    assert files.read("set_event") == ""
