"""trace and trace_pipe: lines, consuming, waiting, clearing (golden 08)."""

import ctypes
import errno
import os
import re
import threading
from collections.abc import Callable

import pytest

from engine.errors import KernelError
from engine.kernfs import Handle, WouldBlock
from engine.probes.driver import Driver
from tests.tracefs.conftest import Files
from tests.tracefs.golden import GOLDEN

NONBLOCK = os.O_RDONLY | os.O_NONBLOCK
EVERYTHING = (
    "p:a do_sys_openat2 dfd=%di:s32 name=+0(%si):ustring flags=+0(%dx):x64 b=%di:u8 x8=%di:x8 u16=%di:u16 "
    "s8=%di:s8 s64=%di:s64 u64=%di:u64 def=%di arr=+0(%dx):x8[4] sarr=+0(%dx):s32[2] fn=%ip:symbol "
    'fns=%ip:symstr comm=$comm bf=%di:b4@4/32 imm=\\5 is=\\"hey" fault=+0(\\0x10) sfault=+0(\\0x10):string '
    "us=+0(\\0x10):ustring sa=+0(\\0x10):string[2] fa=+0(\\0x10):u8[2] cs=+0(%si):string nil=\\0\n"
)
OPEN_FLAGS = 0
AT_FDCWD = 0xFFFFFF9C


class Names:
    """Keeps C strings that system calls point to."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._kept: list[ctypes.Array[ctypes.c_char]] = []

    def open(self, name: bytes, result: int = 3) -> None:
        """openat(AT_FDCWD, name, 0, 0)."""
        self._kept.append(ctypes.create_string_buffer(name))
        self._driver.call("openat", AT_FDCWD, ctypes.addressof(self._kept[-1]), OPEN_FLAGS, 0, result=result)


@pytest.fixture
def names(driver: Driver) -> Names:
    """Something that opens files."""
    return Names(driver)


def pipe_read(handle: Handle, size: int) -> str:
    """One read; `EAGAIN` when it would wait."""
    try:
        return handle.read(0, size).decode()
    except WouldBlock:
        return "EAGAIN"


def test_header_is_the_kernels(files: Files) -> None:
    golden = (GOLDEN / "08-trace-output.txt").read_text(encoding="latin-1").splitlines()
    start = golden.index("$ echo > trace; cat trace")
    blocks = [line[2:] for line in golden[start:] if line.startswith("| ")]

    def shown() -> list[str]:
        return files.read("trace").splitlines()

    assert shown() == blocks[:12]
    files.write("options/irq-info", "0")
    assert shown() == blocks[12:18]
    files.write("options/irq-info", "1")
    files.write("options/record-tgid", "1")
    assert shown() == blocks[18:30]
    files.write("options/irq-info", "0")
    assert shown() == blocks[30:36]
    files.write("options/context-info", "0")
    assert shown() == blocks[36:38]


def test_every_kind_of_argument(files: Files, names: Names) -> None:
    files.write("kprobe_events", EVERYTHING + "r:b do_sys_openat2 fd=$retval:s32 raw=$retval\n")
    files.append("kprobe_events", "p:c do_sys_openat2\nr:d do_sys_openat2\n")
    files.write("events/kprobes/enable", "1")
    names.open(b"/etc/passwd", 3)
    names.open(b"/nosuch", -2)
    lines = [re.sub(r" +\d+\.\d{6}:", " TIME:", line) for line in files.lines()]
    pid = names._driver.tid
    head = f"            trig-{pid:<7} [001] ..... TIME: "
    assert [line.removeprefix(head) for line in lines] == [
        "c: (do_sys_openat2+0x0/0x170)",
        'a: (do_sys_openat2+0x0/0x170) dfd=-100 name="/etc/passwd" flags=0x8000 b=156 x8=0x9c u16=65436 '
        "s8=-100 s64=4294967196 u64=4294967196 def=0xffffff9c arr={0x0,0x80,0x0,0x0} sarr={32768,0} "
        'fn=do_sys_openat2+0x1/0x170 fns="do_sys_openat2+0x1/0x170" comm="trig" bf=9 imm=0x5 is="hey" '
        'fault=0x0 sfault=(fault) us=(fault) sa={(fault),(fault)} fa={0,0} cs="/etc/passwd" nil=0x0',
        "b: ([unknown/kretprobe'd] <- do_sys_openat2) fd=3 raw=0x3",
        "d: (__x64_sys_openat+0x6a/0xa0 <- do_sys_openat2)",
        "c: (do_sys_openat2+0x0/0x170)",
        lines[1].removeprefix(head).replace("/etc/passwd", "/nosuch"),
        "b: ([unknown/kretprobe'd] <- do_sys_openat2) fd=-2 raw=0xfffffffffffffffe",
        "d: (__x64_sys_openat+0x6a/0xa0 <- do_sys_openat2)",
    ]
    assert "# entries-in-buffer/entries-written: 8/8   #P:2" in files.read("trace")


def test_arguments_by_number_and_symbolic_addresses(files: Files, driver: Driver) -> None:
    files.write("kprobe_events", "p:a ksys_read fd=$arg1 n=$arg3:u32 far=$arg8 st=$stack1\n")
    files.write("events/kprobes/a/enable", "1")
    driver.call("read", 7, 0x1000, 77, result=0)
    (line,) = files.lines()
    assert line.split(": ", 1)[1].startswith("a: (ksys_read+0x0/0x")
    assert re.search(r" fd=0x7 n=77 far=0x[0-9a-f]+ st=0x[0-9a-f]+$", line)


def test_a_long_string_is_cut_off_not_lost(files: Files, names: Names) -> None:
    files.write("kprobe_events", "p:a do_sys_openat2 f=+0(%si):ustring g=+0(%si):ustring\n")
    files.write("events/kprobes/a/enable", "1")
    names.open(b"/" + b"x" * 4000)
    (line,) = files.lines()
    first = re.search(r'f="(/x+)"', line)
    assert first is not None and len(first.group(1)) == 4001
    assert re.search(r' g="/x+"$', line)


def test_pipe_consumes_whole_records_and_keeps_the_rest_of_a_line(files: Files, names: Names) -> None:
    files.write("kprobe_events", "p:a do_sys_openat2 name=+0(%si):ustring\n")
    files.write("events/kprobes/a/enable", "1")
    for name in (b"/one", b"/two", b"/three"):
        names.open(name)
    whole = "".join(line + "\n" for line in files.lines())
    with files.open("trace_pipe", NONBLOCK) as pipe:
        assert pipe_read(pipe, 10) == whole[:10]
        assert len(files.lines()) == 2
        rest = pipe_read(pipe, 4096)
        assert whole[:10] + rest == whole.splitlines(keepends=True)[0]
        assert pipe_read(pipe, 4096) == "".join(whole.splitlines(keepends=True)[1:])
        assert pipe_read(pipe, 4096) == "EAGAIN"
        assert pipe.poll() == 0
        assert pipe_read(pipe, 0) == ""
        names.open(b"/four")
        assert pipe.poll() != 0
        bytewise = "".join(pipe_read(pipe, 1) for _ in range(60))
        assert bytewise.startswith("            trig-")
    assert files.lines() == []


def test_large_reads_give_whole_lines(files: Files) -> None:
    for i in range(100):
        files.append("trace_marker", f"line {i}")
    with files.open("trace_pipe", NONBLOCK) as pipe:
        first = pipe_read(pipe, 4096)
        assert first.endswith("\n") and 4000 < len(first) <= 4096
        rest = pipe_read(pipe, 1 << 20)
        assert (first + rest).count("\n") == 100


def test_a_second_reader_is_refused(files: Files) -> None:
    def busy(path: str) -> bool:
        try:
            with files.open(path, NONBLOCK):
                return False
        except KernelError as error:
            assert error.errno == errno.EBUSY
            return True

    with files.open("trace_pipe", NONBLOCK):
        assert busy("trace_pipe") and busy("per_cpu/cpu0/trace_pipe")
    with files.open("per_cpu/cpu0/trace_pipe", NONBLOCK):
        assert busy("trace_pipe") and busy("per_cpu/cpu0/trace_pipe")
        assert not busy("per_cpu/cpu1/trace_pipe")
    assert not busy("trace_pipe")


def wait_for(files: Files, handle: Handle, act: Callable[[], None]) -> None:
    """Park on `handle` and have `act` done meanwhile; returns when the reader is woken."""
    with pytest.raises(WouldBlock) as blocked:
        handle.read(0, 4096)
    woken = threading.Event()
    token = blocked.value.queue.subscribe(woken.set)
    act()
    files.tracefs.wake()
    assert woken.wait(5)
    blocked.value.queue.unsubscribe(token)


def test_a_hit_writes_the_eventfd_only_for_a_parked_reader(files: Files, names: Names) -> None:
    files.write("kprobe_events", "p:a do_sys_openat2\n")
    files.write("events/kprobes/a/enable", "1")
    wake_fd = files.machine.wake_fd

    def written() -> bool:
        try:
            return os.eventfd_read(wake_fd) > 0
        except BlockingIOError:
            return False

    with files.open("trace_pipe") as pipe:
        names.open(b"/x")
        assert not written()
        assert "a: (" in pipe_read(pipe, 4096)
        wait_for(files, pipe, lambda: names.open(b"/y"))
        assert written()
        assert "a: (" in pipe_read(pipe, 4096)


def test_a_reader_that_has_read_ends_when_recording_stops(files: Files) -> None:
    files.append("trace_marker", "before")
    with files.open("trace_pipe") as pipe:
        assert "before" in pipe_read(pipe, 200)
        wait_for(files, pipe, lambda: files.write("tracing_on", "0"))
        assert pipe.read(0, 200) == b""
    with files.open("trace_pipe") as fresh:
        assert pipe_read(fresh, 200) == "EAGAIN"


def test_trace_can_be_read_in_pieces_and_anew(files: Files) -> None:
    files.append("trace_marker", "m1")
    whole = files.read("trace", 1 << 20)
    assert files.read("trace", 1) == files.read("trace", 7) == whole
    with files.open("trace") as handle:
        assert handle.read(0, 20) == b"# tracer: nop\n#\n# en"
        assert handle.read(5, 10).decode() == whole[5:15]
        files.append("trace_marker", "m2")
        assert handle.read(0, 100000).decode().count("tracing_mark_write") == 2
        assert handle.read(1 << 20, 10) == b""


def test_clearing(files: Files) -> None:
    files.append("trace_marker", "m1")
    with files.open("trace", os.O_RDONLY | os.O_TRUNC):
        assert len(files.lines()) == 1
    files.append("trace", "anything")
    assert len(files.lines()) == 1
    files.write("trace", "")
    assert files.lines() == []
    assert "0/0" in files.read("trace")


def test_lost_events_are_told(files: Files) -> None:
    files.write("per_cpu/cpu0/buffer_size_kb", "4")
    files.write("per_cpu/cpu1/buffer_size_kb", "4")
    for i in range(1500):
        files.append("trace_marker", f"flood {i}\n")
    lost = sum(files.tracefs.context.buffer.counters(cpu).overrun for cpu in range(2))
    assert lost > 0
    with files.open("trace_pipe", NONBLOCK) as pipe:
        text = ""
        while (piece := pipe_read(pipe, 65536)) != "EAGAIN":
            text += piece
    told = [int(n) for n in re.findall(r"^CPU:\d \[LOST (\d+) EVENTS\]$", text, re.M)]
    assert sum(told) == lost
    assert len(re.findall(r": tracing_mark_write: flood \d+$", text, re.M)) == 1500 - lost


def test_options_change_the_lines(files: Files, names: Names) -> None:
    files.write("kprobe_events", "p:c do_sys_openat2\nr:d do_sys_openat2\n")
    files.write("events/kprobes/enable", "1")
    names.open(b"/x")
    pid = names._driver.tid

    def with_option(option: str, on: int) -> str:
        files.write(f"options/{option}", str(on))
        try:
            return files.lines()[0]
        finally:
            files.write(f"options/{option}", str(1 - on))

    assert with_option("context-info", 0) == "c: (do_sys_openat2+0x0/0x170)"
    assert re.search(r"\[001\] +\d+\.\d{6}: c:", with_option("irq-info", 0))
    assert with_option("sym-addr", 1).endswith(" <ffffffff" + with_option("sym-addr", 1)[-10:])
    assert re.fullmatch(rf"{pid} 1 \d+ type: \d+", with_option("raw", 1))
    assert re.fullmatch(rf"{pid:08x} 00000001 [0-9a-f]{{16}} type: \d+", with_option("hex", 1))
    assert f"-{pid:<7} (-------) [001]" in with_option("record-tgid", 1)
    files.write("options/record-tgid", "1")
    names.open(b"/y")
    assert f"-{pid:<7} ({names._driver.tgid:7}) [001]" in files.lines()[0]
    files.write("options/record-tgid", "0")
    files.write("options/latency-format", "1")
    assert re.match(rf"    trig-{pid:<7}   1\.\.\.\.\. +\d+us.: c: ", files.lines()[0])
    files.write("options/latency-format", "0")
    files.write("options/pause-on-trace", "1")
    with files.open("trace"):
        assert files.read("tracing_on") == "0\n"
    assert files.read("tracing_on") == "1\n"


def test_trace_option_words(files: Files) -> None:
    files.write("trace_options", "sym-addr\n")
    assert files.read("options/sym-addr") == "1\n"
    files.write("trace_options", " nosym-addr \n")
    assert "nosym-addr\n" in files.read("trace_options")
    for wrong in ("nosuch\n", "\n", " \n", "no\n", "nohex raw\n", "HEX\n", "nonohex\n", "0\n", "x" * 64):
        with pytest.raises(KernelError) as refused:
            files.append("trace_options", wrong)
        assert refused.value.errno == errno.EINVAL
    for wrong in ("2", "-1", "x", "", "y"):
        with files.open("options/hex", os.O_WRONLY) as handle, pytest.raises(KernelError):
            handle.write(0, wrong.encode())
