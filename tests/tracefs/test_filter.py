"""Filters: accepted and refused forms, what they show, and what they let pass (golden 06)."""

import ctypes
import errno
import fnmatch
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import KernelError
from engine.probes.driver import Driver
from tests.tracefs.conftest import Files
from tests.tracefs.golden import GOLDEN
from tracefs.filter_match import glob_match

PROBE = (
    "p:a do_sys_openat2 dfd=%di:s32 uptr=%si name=+0(%si):ustring flags=+0(%dx):x64 b=%di:u8 "
    "arr=+0(%dx):u8[2] fn=%ip:symbol task=$comm bf=%di:b4@4/32 symstr=%ip:symstr\n"
)
ERRORS = {
    "": 0,
    "Invalid argument": errno.EINVAL,
    "Operation not permitted": errno.EPERM,
    "No such file or directory": errno.ENOENT,
    "No such process": errno.ESRCH,
}
TEXT = (GOLDEN / "06-filter.txt").read_text(encoding="latin-1")
FORMS = re.findall(
    r"^> (.*)\n  rc=\d (.*)\n((?:  =.*\n)+)((?:--- error_log:\n(?:\[.*\n|  .*\n)+)?)", TEXT, re.M
)
SELECTS = re.findall(r"^> (.*)\n  write rc=0; passed: (.*)$", TEXT, re.M)
OPENED = (b"/etc/passwd", b"/etc/group", b"/nosuch")


@pytest.fixture
def event(files: Files) -> Files:
    """The event of the transcript."""
    files.write("kprobe_events", PROBE)
    return files


def test_format_is_the_transcripts(event: Files) -> None:
    shown = event.read("events/kprobes/a/format")
    for line in re.findall(r"^\| (\tfield.*|print fmt.*)$", TEXT[: TEXT.index("# accepted")], re.M):
        assert line in shown


@pytest.mark.parametrize(("form", "message", "shown", "log"), FORMS, ids=[form[0] for form in FORMS])
def test_form(event: Files, form: str, message: str, shown: str, log: str) -> None:
    """Same errno, same content of the file, same error_log."""
    error = 0
    with event.open("events/kprobes/a/filter", os.O_WRONLY) as handle:
        try:
            handle.write(0, form.encode() + b"\n")
        except KernelError as refused:
            error = refused.errno
    assert error == ERRORS[message.strip()]
    expected = "".join(line[4:] + "\n" for line in shown.splitlines())
    assert event.read("events/kprobes/a/filter") == expected
    logged = re.sub(r"^\[ *\d+\.\d+\]", "[TIME]", event.read("error_log"))
    assert logged == log.removeprefix("--- error_log:\n")


def passed(event: Files, driver: Driver) -> list[str]:
    """Names of the opens that are recorded."""
    event.write("trace", "")
    for name in OPENED:
        text = ctypes.create_string_buffer(name)
        driver.call("openat", -100 & 0xFFFFFFFF, ctypes.addressof(text), 0, 0)
    return re.findall(r' name="(.*?)"', event.read("trace"))


def test_filters_select(event: Files, driver: Driver) -> None:
    """Every verdict of the transcript."""
    event.write("events/kprobes/a/enable", "1")
    for form, names in SELECTS:
        event.write("events/kprobes/a/filter", f'({form}) && comm == "trig"')
        assert passed(event, driver) == names.split(), form
    assert len(SELECTS) > 40


def test_a_refused_filter_removes_the_one_before(event: Files, driver: Driver) -> None:
    event.write("events/kprobes/a/enable", "1")
    event.write("events/kprobes/a/filter", 'name == "/etc/group"')
    assert passed(event, driver) == ["/etc/group"]
    with pytest.raises(KernelError):
        event.write("events/kprobes/a/filter", "nosuch == 1")
    assert len(passed(event, driver)) == 3
    event.write("events/kprobes/a/filter", " 0 ")
    assert event.read("events/kprobes/a/filter") == "none\n"


def test_sizes(event: Files) -> None:
    for text in ("x" * 4095, "x" * 4096, "dfd == 1" + " || dfd == 2" * 400):
        with pytest.raises(KernelError) as refused:
            event.write("events/kprobes/a/filter", text)
        assert refused.value.errno == errno.EINVAL
    deep = "(" * 40 + "dfd == 1" + ")" * 40
    event.write("events/kprobes/a/filter", deep)
    assert event.read("events/kprobes/a/filter") == deep + "\n"


def test_group_filter(event: Files) -> None:
    event.append("kprobe_events", "p:b vfs_read x=%di\n")
    group, a, b = "events/kprobes/filter", "events/kprobes/a/filter", "events/kprobes/b/filter"
    assert event.read(group).startswith("### global filter ###\n")
    event.write(group, "dfd == 5\n")
    complaint = "\n^\nparse_error: Couldn't find or set field in one of a subsystem's events\n\n"
    assert (event.read(a), event.read(b)) == ("dfd == 5\n", "dfd == 5" + complaint)
    event.write(group, "common_pid == 5\n")
    assert event.read(a) == event.read(b) == "common_pid == 5\n"
    event.write(group, "nosuch == 5\n")
    assert event.read(a) == event.read(b) == "nosuch == 5" + complaint
    event.write(group, "0\n")
    assert event.read(a) == event.read(b) == "none\n"


def test_an_event_with_a_filter_can_be_removed(event: Files) -> None:
    event.write("events/kprobes/a/filter", "dfd > 5")
    event.append("kprobe_events", "-:a\n")
    assert event.read("kprobe_events") == ""


@given(st.text("ab*?[]x", max_size=8), st.text("abx", max_size=8))
def test_glob_agrees_with_fnmatch(pattern: str, text: str) -> None:
    """Where both give brackets the same meaning."""
    if "[" in pattern or "]" in pattern:
        pattern = pattern.replace("[", "").replace("]", "")
    p, t = ctypes.create_string_buffer(pattern.encode()), ctypes.create_string_buffer(text.encode())
    got = glob_match(ctypes.addressof(p), len(pattern), ctypes.addressof(t), len(text))
    assert bool(got) == fnmatch.fnmatchcase(text, pattern)
