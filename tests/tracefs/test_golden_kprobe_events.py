"""The golden tables of kprobe_events: the kernel's answers to every line that the model can answer."""

import errno
import re

import pytest

from engine.errors import KernelError
from tests.tracefs.conftest import Files
from tests.tracefs.golden import Row, rows

_HASHED = re.compile(r"0x[0-9a-f]{16}\b")
NOT_MODELLED = (
    "jiffies", "linux_banner", "linux_proc_banner",  # data symbols
    "virtio_blk", "intel_pmu", "perf_iommu",  # code that no system call reaches here
    "kprobe_dispatcher", "notifier_call_chain", "do_int3", "exc_page_fault", "aggr_pre_handler", "_stext",
    "BIT_initDStream", "__cpuid", "__list_del_entry",  # names that are not unique there
)  # fmt: skip
INSIDE_A_FUNCTION = re.compile(r"(vfs_read|do_sys_openat2)\+5\b(?!\+)")


def applies(row: Row) -> bool:
    """Whether the modelled kernel has what the line names.

    Left out: symbols that are not modelled, and instructions inside functions (the model has only
    their entries).
    """
    if any(name in row.line for name in NOT_MODELLED):
        return False
    return not (INSIDE_A_FUNCTION.search(row.line) and (not row.error or "$" in row.line))


TABLES = [
    (name, row)
    for name in ("01-kprobe-grammar.txt", "03-kprobe-args.txt")
    for row in rows(name)
    if applies(row)
]


@pytest.fixture(scope="module")
def shared() -> Files:
    """One tracefs for all rows: each starts by emptying kprobe_events and error_log."""
    from engine.machine import Machine

    return Files(Machine(nr_cpus=2))


@pytest.mark.parametrize(("table", "row"), TABLES, ids=[f"{name[:2]}-{row.number}" for name, row in TABLES])
def test_row(shared: Files, table: str, row: Row) -> None:
    """Same errno, same kprobe_events, same error_log, same format."""
    shared.write("error_log", "")
    shared.write("kprobe_events", "")
    error = ""
    try:
        shared.append("kprobe_events", row.line + "\n")
    except KernelError as refused:
        error = errno.errorcode[refused.errno]
    assert error == row.error, row.line
    shown = shared.read("kprobe_events").splitlines()
    assert [_HASHED.sub("HASH", line) for line in shown] == [_HASHED.sub("HASH", each) for each in row.events]
    log = [re.sub(r"^\[ *\d+\.\d+\]", "[TIME]", line) for line in shared.read("error_log").splitlines()]
    assert log == row.log, row.line
    if row.fields:
        group, event = row.events[0].split()[0].split(":")[1].split("/")
        text = shared.read(f"events/{group}/{event}/format").split("signed:1;\n\n", 1)[1]
        assert [line for line in text.splitlines() if line] == row.fields


def test_tables_were_read() -> None:
    """Most of both tables applies."""
    assert len(TABLES) > 400
