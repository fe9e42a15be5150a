"""Triggers: accepted and refused forms, and what they do (golden 07)."""

import ctypes
import errno
import os
import re

import pytest

from engine.errors import KernelError
from engine.probes.driver import Driver
from tests.tracefs.conftest import Files
from tests.tracefs.golden import GOLDEN

ERRORS = {
    "": 0,
    "Invalid argument": errno.EINVAL,
    "File exists": errno.EEXIST,
    "No such file or directory": errno.ENOENT,
}
TEXT = (GOLDEN / "07-trigger.txt").read_text(encoding="latin-1")
FORMS = re.findall(r"^> (.*)\n  rc=\d (.*)\n((?:  =.*\n)+)", TEXT, re.M)
NOT_BUILT = re.compile(r"stacktrace|snapshot|hist")
A, B = "events/kprobes/a", "events/kprobes/b"
AVAILABLE = "# Available triggers:\n# traceon traceoff enable_event disable_event\n"


@pytest.fixture
def event(files: Files) -> Files:
    """Events a and b."""
    files.write("kprobe_events", "p:a do_sys_openat2 dfd=%di:s32 name=+0(%si):ustring\np:b vfs_open\n")
    return files


def store(files: Files, text: str) -> int:
    """The errno of writing to a's trigger; 0 if it is taken."""
    with files.open(f"{A}/trigger", os.O_WRONLY) as handle:
        try:
            handle.write(0, text.encode())
        except KernelError as refused:
            return refused.errno
    return 0


def test_forms(event: Files) -> None:
    """The transcript's writes in their order, without the triggers that are not built.

    In its first part the kernel's transcript removed each trigger before the next.
    """
    checked = 0
    alone = len(re.findall(r"^> ", TEXT[: TEXT.index("# removal")], re.M))
    for number, (form, message, answer) in enumerate(FORMS):
        if NOT_BUILT.search(form):
            continue
        if number < alone:
            event.tracefs.triggers.remove_all()
        assert store(event, form + "\n") == ERRORS[message.strip()], form
        shown = [line[4:] + "\n" for line in answer.splitlines() if not NOT_BUILT.search(line)]
        expected = AVAILABLE if "Available" in answer else "".join(shown)
        assert event.read(f"{A}/trigger") == expected, form
        checked += 1
    assert checked > 45


def test_enable_shows_soft_mode(event: Files) -> None:
    assert store(event, "traceoff:5 if dfd == 12345") == 0
    assert (event.read(f"{A}/enable"), event.read("events/kprobes/enable")) == ("0*\n", "X\n")
    event.write(f"{A}/enable", "1")
    assert (event.read(f"{A}/enable"), event.read("events/kprobes/enable")) == ("1*\n", "X\n")
    event.write(f"{A}/enable", "0")
    assert event.read(f"{A}/enable") == "0*\n"
    with pytest.raises(KernelError) as refused:
        event.append("kprobe_events", "-:a\n")
    assert refused.value.errno == errno.EBUSY
    assert store(event, "!traceoff") == 0
    assert event.read(f"{A}/enable") == "0\n"
    event.append("kprobe_events", "-:a\n")


class Opener:
    """Opens files in a synthetic thread and tells what was recorded of it."""

    def __init__(self, files: Files, driver: Driver) -> None:
        self.files, self.driver = files, driver

    def open(self, *names: bytes) -> list[str]:
        """What `trace` says after the time stamps, after clearing it and opening `names`."""
        self.files.write("trace", "")
        for name in names:
            text = ctypes.create_string_buffer(name)
            self.driver.call("openat", -100 & 0xFFFFFFFF, ctypes.addressof(text), 0, 0, result=-2)
        return [line.split(": ", 1)[1] for line in self.files.lines()]


@pytest.fixture
def opener(event: Files, driver: Driver) -> Opener:
    """An opener with events a and b."""
    return Opener(event, driver)


def line(name: str) -> str:
    """What event a says of an open."""
    return f'a: (do_sys_openat2+0x0/0x170) dfd=-100 name="{name}"'


def test_traceoff_records_the_hit_that_switches_off(event: Files, opener: Opener) -> None:
    event.write(f"{A}/enable", "1")
    assert store(event, 'traceoff:1 if name == "/one"') == 0
    assert opener.open(b"/zero", b"/one", b"/two") == [line("/zero"), line("/one")]
    assert event.read("tracing_on") == "0\n"
    assert event.read(f"{A}/trigger") == 'traceoff:count=0 if name == "/one"\n'
    event.write("tracing_on", "1")
    assert len(opener.open(b"/one")) == 1
    assert event.read("tracing_on") == "1\n"


def test_traceon_records_from_the_next_hit(event: Files, opener: Opener) -> None:
    event.write("tracing_on", "0")
    event.write(f"{A}/enable", "1")
    assert store(event, 'traceon:1 if name == "/on"') == 0
    assert opener.open(b"/one", b"/on", b"/two") == [line("/two")]
    assert event.read(f"{A}/trigger") == 'traceon:count=0 if name == "/on"\n'


def test_a_trigger_of_a_disabled_event_acts_and_records_nothing(event: Files, opener: Opener) -> None:
    assert store(event, 'traceoff if name == "/one"') == 0
    assert opener.open(b"/zero", b"/one") == []
    assert event.read("tracing_on") == "0\n"


def test_enable_event(event: Files, opener: Opener) -> None:
    assert store(event, 'enable_event:kprobes:b:1 if name == "/etc/passwd"') == 0
    assert event.read(f"{B}/enable") == "0*\n"
    event.write(f"{A}/enable", "1")
    assert opener.open(b"/etc/group", b"/etc/passwd") == [line("/etc/group"), line("/etc/passwd")]
    assert event.read(f"{B}/enable") == "1*\n"
    assert event.read(f"{A}/trigger") == 'enable_event:kprobes:b:count=0 if name == "/etc/passwd"\n'
    assert store(event, "!enable_event:kprobes:b") == 0
    assert event.read(f"{B}/enable") == "1\n"


def test_disable_event(event: Files, opener: Opener) -> None:
    event.write(f"{B}/enable", "1")
    assert store(event, 'disable_event:kprobes:b if name == "/etc/group"') == 0
    assert event.read(f"{B}/enable") == "1*\n"
    opener.open(b"/etc/passwd", b"/etc/group")
    assert event.read(f"{B}/enable") == "0*\n"
    assert store(event, "!disable_event:kprobes:b") == 0
    assert event.read(f"{B}/enable") == "0\n"


def test_writes_of_several_lines_and_long_ones(event: Files) -> None:
    assert store(event, "traceon\ntraceoff\n") == errno.EINVAL
    assert store(event, "x" * 4095) == store(event, "x" * 9000) == errno.EINVAL
    assert store(event, "traceon") == 0
    event.write(f"{A}/trigger", "")
    assert event.read(f"{A}/trigger") == "traceon:unlimited\n"
