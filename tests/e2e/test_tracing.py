"""Probes and their output, as a shell user sees them: kprobe_events, trace_pipe, trace, trace_marker."""

import os
import re
import select
import signal
import subprocess

import pytest

from tests.e2e.conftest import DEADLINE, Shell, wait_until, wait_until_reading

RUN = "bpffs run -m $M --"


def probe_opens(shell: Shell) -> None:
    shell.ok(
        "echo 'p:o do_sys_openat2 f=+0(%si):ustring' >> $T/kprobe_events; echo 1 > $T/events/kprobes/o/enable"
    )


def test_a_probe_from_definition_to_line(mounted: Shell) -> None:
    mounted.ok("echo 'p:o do_sys_openat2 dfd=%di:s32 f=+0(%si):ustring' > $T/kprobe_events")
    mounted.ok("echo 'r:p do_sys_openat2 fd=$retval:s32' >> $T/kprobe_events")
    assert mounted.ok("cat $T/kprobe_events") == (
        "p:kprobes/o do_sys_openat2 dfd=%di:s32 f=+0(%si):ustring\n"
        f"r{max(10, 2 * (os.cpu_count() or 1))}:kprobes/p do_sys_openat2 fd=$retval:s32\n"
    )
    mounted.ok("echo 1 > $T/events/kprobes/enable")
    mounted.ok(f"{RUN} cat /etc/hostname")
    lines = mounted.ok("grep -A1 hostname $T/trace").splitlines()
    line = r" +cat-\d+ +\[\d{3}\] \.{5} +\d+\.\d{6}: "
    assert re.fullmatch(line + r'o: \(do_sys_openat2\+0x0/0x[0-9a-f]+\) dfd=-100 f="/etc/hostname"', lines[0])
    assert re.fullmatch(line + r"p: \(\S+ <- do_sys_openat2\) fd=\d+", lines[1])
    mounted.ok("echo 0 > $T/events/kprobes/enable; echo > $T/kprobe_events")
    assert mounted.ok("cat $T/kprobe_events; ls $T/events | grep kprobes || true") == ""


def test_bad_definitions_give_errnos(mounted: Shell) -> None:
    for text, reason in {
        "p:x nosuch": "No such file or directory",
        "p:x do_sys_openat2 $nosuch": "Invalid argument",
        "p:x": "Invalid argument",
        "-:nosuch": "No such file or directory",
    }.items():
        outcome = mounted(f"echo '{text}' >> $T/kprobe_events")
        assert outcome.status == 1
        assert reason in outcome.err, (text, outcome)
    assert mounted.ok("cat $T/kprobe_events") == ""


def test_an_enabled_probe_cannot_be_deleted(mounted: Shell) -> None:
    probe_opens(mounted)
    outcome = mounted("echo '-:o' >> $T/kprobe_events")
    assert "Device or resource busy" in outcome.err
    assert "p:kprobes/o" in mounted.ok("cat $T/kprobe_events")


def test_what_is_listed_can_be_probed(mounted: Shell) -> None:
    names = mounted.ok("cat $T/available_filter_functions").split()
    assert {"do_syscall_64", "__x64_sys_openat", "__x64_sys_read", "vfs_read", "do_sys_openat2"} <= set(names)
    lines = "".join(f"p:f{number} {name}\n" for number, name in enumerate(names))
    (mounted.mount.parent / "all").write_text(lines)
    mounted.ok("cat $M/../all > $T/kprobe_events")
    assert len(mounted.ok("cat $T/kprobe_events").splitlines()) == len(names)
    mounted.ok("echo > $T/kprobe_events")


def test_trace_pipe_blocks_wakes_and_consumes(mounted: Shell) -> None:
    with mounted.start("exec cat $T/trace_pipe") as reader:
        try:
            assert reader.stdout is not None
            wait_until_reading(reader.pid)
            mounted.ok("echo first > $T/trace_marker")
            assert "tracing_mark_write: first" in reader.stdout.readline()
            mounted.ok("echo second > $T/trace_marker")
            assert "tracing_mark_write: second" in reader.stdout.readline()
        finally:
            reader.kill()
    assert "mark_write" not in mounted.ok("cat $T/trace")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_signals_end_a_blocked_cat(mounted: Shell, number: signal.Signals) -> None:
    with mounted.start("exec cat $T/trace_pipe") as reader:
        try:
            wait_until_reading(reader.pid)
            reader.send_signal(number)
            assert reader.wait(DEADLINE) == -number
        finally:
            reader.kill()


def test_trace_pipe_without_waiting(mounted: Shell) -> None:
    outcome = mounted("dd if=$T/trace_pipe iflag=nonblock bs=100 count=1")
    assert "Resource temporarily unavailable" in outcome.err
    mounted.ok("echo hello > $T/trace_marker")
    assert "hello" in mounted.ok("dd if=$T/trace_pipe iflag=nonblock bs=1000 count=1 status=none")


def test_trace_pipe_can_be_polled(mounted: Shell) -> None:
    descriptor = os.open(mounted.mount / "tracefs/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    try:
        assert poller.poll(50) == []
        mounted.ok("echo hello > $T/trace_marker")
        ready = poller.poll(DEADLINE * 1000)
        assert ready
        assert ready[0][1] & select.POLLIN
        assert b"hello" in os.read(descriptor, 1000)
    finally:
        os.close(descriptor)


def test_each_record_is_an_edge_for_epoll(mounted: Shell) -> None:
    """As Linux: a record is announced even while others wait unread (Go's and Rust's runtimes rely on it)."""
    descriptor = os.open(mounted.mount / "tracefs/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
    edge = [(descriptor, select.EPOLLIN)]
    with select.epoll() as poller:
        try:
            poller.register(descriptor, select.EPOLLIN | select.EPOLLET)
            for text in ("one", "two"):
                assert poller.poll(0.05) == []
                mounted.ok(f"echo {text} > $T/trace_marker")
                assert poller.poll(DEADLINE) == edge
            assert os.read(descriptor, 1000).count(b"\n") == 2
            assert poller.poll(0.05) == []
            mounted.ok("echo three > $T/trace_marker")
            assert poller.poll(DEADLINE) == edge
        finally:
            os.close(descriptor)


def test_trace_pipe_in_small_pieces(mounted: Shell) -> None:
    mounted.ok("for i in 1 2 3 4 5; do echo line $i > $T/trace_marker; done")
    text = mounted.ok("timeout 1 dd if=$T/trace_pipe bs=7 status=none; true")
    assert re.findall(r"tracing_mark_write: line (\d)\n", text) == list("12345")


def test_trace_pipe_has_one_reader(mounted: Shell) -> None:
    with mounted.start("exec cat $T/trace_pipe") as reader:
        try:
            wait_until_reading(reader.pid)
            outcome = mounted("cat $T/trace_pipe")
            assert outcome.status == 1
            assert "Device or resource busy" in outcome.err
        finally:
            reader.kill()
    assert wait_until(lambda: mounted("timeout 0.3 cat $T/trace_pipe").status == 124)


def test_trace_is_not_consumed_and_can_be_cleared(mounted: Shell) -> None:
    mounted.ok("echo hello > $T/trace_marker")
    first = mounted.ok("cat $T/trace")
    assert mounted.ok("cat $T/trace") == first
    assert first.startswith("# tracer: nop\n#\n# entries-in-buffer/entries-written: 1/1   #P:")
    mounted.ok("echo > $T/trace")
    assert "hello" not in mounted.ok("cat $T/trace")


def test_tracing_on(mounted: Shell) -> None:
    assert mounted.ok("cat $T/tracing_on") == "1\n"
    mounted.ok("echo 0 > $T/tracing_on")
    mounted("echo lost > $T/trace_marker")
    mounted.ok("echo 1 > $T/tracing_on; echo kept > $T/trace_marker")
    text = mounted.ok("cat $T/trace")
    assert "kept" in text
    assert "lost" not in text


def test_trace_printk_of_a_program(mounted: Shell) -> None:
    mounted.ok("cp $EXAMPLES/opensnoop.bpf.o $B/; echo 1 > $B/opensnoop/attach.ctl")
    mounted.ok(f"{RUN} cat /etc/hostname")
    assert "bpf_trace_printk: " in mounted.ok("grep /etc/hostname $T/trace")


def test_the_pinned_map_counts_exactly(mounted: Shell) -> None:
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/; echo 1 > $B/count/attach.ctl")
    mounted.ok(f"{RUN} python3 -c 'import os; [os.getppid() for _ in range(1234)]'")
    text = mounted.ok("cat $B/count/maps/hits")
    assert text.startswith("# WARNING!! The output is for debug purpose only\n")
    assert "\n110: 1234\n" in text
    formatted = mounted.ok("cat $B/count/maps/hits.json")
    assert '"formatted":{"key":110,"value":1234}' in formatted


def test_the_mounts_own_operations_fire(mounted: Shell) -> None:
    mounted.ok(
        "echo 'p:made vfs_mkdir mode=%cx:x16' > $T/kprobe_events; echo 1 > $T/events/kprobes/made/enable"
    )
    mounted.ok("mkdir $B/made_here")
    assert wait_until(lambda: "made: (vfs_mkdir" in mounted.ok("cat $T/trace"))
    assert " mkdir-" in mounted.ok("grep made: $T/trace")


def test_an_unprobed_process_is_not_seen(mounted: Shell) -> None:
    probe_opens(mounted)
    subprocess.run(["cat", "/etc/hostname"], check=True, stdout=subprocess.DEVNULL)
    assert "hostname" not in mounted.ok("cat $T/trace")


def test_a_pinned_program_as_trigger_filters_an_event(mounted: Shell) -> None:
    probe_opens(mounted)
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/")
    mounted.ok("echo 'bpf:/sys/fs/bpf/count/progs/count' >> $T/events/kprobes/o/trigger")
    assert "bpf:/sys/fs/bpf/count/progs/count" in mounted.ok("cat $T/events/kprobes/o/trigger")
    mounted.ok(f"{RUN} cat /etc/hostname")
    assert "hostname" not in mounted.ok("cat $T/trace")
    assert mounted.ok("cat $B/count/progs/count.stats").split()[1] != "0"
    mounted.ok("echo '!bpf:/sys/fs/bpf/count/progs/count' >> $T/events/kprobes/o/trigger")
    mounted.ok(f"{RUN} cat /etc/hostname")
    assert "hostname" in mounted.ok("cat $T/trace")
