"""events/: enable of events and groups, format, id, set_event (golden 05)."""

import errno
import os

import pytest

from engine.errors import KernelError
from engine.probes.driver import Driver
from tests.tracefs.conftest import CALLER, Files


def store(files: Files, path: str, text: str) -> int:
    """The errno of writing `text`; 0 if it is taken."""
    try:
        files.write(path, text)
    except KernelError as error:
        return error.errno
    return 0


@pytest.fixture
def abc(files: Files) -> Files:
    """Events a and b of group kprobes, c of group g."""
    files.write(
        "kprobe_events",
        "p:a do_sys_openat2 dfd=%di:s32 name=+0(%si):ustring\n"
        "r:b do_sys_openat2 fd=$retval:s32\np:g/c vfs_open\n",
    )
    return files


def test_tree(abc: Files) -> None:
    assert {"g", "kprobes", "ftrace", "bpf_trace", "enable", "header_page", "header_event"} <= set(
        abc.names("events")
    )
    assert {"a", "b", "enable"} <= set(abc.names("events/kprobes"))
    assert {"enable", "format", "id"} <= set(abc.names("events/kprobes/a"))
    assert abc.names("events/ftrace/print") == ["format", "id"]
    assert abc.node("events/kprobes").mode == 0o40750
    assert abc.node("events/kprobes/a/enable").mode == 0o100640
    assert abc.node("events/kprobes/a/id").mode == 0o100440
    assert abc.node("events/kprobes/a") is abc.node("events/kprobes/a")


@pytest.mark.parametrize("text", ["1", "01", "+1", "1\n", "0", "00", "0" * 62])
def test_enable_takes(abc: Files, text: str) -> None:
    assert store(abc, "events/kprobes/a/enable", text) == 0
    assert abc.read("events/kprobes/a/enable") == f"{int(text)}\n"


@pytest.mark.parametrize(
    "text", ["2", "-1", "", " ", "y", "on", "0x1", "1 ", " 1", "1x", "10", "1.0", "1 0", "1\n0\n", "\n"]
)
@pytest.mark.parametrize("path", ["events/kprobes/a/enable", "events/kprobes/enable", "events/enable"])
def test_enable_refuses(abc: Files, path: str, text: str) -> None:
    with abc.open(path, os.O_WRONLY) as handle, pytest.raises(KernelError) as refused:
        handle.write(0, text.encode())
    assert refused.value.errno == errno.EINVAL


def test_a_number_out_of_range(abc: Files) -> None:
    assert store(abc, "events/kprobes/a/enable", "99999999999999999999") == errno.ERANGE


def test_group_enable(abc: Files) -> None:
    group = "events/kprobes/enable"
    assert abc.read(group) == "0\n"
    abc.write("events/kprobes/a/enable", "1")
    assert abc.read(group) == "X\n"
    abc.write("events/kprobes/b/enable", "1")
    assert abc.read(group) == "1\n"
    abc.append("kprobe_events", "p:new vfs_read\n")
    assert abc.read(group) == "X\n"
    abc.write(group, "0")
    assert abc.read("events/kprobes/a/enable") == "0\n"
    abc.write("events/enable", "1")
    assert abc.read("events/enable") == abc.read("events/g/c/enable") == "1\n"


def test_an_event_that_is_gone(abc: Files) -> None:
    with (
        abc.open("events/kprobes/a/enable", os.O_WRONLY) as enable,
        abc.open("events/kprobes/a/id") as number,
    ):
        directory = abc.directory("events/kprobes/a")
        abc.append("kprobe_events", "-:a\n")
        with pytest.raises(KernelError) as gone:
            enable.write(0, b"1")
        assert gone.value.errno == errno.ENODEV
        with pytest.raises(KernelError):
            number.read(0, 10)
        assert list(directory.entries()) == []
    with pytest.raises(KernelError):
        abc.directory("events/kprobes").lookup("a", CALLER)


def test_names_that_files_have_are_not_shown(files: Files) -> None:
    files.write("kprobe_events", "p:kprobes/enable vfs_read\np:header_page/foo vfs_read\n")
    assert files.node("events/kprobes/enable").mode == 0o100640
    assert files.node("events/header_page").mode == 0o100440
    files.write("events/kprobes/enable", "1")
    assert files.read("set_event") == "kprobes:enable\n"


def test_profile_counts_hits_even_when_nothing_is_recorded(abc: Files, driver: Driver) -> None:
    abc.write("events/kprobes/enable", "1")
    abc.write("tracing_on", "0")
    driver.call("openat", 0, 0, 0, 0, result=-2)
    assert abc.lines() == []
    rows = [line.split() for line in abc.read("kprobe_profile").splitlines()]
    assert rows == [["a", "1", "0"], ["b", "1", "0"], ["c", "0", "0"]]
    assert abc.read("kprobe_profile").splitlines()[0] == "  a" + " " * 58 + "1" + " " * 15 + "0"


def test_set_event(abc: Files) -> None:
    def after(text: str) -> list[str]:
        abc.write("set_event", text)
        return abc.read("set_event").split()

    assert after("kprobes:a\n") == ["kprobes:a"]
    abc.append("set_event", "kprobes:b\n")
    assert abc.read("set_event").split() == ["kprobes:b", "kprobes:a"]
    for both in ("kprobes:*\n", "kprobes\n", "kprobes:\n"):
        assert after(both) == ["kprobes:b", "kprobes:a"]
    for one in ("a\n", ":a\n"):
        assert after(one) == ["kprobes:a"]
    assert after("*:c\n") == ["g:c"]
    assert after("kprobes:a g:c\n") == ["g:c", "kprobes:a"]
    assert after("\n") == []
    for wrong in ("kprobes:nosuch\n", "nosuch:a\n", "nosuch\n", "!nosuch\n", "#kprobes:b\n"):
        assert store(abc, "set_event", wrong) == errno.EINVAL
        assert abc.read("set_event") == ""
    assert store(abc, "set_event", "kprobes:a\n") == 0
    abc.append("set_event", "!kprobes:a\n")
    assert abc.read("set_event") == ""
    with abc.open("set_event", os.O_WRONLY) as handle:
        assert handle.write(0, b"kprobes:a\nnosuch:x\ng:c\n") == 10
    assert abc.read("set_event") == "kprobes:a\n"
    listed = abc.read("available_events").split()
    assert listed[:3] == ["g:c", "kprobes:b", "kprobes:a"]
    assert "ftrace:print" not in listed
