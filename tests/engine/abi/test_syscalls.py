"""engine.abi.syscalls, against <asm/unistd_64.h> and the event formats of the machine's kernel."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.abi.syscalls import NR, NR_SYSCALLS, SYSCALLS

HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Path]:
    """events/syscalls of the machine's kernel."""
    if os.getuid() != 0:
        pytest.skip("mounting tracefs needs root")
    if subprocess.run(["mount", "-t", "tracefs", "none", tmp_path], check=False).returncode:
        pytest.skip("the kernel has no tracefs")
    try:
        if not (tmp_path / "events/syscalls").exists():
            pytest.skip("the kernel has no system call events")
        yield tmp_path / "events/syscalls"
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_numbers_are_the_headers() -> None:
    if not HEADER.exists():
        pytest.skip("no <asm/unistd_64.h>")
    wanted = dict(re.findall(r"#define __NR_(\w+) (\d+)", HEADER.read_text()))
    assert {name: NR.get(name) for name in wanted} == {name: int(nr) for name, nr in wanted.items()}


def test_the_newest_are_there() -> None:
    assert NR["file_setattr"] == 469 == NR_SYSCALLS - 1
    assert (NR["uretprobe"], NR["uprobe"], NR["mseal"]) == (335, 336, 462)


def test_entries_and_arguments_are_the_kernels(events: Path) -> None:
    known = {f"sys_enter_{row.entry}": row for row in SYSCALLS.values() if row.exists}
    found = sorted(path.name for path in events.glob("sys_enter_*"))
    assert len(found) > 300
    for name in found:
        lines = re.findall(r"field:(.*);\toffset:", (events / name / "format").read_text())[5:]
        shown = [f"{arg.type} {arg.name}" for arg in known[name].args]
        assert shown == lines, name


def test_rows_without_a_function() -> None:
    assert [row.name for row in SYSCALLS.values() if row.nr in (134, 156, 236)] == [
        "uselib",
        "_sysctl",
        "vserver",
    ]
    assert not SYSCALLS[134].exists
    assert SYSCALLS[134].function == "__x64_sys_ni_syscall"
    assert SYSCALLS[4].function == "__x64_sys_newstat"


def test_shapes() -> None:
    for nr, row in SYSCALLS.items():
        assert row.nr == nr
        assert len(row.args) <= 6
        assert all(arg.name.isidentifier() for arg in row.args)
    assert SYSCALLS[0].args[1].is_pointer
    assert not SYSCALLS[0].args[2].is_pointer
