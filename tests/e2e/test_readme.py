"""README.md is true: every command that it shows is run here, or by the test that is named here."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpffs import mounts
from tests.e2e.conftest import ROOT, Shell
from tests.e2e.terminal import Terminal

README = (ROOT / "README.md").read_text()

TOUR = [
    line[4:] for line in README.split("## A tour")[1].split("\n## ")[0].splitlines() if line[:4] == "    "
]
"""The tour's lines, to be pasted in this order."""

SHOWN = {
    "ls $M $M/sys/fs/bpf $M/tracefs/": r"(?m)^procs  sys  tracefs$(?s:.*)\bkprobe_events\b",
    "timeout 1 cat $M/tracefs/trace_pipe": (
        r" cat-\d+ .* opened: \(do_sys_openat2\+0x0/0x\w+\) file=\"/etc/hostname\"\n"
    ),
    "bpffs run -m $M -- cat /etc/hostname": re.escape(Path("/etc/hostname").read_text()),
    "sleep 1000 & echo $! > $M/procs; cat $M/procs": r"\A\[1\] (\d+)\n\1\n\Z",
    "cat $M/sys/fs/bpf/count/maps/hits": r"(?m)\A# WARN.*\n# WARN.*\n(\d+: [1-9]\d*\n){6,}\Z",
    "cat $M/sys/fs/bpf/count/maps/hits.json": r'\A\[\{"key":.*"formatted":\{"key":\d+,"value":\d+\}\}\]\n\Z',
    "cat $M/sys/fs/bpf/count/progs/count.xlated": r"call bpf_map_lookup_elem#1\n(?s:.*)\(95\) exit\n\Z",
    "echo 'update key 1 value 9' > $M/sys/fs/bpf/mine.ctl && cat $M/sys/fs/bpf/mine.hex": (
        r"\Akey: 01 00 00 00  value: 09( 00){7}\nFound 1 element\n\Z"
    ),
    "bpffs status": (
        r"(?m)^  probes: 1\n    p do_sys_openat2 hits [1-9]\d* missed 0\n  attached processes: 0\n"
    ),
}
"""What the lines show that show something; the others are silent."""

TIMED_OUT = 124
"""How `timeout` ends when time was up, which is what it is there for."""

BLOCKS = {
    "make run     # set up, mount, load an example, run something under it, show what it saw, unmount": (
        "tests/e2e/test_demo.py"
    ),
    "make test    # set up, lint, types, all tests": ".ci/run",
}
"""Lines outside of the tour, and who runs them."""

INLINE = {
    "bpffs mount DIR [--foreground]": "tests/e2e/test_cli.py",
    "bpffs umount DIR": "tests/e2e/test_cli.py",
    "bpffs status": "tests/e2e/test_cli.py",
    "bpffs run [-m DIR] -- CMD ARGS": "tests/e2e/test_run.py",
    "cp NAME.bpf.o": "tests/e2e/test_bpf.py",
    "mkdir": "tests/e2e/test_bpf.py",
    "mv": "tests/e2e/test_bpf.py",
    "ln": "tests/e2e/test_bpf.py",
    "rm": "tests/e2e/test_bpf.py",
    "chmod": "tests/e2e/test_bpf.py",
    "stat -f": "tests/e2e/test_readme.py",
    "unshare -Urm": "tests/e2e/test_readme.py",
    "mount --bind $M/sys/kernel/tracing /sys/kernel/tracing": "tests/e2e/test_readme.py",
    "source contrib/completions/bpffs.bash": "tests/e2e/test_readme.py",
    "echo 'bpf:/sys/fs/bpf/count/progs/count' >> $M/tracefs/events/kprobes/opened/trigger": (
        "tests/e2e/test_readme.py"
    ),
}
"""Commands in the text, and who runs them."""


def spans() -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", re.sub(r"(?m)^    .*$", "", README))


def is_command(span: str) -> bool:
    """Whether it is something to type, rather than the name of a file, a verb or a function."""
    return (
        " " in span or span in INLINE or shutil.which(span, path="/bin:/usr/bin:/sbin:/usr/sbin") is not None
    )


@pytest.fixture
def terminal(shell: Shell, place: Path) -> Iterator[Terminal]:
    """A terminal in the repository that knows nothing but README, with temporary files in `place`."""
    (place / "tmp").mkdir()
    names = ("M", "B", "T", "EXAMPLES")
    environment = {name: value for name, value in shell.environment.items() if name not in names}
    with Terminal(ROOT, place, environment | {"TMPDIR": str(place / "tmp")}) as terminal:
        yield terminal


def paste(terminal: Terminal, lines: list[str]) -> None:
    """Each line ends well and shows what it should, apart from bash's word that the job `sleep` ended."""
    for line in lines:
        status, shown = terminal.type(line)
        shown = re.sub(r"\A\[1\]\+  Terminated .*\n", "", shown)
        assert status == (TIMED_OUT if line.startswith("timeout ") else 0), (line, shown)
        assert re.search(SHOWN.get(line, r"\A\Z"), shown), (line, shown)


def test_the_tour(terminal: Terminal, place: Path) -> None:
    assert set(SHOWN) <= set(TOUR)
    paste(terminal, TOUR)
    assert not [row for row in mounts.mounts() if row.directory.startswith(str(place))]


def test_commands_beside_the_tour(terminal: Terminal) -> None:
    """Said of a mount with the tour's probe and program, so just before those are removed."""
    trigger, bind = (next(span for span in INLINE if word in span) for word in ("trigger", "--bind"))
    paste(terminal, TOUR[: next(at for at, line in enumerate(TOUR) if line.startswith("rm "))])
    assert terminal.type("rm $M/sys/fs/bpf/count/links/*; " + trigger) == (0, "")
    assert terminal.type("grep -v '^#' $M/tracefs/events/kprobes/opened/trigger") == (
        0,
        "bpf:/sys/fs/bpf/count/progs/count\n",
    )
    assert terminal.type("stat -f -c %T $M") == (0, "fuseblk\n")
    assert terminal.type("source contrib/completions/bpffs.bash") == (0, "")
    assert terminal.type("complete -p bpffs") == (0, "complete -F _bpffs bpffs\n")
    complete = "COMP_WORDS=(bpffs {}) COMP_CWORD={}; _bpffs; printf '%s\\n' ${{COMPREPLY[@]}}"
    assert terminal.type(complete.format("st", 1)) == (0, "status\n")
    assert terminal.type(complete.format("umount ''", 2) + " | grep -cx $M") == (0, "1\n")
    assert terminal.type(complete.format("mount --f", 2)) == (0, "--foreground\n")
    _, shown = terminal.type("unshare -Urm")
    if "unshare" in shown:
        pytest.skip(f"no user namespaces: {shown}")
    assert terminal.type(bind) == (0, "")
    assert terminal.type("cat /sys/kernel/tracing/kprobe_events") == (
        0,
        "p:kprobes/opened do_sys_openat2 file=+0(%si):ustring\n",
    )
    assert terminal.type("exit") == (0, "logout\n")
    assert terminal.type("bpffs umount $M") == (0, "")


def test_nothing_is_shown_that_nobody_runs() -> None:
    blocks = [line[4:] for line in README.splitlines() if line.startswith("    ")]
    assert [line for line in blocks if line not in TOUR] == list(BLOCKS)
    assert {span for span in spans() if is_command(span)} == set(INLINE)
    assert "```" not in README


def test_who_runs_them_does() -> None:
    for command, where in (BLOCKS | INLINE).items():
        words = command.split()[: 2 if command.startswith(("bpffs ", "make ")) else 1]
        assert re.search(rf"\b{' '.join(words)}\b", (ROOT / where).read_text()), (command, where)


def test_make_run_is_the_demonstration() -> None:
    command = ["make", "--no-print-directory", "-n", "run"]
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert plan.splitlines() == ["contrib/scripts/setup", "contrib/scripts/demo"]
