"""The x86-64 system call table as of Linux 6.18: number, name, entry point, arguments with their C types.

Rows of `syscalls_low` and `syscalls_high` read

    NUMBER NAME[=ENTRY][(TYPE ARGUMENT, ...)]

NAME is that of <asm/unistd_64.h>, ENTRY what the kernel calls the function behind it (`__x64_sys_ENTRY`,
`sys_enter_ENTRY`) where it differs. A number without a parenthesis is reserved and has no function of its
own: it enters `__x64_sys_ni_syscall`. Longer rows go on in the next, indented, line.
"""

import re
from dataclasses import dataclass

from engine.abi import syscalls_high, syscalls_low

__all__ = ["NI_SYSCALL", "NR", "NR_SYSCALLS", "SYSCALLS", "Param", "Syscall"]

NI_SYSCALL = "ni_syscall"
"""Entry of every number without a function (kernel/sys_ni.c)."""

_ROW = re.compile(r"(?P<nr>\d+) (?P<name>\w+)(=(?P<entry>\w+))?(\((?P<args>.*)\))?")
_PARAM = re.compile(r"(?P<type>.*[ *])(?P<name>\w+)")


@dataclass(frozen=True, slots=True)
class Param:
    """One argument: its name, and its C type as event formats print it (`const char *`)."""

    name: str
    type: str

    @property
    def is_pointer(self) -> bool:
        """Whether the argument is a user-space address."""
        return self.type.endswith("*")


@dataclass(frozen=True, slots=True)
class Syscall:
    """One row: `args` in the order of %rdi, %rsi, %rdx, %r10, %r8, %r9."""

    nr: int
    name: str
    entry: str
    args: tuple[Param, ...]

    @property
    def function(self) -> str:
        """The kernel symbol that the number's slot of `sys_call_table` holds."""
        return f"__x64_sys_{self.entry}"

    @property
    def exists(self) -> bool:
        """Whether a function of its own is behind the number."""
        return self.entry != NI_SYSCALL


def _param(text: str) -> Param:
    match = _PARAM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not an argument: {text!r}")
    ctype = match["type"].replace("**", "* *").replace(" *", "*").replace("*", " *").strip()
    return Param(match["name"], ctype)


def _rows(text: str) -> list[Syscall]:
    found = []
    for line in text.replace("\n    ", " ").splitlines():
        match = _ROW.fullmatch(line)
        if match is None:
            raise ValueError(f"not a row of the system call table: {line!r}")
        args = tuple(_param(arg) for arg in (match["args"] or "").split(",") if arg)
        found.append(Syscall(int(match["nr"]), match["name"], match["entry"] or match["name"], args))
    return found


SYSCALLS: dict[int, Syscall] = {row.nr: row for row in _rows(syscalls_low.ROWS) + _rows(syscalls_high.ROWS)}
"""All rows by number, ascending."""

NR: dict[str, int] = {row.name: row.nr for row in SYSCALLS.values()}
"""Numbers by name, as `__NR_name`."""

NR_SYSCALLS = max(SYSCALLS) + 1
"""One past the highest number."""
