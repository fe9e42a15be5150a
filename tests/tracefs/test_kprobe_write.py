"""kprobe_events: writing, deleting, truncating (golden 02)."""

import errno
import os

import pytest

from engine.errors import KernelError
from tests.tracefs.conftest import Files


def fails(files: Files, text: str) -> int:
    """The errno of appending `text`; 0 if it is taken."""
    try:
        files.append("kprobe_events", text)
    except KernelError as error:
        return error.errno
    return 0


def events(files: Files) -> list[str]:
    """kprobe_events without what all lines have."""
    return files.read("kprobe_events").splitlines()


def test_truncating_clears_and_appending_keeps(files: Files) -> None:
    files.write("kprobe_events", "p:a vfs_read\n")
    files.append("kprobe_events", "p:b vfs_write")
    assert events(files) == ["p:kprobes/a vfs_read", "p:kprobes/b vfs_write"]
    with files.open("kprobe_events", os.O_RDONLY | os.O_TRUNC) as handle:
        assert handle.read(0, 8) == b"p:kprobe"
    assert len(events(files)) == 2
    files.write("kprobe_events", "p:c vfs_open\n")
    assert events(files) == ["p:kprobes/c vfs_open"]
    files.write("kprobe_events", "")
    assert events(files) == []


def test_comments_and_blank_lines(files: Files) -> None:
    text = "# comment\n\np:a vfs_read\n   \n# x\np:b vfs_write # trailing\n#p:c vfs_open\n"
    assert fails(files, text) == 0
    assert events(files) == ["p:kprobes/a vfs_read", "p:kprobes/b vfs_write"]
    assert fails(files, "p:d#x vfs_open\n") == errno.EINVAL
    assert fails(files, "p:h vfs_open\r\n") == 0
    assert fails(files, "p:f vfs_open\0p:g vfs_open\n") == errno.EINVAL
    for blank in ("\n", "\n\n", "   \n", "\t\n", " ", "#\n"):
        assert fails(files, blank) == 0


def test_lines_before_the_bad_one_stay(files: Files) -> None:
    assert fails(files, "p:g1 vfs_read\np:g2 nosuchsym\np:g3 vfs_open\n") == errno.ENOENT
    assert events(files) == ["p:kprobes/g1 vfs_read"]
    assert "Command: p:g2 nosuchsym\n                ^\n" in files.read("error_log")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("p:pad vfs_read #" + "x" * 4078 + "\n", 0),
        ("p:pad vfs_read #" + "x" * 4079 + "\n", errno.EINVAL),
        ("p:pad vfs_read" + " " * 4080 + "\n", 0),
        ("p:pad vfs_read" + " " * 4081 + "\n", errno.EINVAL),
        ("#" + "x" * 4093 + "\np:after vfs_read\n", 0),
        ("#" + "x" * 4094 + "\np:after vfs_read\n", errno.EINVAL),
        ("x" * 4094, errno.EINVAL),
        ("x" * 100000, errno.EINVAL),
    ],
)
def test_longest_line(files: Files, text: str, error: int) -> None:
    assert fails(files, text) == error
    assert len(events(files)) == (0 if error else 1)


def test_many_lines_in_one_write(files: Files) -> None:
    text = "".join(f"p:ev{i} vfs_read a=%ax b=%bx\n" for i in range(1, 201))
    assert fails(files, text) == 0
    assert len(events(files)) == 200
    assert events(files)[-1] == "p:kprobes/ev200 vfs_read a=%ax b=%bx"


def test_at_most_128_arguments(files: Files) -> None:
    files.write("kprobe_events", "p:m vfs_read" + "".join(f" a{i}=%di" for i in range(1, 130)) + "\n")
    assert events(files)[0].endswith(" a127=%di a128=%di")


def test_deleting(files: Files) -> None:
    files.write("kprobe_events", "p:a vfs_read\np:b vfs_write\np:g/a vfs_open\nr:c vfs_read\np:p5 vfs_read\n")
    assert fails(files, "-:b\n") == 0
    assert fails(files, "-:nosuch\n") == errno.ENOENT
    assert fails(files, "-:a\n") == 0
    assert events(files) == ["r10:kprobes/c vfs_read", "p:kprobes/p5 vfs_read"]
    assert fails(files, "p:a vfs_read\np:g/a vfs_open\n") == 0
    assert fails(files, "-:g/a\n") == 0
    assert fails(files, "-:g/\n") == errno.ENOENT
    assert fails(files, "p:g/a vfs_open\np:g/b vfs_open\n") == 0
    assert fails(files, "-:g/\n") == 0
    wrong = ["-:/c", "-:c vfs_write", "-:c vfs_read extra", "-:a/b/c", "-:1b", "-:* "]
    assert [fails(files, line) for line in wrong] == [errno.ENOENT] * len(wrong)
    bad = ["-", "-:", "- a", "-p:a vfs_read", "-r:p5", "!p:b", "!b"]
    assert [fails(files, line) for line in bad] == [errno.EINVAL] * len(bad)
    assert fails(files, "-:c vfs_read\n") == 0
    assert fails(files, "p:x vfs_read\n-:x\np:y vfs_read\n") == 0
    assert events(files)[-1] == "p:kprobes/y vfs_read"


def test_an_enabled_event_is_busy(files: Files) -> None:
    files.write("kprobe_events", "p:a vfs_read\np:b vfs_write\n")
    files.write("events/kprobes/a/enable", "1\n")
    assert fails(files, "-:a\n") == errno.EBUSY
    with pytest.raises(KernelError) as refused:
        files.write("kprobe_events", "p:z vfs_open\n")
    assert refused.value.errno == errno.EBUSY
    assert len(events(files)) == 2
    assert fails(files, "-:b\n") == 0
    assert fails(files, "p:a vfs_write\n") == 0
    assert fails(files, "-:a vfs_read\n") == 0
    assert fails(files, "-:a\n") == errno.EBUSY
    files.write("events/kprobes/a/enable", "0\n")
    files.write("kprobe_events", "")
    assert "kprobes" not in files.names("events")


def test_several_probes_of_one_event(files: Files) -> None:
    assert fails(files, "p:a vfs_read\n") == 0
    assert fails(files, "p:a vfs_read\n") == errno.EEXIST
    assert fails(files, "p:a vfs_read+0\n") == errno.EEXIST
    assert fails(files, "p:a vfs_write\n") == 0
    assert fails(files, "r:a vfs_read\n") == errno.EEXIST
    assert fails(files, "p:a vfs_write x=%di\n") == errno.EEXIST
    log = files.read("error_log").splitlines()
    assert log[-2:] == ["  Command: p:a vfs_write x=%di", "                         ^"]
    assert fails(files, "p:b vfs_read arg1=%di\np:b vfs_write %di\np:b vfs_write %si\n") == 0
    assert fails(files, "p:b vfs_write %di:u32\n") == errno.EEXIST
    assert fails(files, "p:b vfs_read %di\n") == errno.EEXIST
    assert len(events(files)) == 5
    assert files.read("kprobe_profile").count("  b   ") == 3
    assert fails(files, "p:ftrace/print vfs_read\n") == errno.EEXIST
    assert "Given group/event name is already used by another event" in files.read("error_log")


def test_ids_are_not_used_again_at_once(files: Files) -> None:
    seen = []
    for name in ("m1", "m2", "m1"):
        files.write("kprobe_events", f"p:{name} vfs_read\n")
        seen.append(int(files.read(f"events/kprobes/{name}/id")))
    assert seen == [seen[0], seen[0] + 1, seen[0] + 2]


def test_removing_an_event_that_was_enabled_clears_the_buffer(files: Files) -> None:
    files.append("trace_marker", "m")
    files.write("kprobe_events", "p:a vfs_read\np:b vfs_read\n")
    files.append("kprobe_events", "-:a\n")
    assert len(files.lines()) == 1
    files.write("events/kprobes/b/enable", "1")
    files.write("events/kprobes/b/enable", "0")
    assert len(files.lines()) == 1
    files.append("kprobe_events", "-:b\n")
    assert files.lines() == []


def test_dynamic_events_is_the_same_list(files: Files) -> None:
    files.append("dynamic_events", "p:dyn/a vfs_read x=%di\n")
    files.append("kprobe_events", "r4:b vfs_read\n")
    assert files.read("dynamic_events") == "p:dyn/a vfs_read x=%di\nr4:kprobes/b vfs_read\n"
    files.append("dynamic_events", "-:dyn/a\n")
    for wrong, error in (("-:nosuch", errno.ENOENT), ("q:foo", errno.EINVAL), ("foo", errno.EINVAL)):
        with pytest.raises(KernelError) as refused:
            files.append("dynamic_events", wrong)
        assert refused.value.errno == error


def test_error_log_keeps_eight(files: Files) -> None:
    for i in range(1, 13):
        fails(files, f"p:ev{i} nosuchsym\n")
    log = files.read("error_log").splitlines()
    assert log[1::3] == [f"  Command: p:ev{i} nosuchsym" for i in range(5, 13)]
    files.append("error_log", "foo")
    assert files.read("error_log").count("error:") == 8
    files.write("error_log", "")
    assert files.read("error_log") == ""
    fails(files, "p:a\tnosuchsym  extra   args\n")
    assert files.read("error_log").endswith("  Command: p:a nosuchsym extra args\n               ^\n")
