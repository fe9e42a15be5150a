"""bpffs run and M/procs: attached processes, their exit status, signals and terminal."""

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import DEADLINE, Shell, wait_until

RUN = "bpffs run -m $M --"


@pytest.mark.parametrize("status", [0, 1, 42])
def test_exit_status_is_passed_on(mounted: Shell, status: int) -> None:
    assert mounted(f"{RUN} sh -c 'exit {status}'").status == status


@pytest.mark.parametrize("name", ["TERM", "KILL", "INT", "SEGV"])
def test_whoever_waits_sees_the_signal_that_ended_it(mounted: Shell, name: str) -> None:
    with mounted.start(f"exec {RUN} sh -c 'kill -{name} $$'") as process:
        assert process.wait(DEADLINE) == -signal.Signals[f"SIG{name}"]


def test_a_caller_that_ignores_its_children(mounted: Shell) -> None:
    """SIG_IGN is inherited, and whoever ignores SIGCHLD cannot wait for a child."""
    ignore = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    command = f'python3 -c "import os, signal, sys; {ignore}; os.execvp(sys.argv[1], sys.argv[1:])" {RUN}'
    assert mounted(f"{command} sh -c 'exit 3'").status == 3
    assert (
        int(mounted.ok(f"{command} grep SigIgn /proc/self/status").split()[1], 16) & 1 << signal.SIGCHLD - 1
    )


def test_commands_that_cannot_run(mounted: Shell) -> None:
    outcome = mounted(f"{RUN} /nosuch/command")
    assert (outcome.status, outcome.err) == (127, "bpffs: /nosuch/command: No such file or directory\n")
    assert mounted(f"{RUN} /etc/passwd").status == 126
    assert mounted(f"{RUN}").status == 1


def test_run_needs_a_mount(shell: Shell) -> None:
    outcome = shell("bpffs run -- true")
    assert (outcome.status, outcome.err) == (1, "bpffs: nothing is mounted: bpffs mount DIR first\n")
    assert shell("bpffs run -m $M -- true").status == 1


def test_output_input_and_arguments(mounted: Shell) -> None:
    assert mounted.ok(f"echo text | {RUN} sh -c 'cat; echo \"$1\"; echo err >&2' -- 'a b -m c' 2>&1") == (
        "text\na b -m c\nerr\n"
    )


def test_the_only_mount_is_found(mounted: Shell) -> None:
    assert mounted.ok("bpffs run -- echo hi") == "hi\n"
    assert mounted.ok("bpffs run echo hi") == "hi\n"


def test_it_is_listed_while_it_runs(mounted: Shell) -> None:
    outcome = mounted(f"{RUN} sh -c 'echo $$; cat $M/procs'")
    shell, *listed = outcome.out.split()
    assert shell in listed
    assert mounted.ok("cat $M/procs") == ""


def test_forks_are_followed(mounted: Shell) -> None:
    out = mounted.ok(f"{RUN} sh -c 'sleep 5 & echo $$ $!; cat $M/procs; kill $!'").split()
    assert set(out[:2]) <= set(out[2:])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_forwarded(mounted: Shell, number: signal.Signals) -> None:
    script = (
        "import signal,sys; signal.signal(%d, lambda *_: sys.exit(9)); print('up',flush=True); signal.pause()"
    )
    with mounted.start(f'exec {RUN} python3 -c "{script % number}"') as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.send_signal(number)
            assert process.wait(DEADLINE) == 9
        finally:
            process.kill()


def test_attach_detach_and_errors(mounted: Shell) -> None:
    with subprocess.Popen(["sleep", "30"]) as sleeper:
        try:
            mounted.ok(f"echo {sleeper.pid} > $M/procs")
            assert mounted.ok("cat $M/procs").split() == [str(sleeper.pid)]
            assert f"{sleeper.pid} sleep" in mounted.ok("bpffs status")
            mounted.ok(f"echo -{sleeper.pid} > $M/procs")
            assert mounted.ok("cat $M/procs") == ""
            assert sleeper.poll() is None
        finally:
            sleeper.kill()
    for text, reason in {
        "x": "Invalid argument",
        "": "Invalid argument",
        "0": "Invalid argument",
        "1 2": "Invalid argument",
        "4000000": "No such process",
        f"-{os.getpid()}": "No such process",
        "$$$$": "Invalid argument",
    }.items():
        outcome = mounted(f"echo '{text}' > $M/procs")
        assert outcome.status == 1
        assert reason in outcome.err, (text, outcome)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a pid namespace")
def test_process_ids_count_in_the_pid_namespace_of_the_writer(mounted: Shell) -> None:
    assert mounted.ok("unshare -pf sh -c 'echo $$ > $M/procs; cat $M/procs | head -1'") == "1\n"
    assert (
        mounted.ok(f"unshare -pf sh -c '{RUN} cat /proc/self/status' | grep -c '^TracerPid:.[1-9]'") == "1\n"
    )


def test_the_daemon_itself_cannot_be_attached(mounted: Shell) -> None:
    outcome = mounted(f"echo {mounted.daemon} > $M/procs")
    assert outcome.status == 1
    assert "Operation not permitted" in outcome.err


def children_called(pid: int, name: str) -> list[str]:
    """Children of the process that have become the command `name`."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if Path(f"/proc/{child}/comm").read_text() == f"{name}\n"]


def test_a_traced_process_is_eperm(mounted: Shell) -> None:
    with subprocess.Popen(["strace", "-I1", "-o", "/dev/null", "sleep", "30"]) as tracer:
        try:
            assert wait_until(lambda: bool(children_called(tracer.pid, "sleep")))
            outcome = mounted(f"echo {children_called(tracer.pid, 'sleep')[0]} > $M/procs")
            assert outcome.status == 1
            assert "Operation not permitted" in outcome.err
        finally:
            tracer.terminate()


def test_a_killed_daemon_leaves_its_processes_unharmed(mounted: Shell) -> None:
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/; echo 1 > $B/count/attach.ctl")
    with mounted.start(f"exec {RUN} sh -c 'echo up; read x < $M/../fifo; exit 7'") as process:
        try:
            mounted.ok("mkfifo $M/../fifo")
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            os.kill(mounted.daemon, signal.SIGKILL)
            time.sleep(0.1)
            mounted.ok("echo go > $M/../fifo")
            assert process.wait(DEADLINE) == 7
        finally:
            process.kill()


def shows(descriptor: int, text: bytes) -> bool:
    got = b""
    deadline = time.monotonic() + DEADLINE
    while text not in got and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            got += os.read(descriptor, 1000)
    assert text in got, got
    return True


def test_job_control_on_a_terminal(mounted: Shell) -> None:
    """Ctrl-Z stops command and `bpffs run`, fg goes on, Ctrl-C reaches the command once."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(mounted.environment | {"PS1": "prompt$ "})
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    try:
        assert shows(terminal, b"prompt$ ")
        script = (
            "import signal, time\n"
            "signal.signal(signal.SIGINT, lambda *_: print('caught', flush=True))\n"
            "print('up', flush=True)\n"
            "while True: time.sleep(100)\n"
        )
        (mounted.mount.parent / "script.py").write_text(script)
        os.write(terminal, b"bpffs run -m $M -- python3 $M/../script.py\n")
        assert shows(terminal, b"\rup\r\n")
        os.write(terminal, b"\x1a")
        assert shows(terminal, b"Stopped")
        os.write(terminal, b"fg\n")
        time.sleep(0.5)
        os.write(terminal, b"\x03")
        assert shows(terminal, b"caught")
        os.write(terminal, b"\x1a")
        assert shows(terminal, b"Stopped")
        os.write(terminal, b"kill -9 %1; fg; exit\n")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        os.waitpid(pid, 0)
