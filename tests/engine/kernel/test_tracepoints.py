"""engine.kernel.tracepoints: layouts are sound, and syscall events those of the machine's kernel."""

import re
from pathlib import Path

from engine.kernel.tracepoints import event_names, tracepoints
from tests.engine.abi.test_syscalls import events

__all__ = ["events"]

FIELD = re.compile(r"\tfield:(.*) (\S+);\toffset:(\d+);\tsize:(\d+);\tsigned:([01]);")


def test_fields_do_not_overlap() -> None:
    for row in tracepoints().values():
        end = 8
        for field in row.fields:
            assert field.offset >= end
            assert not field.offset % min(8, field.size) or "[" in field.name
            end = field.offset + field.size
        assert (
            row.print_fmt.count("REC->") + row.print_fmt.count("__get_str") >= 1 or row.system == "syscalls"
        )


def test_names() -> None:
    assert event_names(0) == (
        ("raw_syscalls:sys_enter", "syscalls:sys_enter_read"),
        ("raw_syscalls:sys_exit", "syscalls:sys_exit_read"),
    )
    assert event_names(None) == event_names(134) == (("raw_syscalls:sys_enter",), ("raw_syscalls:sys_exit",))
    rows = tracepoints()
    assert list(rows) == sorted(rows)
    assert rows["sched:sched_process_exec"].raw_args == 3


def test_syscall_events_are_the_kernels(events: Path) -> None:
    rows = tracepoints()
    for directory in sorted(events.glob("sys_*_*")):
        text = (directory / "format").read_text()
        row = rows[f"syscalls:{directory.name}"]
        shown = [(f.type, f.name, str(f.offset), str(f.size), str(int(f.signed))) for f in row.fields]
        assert shown == FIELD.findall(text)[4:], directory.name
        if "{" not in text.partition("print fmt: ")[2]:
            assert f"print fmt: {row.print_fmt}\n" in text, directory.name
