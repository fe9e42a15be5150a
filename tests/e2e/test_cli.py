"""bpffs mount, umount, status: what a user types, and what is said when it cannot be done."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Shell, is_running, wait_for_end


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    assert text.startswith("bpffs: ")
    return text


def test_mount_status_umount(shell: Shell) -> None:
    assert shell.ok("bpffs status") == "nothing is mounted\n"
    assert shell.ok("bpffs mount $M") == ""
    assert shell.ok("ls $M") == "procs\nsys\ntracefs\n"
    assert shell.ok('grep " $M " /proc/mounts').split()[:3] == ["bpffs", str(shell.mount), "fuse.bpffs"]
    status = shell.ok("bpffs status")
    for title in ("programs: ", "maps: ", "probes: ", "attached processes: "):
        assert f"  {title}" in status
    daemon = shell.daemon
    assert shell.ok("bpffs umount $M") == ""
    assert not is_running(daemon)
    assert shell.ok("ls $M") == ""
    assert shell.ok("bpffs status") == "nothing is mounted\n"


def test_status_ends_quietly_when_nobody_reads_on(mounted: Shell) -> None:
    assert mounted.ok("bpffs status 2> $M/../err | (exec <&-); cat $M/../err") == ""


def test_mount_errors_are_one_line(shell: Shell) -> None:
    cases = {
        "bpffs mount $M/nosuch": "No such file or directory",
        "touch $M/../file; bpffs mount $M/../file": "Not a directory",
        "bpffs umount $M": "not mounted",
        "mkdir $M/x; bpffs mount $M; rmdir $M/x": "not empty",
    }
    for command, reason in cases.items():
        outcome = shell(f"{command.replace('; rmdir $M/x', '')}")
        assert outcome.status == 1, (command, outcome)
        assert reason in one_line(outcome.err)
    os.rmdir(shell.mount / "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a tmpfs")
def test_another_mount_is_busy(shell: Shell) -> None:
    outcome = shell("unshare -m bash -c 'mount -t tmpfs none $M; bpffs mount $M'")
    assert outcome.status == 1
    assert "busy, tmpfs is mounted there" in one_line(outcome.err)


def test_mounting_twice_is_refused(mounted: Shell) -> None:
    outcome = mounted("bpffs mount $M")
    assert outcome.status == 1
    assert "already mounted" in one_line(outcome.err)
    assert mounted.ok("ls $M") == "procs\nsys\ntracefs\n"


def test_misuse_is_status_2(shell: Shell) -> None:
    for command in ("bpffs", "bpffs nosuch", "bpffs mount"):
        assert shell(command).status == 2


def test_a_busy_mount_stays(mounted: Shell) -> None:
    with mounted.start("cd $M/sys; echo there; exec sleep 30") as user:
        try:
            assert user.stdout is not None
            assert user.stdout.readline() == "there\n"
            outcome = mounted("bpffs umount $M")
            assert outcome.status == 1
            assert "busy" in one_line(outcome.err)
            assert mounted.ok("ls $M") == "procs\nsys\ntracefs\n"
        finally:
            user.kill()
    mounted.ok("bpffs umount $M")


def test_signals_unmount_cleanly(shell: Shell) -> None:
    for name in ("TERM", "INT"):
        shell.ok("bpffs mount $M")
        daemon = shell.daemon
        shell.ok(f"kill -{name} {daemon}")
        assert wait_for_end(daemon)
        assert shell('grep " $M " /proc/mounts').status == 1
        assert shell.ok("bpffs status") == "nothing is mounted\n"


def test_sigterm_ends_waiting_readers(mounted: Shell) -> None:
    with mounted.start("cat $T/trace_pipe") as reader:
        try:
            time.sleep(0.3)
            daemon = mounted.daemon
            os.kill(daemon, signal.SIGTERM)
            assert wait_for_end(daemon)
            reader.wait(10)
        finally:
            reader.kill()


def test_umount_recovers_from_a_killed_daemon(mounted: Shell) -> None:
    daemon = mounted.daemon
    os.kill(daemon, signal.SIGKILL)
    assert wait_for_end(daemon)
    outcome = mounted("bpffs status")
    assert outcome.status == 1
    assert "daemon died" in outcome.out
    mounted.ok("bpffs umount $M")
    assert mounted('grep " $M " /proc/mounts').status == 1
    assert mounted.ok("bpffs status") == "nothing is mounted\n"


def test_mount_recovers_from_a_killed_daemon(mounted: Shell) -> None:
    daemon = mounted.daemon
    os.kill(daemon, signal.SIGKILL)
    assert wait_for_end(daemon)
    mounted.ok("bpffs mount $M")
    assert mounted.daemon != daemon
    assert mounted.ok("ls $M") == "procs\nsys\ntracefs\n"


def test_plain_umount_ends_the_daemon(mounted: Shell) -> None:
    daemon = mounted.daemon
    mounted.ok("fusermount3 -u $M")
    assert wait_for_end(daemon)
    assert mounted.ok("bpffs status") == "nothing is mounted\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to unmount without fusermount3's leave")
def test_open_files_outlive_a_lazy_unmount(mounted: Shell) -> None:
    daemon = mounted.daemon
    with (mounted.mount / "tracefs/trace").open() as trace:
        with (mounted.mount / "tracefs/trace_marker").open("w") as marker:
            mounted.ok("umount -l $M")
            marker.write("still here\n")
        assert "still here" in trace.read()
        assert "unmounted while in use" in mounted.ok("bpffs status")
        assert "files that are still open" in one_line(mounted("bpffs mount $M").err)
        assert is_running(daemon)
    assert wait_for_end(daemon)
    mounted.ok("bpffs mount $M")


def test_foreground_stays_until_interrupted(shell: Shell) -> None:
    """And takes no module from the working directory."""
    (shell.mount.parent / "trio.py").write_text("raise SystemExit(9)\n")
    with shell.start("cd $M/..; exec bpffs mount --foreground m") as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            assert any("mounted on" in line for line in lines)
            assert shell.ok("ls $M") == "procs\nsys\ntracefs\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert shell.ok("ls $M") == ""


def test_two_mounts_at_once(mounted: Shell) -> None:
    mounted.ok("mkdir $M/../m2; bpffs mount $M/../m2")
    assert mounted.ok("ls $M/../m2") == "procs\nsys\ntracefs\n"
    outcome = mounted("bpffs run -- true")
    assert outcome.status == 1
    assert "choose with -m" in one_line(outcome.err)
    mounted.ok("bpffs run -m $M/../m2 -- true")
    mounted.ok("bpffs umount $M/../m2")
    assert mounted.ok("ls $M") == "procs\nsys\ntracefs\n"


def test_the_record_directory_must_be_ours(shell: Shell) -> None:
    runtime = Path(shell.environment["BPFFS_RUNTIME_DIR"])
    runtime.mkdir(mode=0o777)
    runtime.chmod(0o777)
    outcome = shell("bpffs mount $M")
    assert outcome.status == 1
    assert "no private directory" in one_line(outcome.err)
    assert list(runtime.iterdir()) == []
    runtime.chmod(0o700)
