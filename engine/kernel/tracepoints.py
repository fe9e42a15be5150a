"""Tracepoints of the modelled kernel: system, name, record layout, print format, one row each.

A record is what the kernel's `struct trace_event_raw_*` is: eight common bytes, then the fields (offsets in
bytes from the start). Layouts are those of Linux 6.1 (include/trace/events, kernel/trace/trace_syscalls.c).
"""

from dataclasses import dataclass
from functools import cache

from engine.abi.syscalls import SYSCALLS, Syscall

__all__ = ["RAW_SYS_ENTER", "RAW_SYS_EXIT", "Field", "Tracepoint", "event_names", "tracepoints"]

RAW_SYS_ENTER = "raw_syscalls:sys_enter"
RAW_SYS_EXIT = "raw_syscalls:sys_exit"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `type` and `name` as the format file prints them (an array's length is in the name)."""

    type: str
    name: str
    offset: int
    size: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """One event. `raw_args` is how many words a raw tracepoint program gets."""

    system: str
    name: str
    fields: tuple[Field, ...]
    print_fmt: str
    raw_args: int

    @property
    def id(self) -> str:
        """system:name."""
        return f"{self.system}:{self.name}"


def _field(text: str) -> Field:
    ctype, name, offset, size, signed = text.rsplit(" ", 4)
    return Field(ctype, name, int(offset), int(size), signed == "s")


_ROWS = (
    (
        "raw_syscalls:sys_enter",
        2,
        "long id 8 8 s; unsigned long args[6] 16 48 u",
        '"NR %ld (%lx, %lx, %lx, %lx, %lx, %lx)", REC->id, REC->args[0], REC->args[1], REC->args[2], '
        "REC->args[3], REC->args[4], REC->args[5]",
    ),
    ("raw_syscalls:sys_exit", 2, "long id 8 8 s; long ret 16 8 s", '"NR %ld = %ld", REC->id, REC->ret'),
    (
        "sched:sched_process_exec",
        3,
        "__data_loc char[] filename 8 4 s; pid_t pid 12 4 s; pid_t old_pid 16 4 s",
        '"filename=%s pid=%d old_pid=%d", __get_str(filename), REC->pid, REC->old_pid',
    ),
    (
        "sched:sched_process_exit",
        1,
        "char comm[16] 8 16 u; pid_t pid 24 4 s; int prio 28 4 s",
        '"comm=%s pid=%d prio=%d", REC->comm, REC->pid, REC->prio',
    ),
    (
        "sched:sched_process_fork",
        2,
        "char parent_comm[16] 8 16 u; pid_t parent_pid 24 4 s; "
        "char child_comm[16] 28 16 u; pid_t child_pid 44 4 s",
        '"comm=%s pid=%d child_comm=%s child_pid=%d", REC->parent_comm, REC->parent_pid, REC->child_comm, '
        "REC->child_pid",
    ),
    (
        "task:task_newtask",
        2,
        "pid_t pid 8 4 s; char comm[16] 12 16 u; "
        "unsigned long clone_flags 32 8 u; short oom_score_adj 40 2 s",
        '"pid=%d comm=%s clone_flags=%lx oom_score_adj=%hd", REC->pid, REC->comm, REC->clone_flags, '
        "REC->oom_score_adj",
    ),
    (
        "task:task_rename",
        2,
        "pid_t pid 8 4 s; char oldcomm[16] 12 16 u; char newcomm[16] 28 16 u; short oom_score_adj 44 2 s",
        '"pid=%d oldcomm=%s newcomm=%s oom_score_adj=%hd", REC->pid, REC->oldcomm, REC->newcomm, '
        "REC->oom_score_adj",
    ),
)


def _enter(row: Syscall) -> Tracepoint:
    fields = [Field("int", "__syscall_nr", 8, 4, True)]
    fields += [Field(arg.type, arg.name, 16 + 8 * i, 8, False) for i, arg in enumerate(row.args)]
    text = ", ".join(f"{arg.name}: 0x%08lx" for arg in row.args)
    values = "".join(f", ((unsigned long)(REC->{arg.name}))" for arg in row.args)
    return Tracepoint("syscalls", f"sys_enter_{row.entry}", tuple(fields), f'"{text}"{values}', 0)


def _exit(row: Syscall) -> Tracepoint:
    fields = (Field("int", "__syscall_nr", 8, 4, True), Field("long", "ret", 16, 8, True))
    return Tracepoint("syscalls", f"sys_exit_{row.entry}", fields, '"0x%lx", REC->ret', 0)


@cache
def tracepoints() -> dict[str, Tracepoint]:
    """All tracepoints by `system:name`, in order of that."""
    rows = []
    for name, raw_args, fields, print_fmt in _ROWS:
        system, _, event = name.partition(":")
        parsed = tuple(_field(text) for text in fields.split("; "))
        rows.append(Tracepoint(system, event, parsed, print_fmt, raw_args))
    for row in SYSCALLS.values():
        if row.exists:
            rows += [_enter(row), _exit(row)]
    return {row.id: row for row in sorted(rows, key=lambda row: row.id)}


def event_names(nr: int | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tracepoints that entry to and return from system call `nr` pass; None: a number without a row."""
    row = SYSCALLS.get(nr) if nr is not None else None
    if row is None or not row.exists:
        return (RAW_SYS_ENTER,), (RAW_SYS_EXIT,)
    enter, leave = f"syscalls:sys_enter_{row.entry}", f"syscalls:sys_exit_{row.entry}"
    return (RAW_SYS_ENTER, enter), (RAW_SYS_EXIT, leave)
