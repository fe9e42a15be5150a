"""Markers, sizes, clocks, masks, names: the small files (golden 09)."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import KernelError
from engine.probes.driver import Driver
from tests.tracefs.conftest import Files


def store(files: Files, path: str, text: str) -> int:
    """The errno of writing `text`; 0 if it is taken."""
    with files.open(path, os.O_WRONLY) as handle:
        try:
            handle.write(0, text.encode())
        except KernelError as error:
            return error.errno
    return 0


def texts(files: Files) -> list[str]:
    """What follows the time stamps of `trace`."""
    return [line.split(": ", 1)[1] for line in files.lines()]


def test_marker_lines(files: Files) -> None:
    with files.open("trace_marker", os.O_WRONLY) as marker:
        assert not marker.seekable
        sizes = [marker.write(0, data) for data in (b"abc", b"def\n", b"", b"\n", b"tab\t%d \x01")]
        assert sizes == [3, 4, 0, 1, 8]
        with pytest.raises(KernelError):
            marker.read(0, 1)
    mark = "tracing_mark_write: "
    assert texts(files) == [mark + "abc", mark + "def", mark, mark + "tab\t%d \x01"]
    comm = Path("/proc/self/comm").read_text().strip()
    assert files.lines()[0].startswith(f"{comm:>16}-{os.getpid():<7} [")


def test_a_nul_ends_a_marker_without_newline(files: Files) -> None:
    files.append("trace_marker", "x\0y\n")
    assert files.read("trace").endswith(": tracing_mark_write: x")


def test_marker_sizes(files: Files) -> None:
    files.write("buffer_size_kb", "100")
    with files.open("trace_marker", os.O_WRONLY) as marker:
        assert [marker.write(0, b"y" * n) for n in (1, 1023, 1024, 1025, 10000)] == [
            1,
            1023,
            1024,
            1024,
            1024,
        ]
    assert [text.count("y") for text in texts(files)] == [1, 1023, 1024, 1024, 1024]


def test_markers_can_be_off(files: Files) -> None:
    files.write("tracing_on", "0")
    assert store(files, "trace_marker", "abc") == errno.EBADF
    files.write("tracing_on", "1")
    files.write("options/markers", "0")
    assert store(files, "trace_marker", "abc") == errno.EINVAL
    assert store(files, "trace_marker_raw", "abcdefgh") == errno.EINVAL
    assert files.lines() == []


def test_raw_markers(files: Files) -> None:
    with files.open("trace_marker_raw", os.O_WRONLY) as marker:
        assert marker.write(0, b"\x01\0\0\0ABCDEFGH") == 12
        assert marker.write(0, b"abcd") == 4
        assert marker.write(0, b"z" * 3000) == 1024
        for wrong in (b"abc", b"", b"z" * 3073):
            with pytest.raises(KernelError) as refused:
                marker.write(0, wrong)
            assert refused.value.errno == errno.EINVAL
    assert texts(files)[:2] == ["# 1 buf: 41 42 43 44 45 46 47 48", "# 64636261 buf:"]


@pytest.mark.parametrize("text", ["1", "2", "00", "0", "0" * 63])
def test_tracing_on_takes(files: Files, text: str) -> None:
    assert store(files, "tracing_on", text) == 0
    assert files.read("tracing_on") == f"{int(bool(int(text)))}\n"


@pytest.mark.parametrize("text", ["-1", "y", "on", "", "x", "1 ", "0x0"])
def test_tracing_on_refuses(files: Files, text: str) -> None:
    assert store(files, "tracing_on", text) == errno.EINVAL
    assert store(files, "tracing_on", "1" * 64) == errno.ERANGE


def test_buffer_sizes(files: Files) -> None:
    assert files.read("buffer_size_kb") == "7 (expanded: 1408)\n"
    assert files.read("buffer_total_size_kb") == "14 (expanded: 2816)\n"
    for text, shown in (("64", 67), ("1", 7), ("7", 7), ("8", 11), ("100", 103), ("1000", 1000), ("010", 11)):
        assert store(files, "buffer_size_kb", text) == 0
        assert files.read("buffer_size_kb") == f"{shown}\n"
        assert files.read("buffer_total_size_kb") == f"{2 * shown}\n"
    for text in ("0", "-1", "x", "", "10k", "0x20", "1.5", "64 ", " 64"):
        assert store(files, "buffer_size_kb", text) == errno.EINVAL
    assert store(files, "buffer_size_kb", "99999999999999999999") == errno.ERANGE
    assert store(files, "buffer_size_kb", "9999999999") == errno.ENOMEM
    files.write("buffer_size_kb", "64")
    files.write("per_cpu/cpu0/buffer_size_kb", "128")
    assert files.read("buffer_size_kb") == "X\n"
    assert files.read("buffer_total_size_kb") == "198\n"
    assert files.read("per_cpu/cpu0/buffer_size_kb") == "131\n"
    assert files.read("per_cpu/cpu1/buffer_size_kb") == "67\n"


def test_the_buffer_grows_when_something_is_enabled(files: Files) -> None:
    files.append("trace_marker", "m")
    files.write("kprobe_events", "p:a vfs_read\n")
    files.write("events/kprobes/a/enable", "1")
    assert files.read("buffer_size_kb") == "1410\n"
    assert len(files.lines()) == 1
    files.write("buffer_size_kb", "100")
    assert len(files.lines()) == 1


def test_free_buffer(files: Files) -> None:
    files.write("buffer_size_kb", "1408")
    files.write("options/disable_on_free", "1")
    with files.open("free_buffer", os.O_WRONLY):
        assert files.read("buffer_size_kb") == "1410\n"
    assert files.read("buffer_size_kb") == "7\n"
    assert files.read("tracing_on") == "0\n"


def test_stats(files: Files) -> None:
    files.append("trace_marker", "m")
    rows = dict(
        line.split(":", 1)
        for cpu in range(2)
        for line in files.read(f"per_cpu/cpu{cpu}/stats").splitlines()
        if not line.startswith("entries: 0") or cpu == 0
    )
    assert list(rows) == [
        "entries", "overrun", "commit overrun", "bytes",
        "oldest event ts", "now ts", "dropped events", "read events",
    ]  # fmt: skip
    assert re.fullmatch(r" +\d+\.\d{6}", rows["now ts"])
    assert sum(files.tracefs.context.buffer.counters(cpu).entries for cpu in range(2)) == 1


@pytest.fixture
def on_cpu0() -> Iterator[None]:
    """Markers of this thread go to the first ring."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    if min(before) != 0:
        pytest.skip("may not run on CPU 0")
    yield
    os.sched_setaffinity(0, before)


def counters(files: Files) -> dict[str, int]:
    rows = (line.split(": ") for line in files.read("per_cpu/cpu0/stats").splitlines())
    return {name: int(value) for name, value in rows if not name.endswith(" ts")}


def test_counters_of_a_full_ring(files: Files, on_cpu0: None) -> None:
    """The numbers of golden 08 ("overrun"), padding of pages included. By this clock no time is extended."""
    files.write("trace_clock", "counter")
    files.write("per_cpu/cpu0/buffer_size_kb", "4")
    for i in range(1, 301):
        files.append("trace_marker", f"line {i}\n")
    assert counters(files) == {
        "entries": 173, "overrun": 127, "commit overrun": 0,
        "bytes": 5552, "dropped events": 0, "read events": 0,
    }  # fmt: skip
    files.write("options/overwrite", "0")
    files.write("trace", "")
    refused = sum(store(files, "trace_marker", f"line {i}\n") == errno.EBADF for i in range(1, 301))
    assert refused == 46
    assert counters(files) == {
        "entries": 254, "overrun": 0, "commit overrun": 0,
        "bytes": 8160, "dropped events": 46, "read events": 0,
    }  # fmt: skip


def test_counters_while_a_reader_lags(files: Files, on_cpu0: None) -> None:
    """Golden 08 ("events lost between two reads"); there a pause took 8 bytes of the page, now read."""
    files.write("trace_clock", "counter")
    files.write("per_cpu/cpu0/buffer_size_kb", "4")
    files.append("trace_marker", "first\n")
    with files.open("trace_pipe", os.O_RDONLY | os.O_NONBLOCK) as pipe:
        assert b"first" in pipe.read(0, 4096)
        for i in range(1, 1501):
            files.append("trace_marker", f"flood {i}\n")
        assert b"flood 1\n" in pipe.read(0, 160)
        pipe.read(0, 160)
        assert counters(files) == {
            "entries": 271, "overrun": 1226, "commit overrun": 0,
            "bytes": 9292, "dropped events": 0, "read events": 4,
        }  # fmt: skip


def test_clocks(files: Files) -> None:
    assert files.read("trace_clock") == "[local] global counter uptime perf mono mono_raw boot tai\n"
    for name, stamp in (
        ("counter", r" *1"),
        ("uptime", r" *\d+"),
        ("mono", r" *\d+\.\d{6}"),
        ("mono_raw", r" *\d+\.\d{6}"),
        ("boot", r" *\d+\.\d{6}"),
        ("tai", r"\d{10}\.\d{6}"),
    ):
        files.append("trace_marker", "before")
        assert store(files, "trace_clock", f" {name}\n") == 0
        assert f"[{name}]" in files.read("trace_clock")
        files.append("trace_marker", name)
        (line,) = files.lines()
        assert re.search(rf"\.\.\.\.\. {stamp}: tracing_mark_write: {name}$", line), line
    for wrong in ("nosuch\n", "\n", "LOCAL\n", "local global\n", "[local]\n", "l" * 64):
        assert store(files, "trace_clock", wrong) == errno.EINVAL


def test_cpumask(files: Files) -> None:
    assert files.read("tracing_cpumask") == "3\n"
    for text, shown in (("1", "1"), ("2\n", "2"), ("0", "0"), ("", "0"), ("3", "3")):
        assert store(files, "tracing_cpumask", text) == 0
        assert files.read("tracing_cpumask") == f"{shown}\n"
    for text in ("f", "ff", "1,2", "1,00000001", "10000"):
        assert store(files, "tracing_cpumask", text) == errno.EOVERFLOW
    for text in ("x", "0x3", "-1"):
        assert store(files, "tracing_cpumask", text) == errno.EINVAL
    assert files.read("tracing_cpumask") == "3\n"
    files.write("tracing_cpumask", "0")
    assert store(files, "trace_marker", "m") == errno.EBADF


def test_saved_cmdlines(files: Files, driver: Driver) -> None:
    assert files.read("saved_cmdlines_size") == "6552\n"
    for text, error in (
        ("256", 0),
        ("0", errno.EINVAL),
        ("1", 0),
        ("x", errno.EINVAL),
        ("99999999", errno.EINVAL),
    ):
        assert store(files, "saved_cmdlines_size", text) == error
        assert files.read("saved_cmdlines_size") == "6552\n"
    files.write("kprobe_events", "p:a ksys_read\n")
    files.write("events/kprobes/a/enable", "1")
    files.write("options/record-cmd", "0")
    driver.call("read", 0, 0, 0)
    assert files.lines()[0].startswith("           <...>-")
    files.write("options/record-cmd", "1")
    driver.call("read", 0, 0, 0)
    assert files.read("saved_cmdlines") == f"{driver.tid} trig\n"
    assert files.lines()[0].startswith("            trig-")
    driver.rename("other")
    driver.call("read", 0, 0, 0)
    assert files.lines()[0].startswith("           other-")


def test_saved_tgids(files: Files, driver: Driver) -> None:
    files.write("kprobe_events", "p:a ksys_read\n")
    files.write("events/kprobes/a/enable", "1")
    driver.call("read", 0, 0, 0)
    assert files.read("saved_tgids") == ""
    files.write("options/record-tgid", "1")
    driver.call("read", 0, 0, 0)
    assert files.read("saved_tgids") == f"{driver.tid} {driver.tgid}\n"


def test_current_tracer(files: Files) -> None:
    assert files.read("current_tracer") == files.read("available_tracers") == "nop\n"
    for text in ("nop", "nop ", " nop\n"):
        assert store(files, "current_tracer", text) == 0
    for text in ("function", "NOP", "", "nosuch"):
        assert store(files, "current_tracer", text) == errno.EINVAL


def test_functions_that_can_be_probed_are_listed(files: Files) -> None:
    listed = files.read("available_filter_functions").split()
    assert {"do_sys_openat2", "vfs_read", "__x64_sys_openat", "do_syscall_64"} <= set(listed)
    assert "arch_rethook_trampoline" not in listed
    files.write("kprobe_events", "".join(f"p {name}\n" for name in listed[:200]))
    assert len(files.read("kprobe_events").splitlines()) == 200


def test_modes_are_the_kernels(files: Files) -> None:
    """Every file and directory that is there has the mode of golden 11."""
    modes = {
        0o200: "free_buffer",
        0o220: "trace_marker trace_marker_raw",
        0o440: "README available_events available_filter_functions available_tracers buffer_total_size_kb "
        "kprobe_profile saved_cmdlines saved_tgids timestamp_mode trace_pipe",
        0o640: "buffer_size_kb current_tracer dynamic_events error_log kprobe_events saved_cmdlines_size "
        "set_event set_event_notrace_pid set_event_pid "
        "trace trace_clock trace_options tracing_cpumask tracing_on",
        0o750: "events options per_cpu",
    }
    expected = {name: mode for mode, names in modes.items() for name in names.split()}
    root = files.tracefs.root
    assert root.perm == 0o700
    assert {name: node.perm for name, node in root.entries()} == expected
    assert all(node.uid == 0 and node.gid == 0 for _, node in root.entries())
    inside = {name: node.perm for name, node in files.directory("per_cpu/cpu0").entries()}
    assert inside == {"buffer_size_kb": 0o640, "stats": 0o440, "trace": 0o640, "trace_pipe": 0o440}
