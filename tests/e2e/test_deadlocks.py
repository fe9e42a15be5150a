"""The deadlocks that lie in wait, each provoked: nobody may wait for somebody who waits for them.

Every command has a deadline (`Shell`), so a deadlock is a failure.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Shell, is_running, wait_for_end, wait_until, wait_until_reading

RUN = "bpffs run -m $M --"
ARM = "echo 'p:o do_sys_openat2 f=+0(%si):ustring' > $T/kprobe_events; echo 1 > $T/events/kprobes/o/enable"
EVERYTHING = "".join(
    f"p:e{number} {name}\nr:r{number} {name}\n"
    for number, name in enumerate(("do_syscall_64", "vfs_read", "vfs_write", "vfs_open", "do_sys_openat2"))
)


def test_the_writer_that_arms_is_attached_itself(mounted: Shell) -> None:
    out = mounted.ok(f'{RUN} sh -c "{ARM}; cat /etc/hostname >/dev/null; cat $T/trace | grep -c hostname"')
    assert out == "1\n"


def test_an_attached_process_uses_the_mount_while_everything_is_probed(mounted: Shell) -> None:
    (mounted.mount / "tracefs/kprobe_events").write_text(EVERYTHING)
    mounted.ok("echo 1 > $T/events/kprobes/enable")
    out = mounted.ok(
        f"{RUN} sh -c 'mkdir $B/d; echo x > $T/trace_marker; cp $EXAMPLES/count.bpf.o $B/;"
        f" echo 1 > $B/count/attach.ctl;"
        " cat $B/count/maps/hits | head -1; ls -R $B >/dev/null; rm -r $B/count; rmdir $B/d;"
        " echo > $T/trace; echo done'"
    )
    assert out.endswith("done\n")


def test_an_attached_process_reads_its_own_trace_pipe(mounted: Shell) -> None:
    (mounted.mount / "tracefs/kprobe_events").write_text(EVERYTHING)
    mounted.ok("echo 1 > $T/events/kprobes/enable")
    assert "do_syscall_64" in mounted.ok(f"{RUN} head -n 2000 $T/trace_pipe")


def test_an_attached_process_attaches_and_detaches(mounted: Shell) -> None:
    mounted.ok(ARM)
    out = mounted.ok(
        f"{RUN} bash -c 'sleep 50 & echo -$! > $M/procs; echo $! > $M/procs; grep -c . $M/procs; kill $!;"
        " echo -$$ > $M/procs; cat /etc/hostname > /dev/null; echo $$ > $M/procs; echo back'"
    )
    assert out.endswith("back\n")


MAPPED = """\
import ctypes, mmap, sys
file = open(sys.argv[1], "rb")
mapping = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
libc = ctypes.CDLL(None)
libc.open(ctypes.c_char_p(ctypes.addressof(ctypes.c_char.from_buffer(mapping))), 0)
print("done")
"""


def test_memory_of_an_attached_process_is_a_file_on_the_mount(mounted: Shell) -> None:
    """Fetching the path of open(2) faults in a page that only we can provide."""
    mounted.ok(ARM)
    (mounted.mount.parent / "mapped.py").write_text(MAPPED)
    for file in ("sys/devices/kprobe/type", "sys/devices/uprobe/format/ref_ctr_offset"):
        assert mounted.ok(f"{RUN} python3 $M/../mapped.py $M/{file}") == "done\n"


def test_memory_that_another_attached_thread_supplies(mounted: Shell) -> None:
    """Fetching the path of open(2) waits for a thread that waits for us, its own calls being probed too."""
    (mounted.mount / "tracefs/kprobe_events").write_text(
        "p:o do_sys_openat2 f=+0(%si):ustring\np:r ksys_read\np:i __x64_sys_ioctl\n"
    )
    mounted.ok("echo 1 > $T/events/kprobes/enable")
    outcome = mounted(f"{RUN} {sys.executable} -m tests.userfault /etc/hostname 4", PYTHONPATH=str(ROOT))
    if outcome.status == 77:
        pytest.skip("no userfaultfd")
    assert (outcome.status, outcome.out) == (0, "4\n")
    assert mounted.ok("cat $T/trace").count("f=(fault)") >= 4


def test_a_stopped_reader_does_not_hold_up_hits(mounted: Shell) -> None:
    (mounted.mount / "tracefs/kprobe_events").write_text(EVERYTHING)
    mounted.ok("echo 1 > $T/events/kprobes/enable")
    with mounted.start("exec cat $T/trace_pipe > /dev/null") as reader:
        try:
            reader.send_signal(signal.SIGSTOP)
            assert mounted.ok(f"{RUN} sh -c 'find /usr/include/linux > /dev/null; echo done'") == "done\n"
        finally:
            reader.kill()


def test_a_waiting_reader_is_armed_and_let_go_at_once(mounted: Shell) -> None:
    """It waits for an answer of ours, and cannot stop before; nothing comes that it could read."""
    with mounted.start("exec cat $T/trace_pipe") as reader:
        try:
            wait_until_reading(reader.pid)
            status = Path(f"/proc/{reader.pid}/status")
            mounted.ok(f"echo {reader.pid} > $M/procs")
            mounted.ok("echo 'p:o __x64_sys_mkdir' > $T/kprobe_events; echo 1 > $T/events/kprobes/o/enable")
            wait_until_reading(reader.pid)
            mounted.ok(f"echo -{reader.pid} > $M/procs")
            assert wait_until(lambda: "TracerPid:\t0\n" in status.read_text())
            assert reader.poll() is None
        finally:
            reader.kill()


@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_the_daemon_is_killed_by_an_attached_process(mounted: Shell, name: str) -> None:
    mounted.ok(ARM)
    daemon = mounted.daemon
    out = mounted.ok(
        f"{RUN} bash -c 'kill -{name} {daemon}; for i in 1 2 3; do cat /etc/hostname; done | wc -l'"
    )
    assert out == "3\n"
    assert wait_for_end(daemon)


def test_the_mount_is_unmounted_by_an_attached_process(mounted: Shell) -> None:
    mounted.ok(ARM)
    daemon = mounted.daemon
    assert mounted.ok(f"{RUN} sh -c 'bpffs umount $M; echo still here'") == "still here\n"
    assert not is_running(daemon)


def test_a_daemon_is_started_under_another(mounted: Shell) -> None:
    mounted.ok(ARM)
    out = mounted.ok(
        f"mkdir $M/../m2;"
        f" {RUN} bash -c 'bpffs mount $M/../m2 && ls $M/../m2 && bpffs umount $M/../m2 && echo done'"
    )
    assert out == "procs\nsys\ntracefs\ndone\n"


def test_a_traced_process_cannot_be_traced_by_a_second_mount(mounted: Shell) -> None:
    mounted.ok("mkdir $M/../m2; bpffs mount $M/../m2")
    outcome = mounted(f"{RUN} bpffs run -m $M/../m2 -- true")
    assert outcome.status == 1
    assert "Operation not permitted" in outcome.err
    mounted.ok("bpffs umount $M/../m2")


def test_a_shell_attaches_itself_and_goes_on(mounted: Shell) -> None:
    out = mounted.ok(
        f"echo $$ > $M/procs; {ARM}; cat /etc/hostname > /dev/null; grep -c /etc/hostname $T/trace;"
        f" echo -$$ > $M/procs;"
        " cat $M/procs"
    )
    assert out == "1\n"


def test_processes_die_at_any_moment(mounted: Shell) -> None:
    (mounted.mount / "tracefs/kprobe_events").write_text(EVERYTHING)
    mounted.ok("echo 1 > $T/events/kprobes/enable")
    mounted.ok(
        f"for i in 1 2 3 4 5 6 7 8; do {RUN} bash -c 'for j in 1 2 3 4 5 6; do (while :;"
        f" do cat $M/procs; done) & done;"
        " sleep 0.0$((RANDOM % 9 + 1)); kill -9 $(jobs -p)' > /dev/null 2>&1; done; true"
    )
    assert wait_until(lambda: mounted.ok("cat $M/procs") == "")
    assert os.path.ismount(mounted.mount)
