"""The notation of `engine.kernel.calls`, parsed: calls with argument operations and guards.

An argument operation is (kind, two operand numbers, immediate); native code in `engine.probes.args` gives
each kind its meaning. An operand number says which argument of the system call is meant.
"""

import ast
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from engine.abi.syscalls import NR, SYSCALLS
from engine.kernel.calls import CALLS
from engine.kernel.functions import FUNCTIONS, TAIL_CALLERS, Function

__all__ = [
    "EXIT_CALL",
    "IMMEDIATE",
    "KILLED_CALL",
    "MOUNT_CALLS",
    "NAMES",
    "ArgKind",
    "ArgOp",
    "Call",
    "GuardKind",
    "RetKind",
    "calls_of",
    "width_of",
]

IMMEDIATE = 0xFF
"""Operand number that stands for the operation's immediate."""

NAMES = {
    "AT_FDCWD": -100,
    "AT_SYMLINK_NOFOLLOW": 0x100,
    "AT_REMOVEDIR": 0x200,
    "AT_NO_AUTOMOUNT": 0x800,
    "AT_EMPTY_PATH": 0x1000,
    "LSTAT_FLAGS": 0x900,
    "CREAT_FLAGS": 0o101101,
    "MAP_ANONYMOUS": 0x20,
    "MAP_ANONYMOUS_OR_HUGETLB": 0x40020,
    "O_LARGEFILE": 0o100000,
    "S_IFMT": 0o170000,
    "S_IFREG": 0o100000,
    "STATX_BASIC_STATS": 0x7FF,
    "STATX_RESERVED": 0x80000000,
    "FORK": 0,
    "VFORK": 1,
    "CLONE": 2,
    "CLONE3": 3,
}
"""Constants of the notation."""


_PATH_OPERAND = {"NAME": 0, "AT_NAME": 0, "BPRM": 0, "DIRECTORY": 1, "DENTRY": 1}
"""Which operand of an operation is the path, for those that have one."""


class ArgKind(IntEnum):
    """What an argument of a modelled function is made of. Names are the notation's."""

    VALUE = 0
    """An operand as it is."""
    SET_BITS = 1
    SHIFT_RIGHT = 2
    EXIT_CODE = 3
    REGS = 4
    NR = 5
    NAME = 6
    FILE = 7
    PATH = 8
    HOW = 9
    USER_HOW = 10
    OP = 11
    USER_OP = 12
    POS = 13
    VALUE_POS = 14
    RANGE_POS = 15
    STACK = 16
    STACK_OR_NULL = 17
    FILES = 18
    CLONE_ARGS = 19
    BPRM = 20
    ANY_FILE = 21
    USER_NS = 22
    DIRECTORY = 23
    DENTRY = 24
    UMASKED = 25
    RENAME_DATA = 26


class GuardKind(IntEnum):
    """When a call happens. Names are the notation's."""

    NAME = 1
    AT_NAME = 2
    FD = 3
    SEEKABLE = 4
    BITS = 5
    EQUAL = 6
    BELOW = 7
    SIGNED = 8
    READABLE = 9
    READABLE_OR_NULL = 10
    OK = 11
    ANY_FD = 12


class RetKind(IntEnum):
    """How a function's return value follows from the system call's."""

    RESULT = 0
    """The result, cut to the width of the function's type."""
    CONSTANT = 1
    FILE = 2
    """struct file of the descriptor that the system call returned, or its error."""
    NEVER = 3
    NAME = 4
    """struct filename of a path, or the error of reading it."""


@dataclass(frozen=True, slots=True)
class ArgOp:
    """One operation; `x` and `y` are operand numbers, `ret` as operand is number 6, `buffer` for a path."""

    kind: int
    x: int = 0
    y: int = 0
    imm: int = 0
    buffer: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `depth` 0 is `do_syscall_64`, 1 `__x64_sys_*`; `caller` the name of the calling function.

    `ret_imm` is the value of a constant; of a name the operand's number, and from bit 8 its buffer.
    """

    function: Function
    caller: str
    depth: int
    args: tuple[ArgOp, ...]
    guards: tuple[ArgOp, ...] = ()
    ret: RetKind = RetKind.RESULT
    ret_imm: int = 0

    @property
    def deferred(self) -> bool:
        """Whether the call is known of only when the system call has returned."""
        return any(guard.kind == GuardKind.OK for guard in self.guards)


_WIDTHS = {"int": 4, "unsigned int": 4, "u32": 4, "pid_t": 4, "uid_t": 4, "gid_t": 4, "key_t": 4, "rwf_t": 4}
_WIDTHS |= {"umode_t": 2, "bool": 1}


def width_of(ctype: str) -> int:
    """Bytes of a scalar C type of the prototypes; 8 for pointers, longs and void."""
    return _WIDTHS.get(ctype, 8)


def _operand(node: ast.expr) -> tuple[int, int]:
    """(operand number, immediate) of a0 .. a5, ret, an integer or a name."""
    if isinstance(node, ast.Name) and node.id in NAMES:
        return IMMEDIATE, NAMES[node.id]
    if isinstance(node, ast.Name) and node.id == "ret":
        return 6, 0
    if isinstance(node, ast.Name) and node.id[0] == "a" and node.id[1:].isdigit():
        return int(node.id[1:]), 0
    return IMMEDIATE, int(ast.literal_eval(node))


def _operation(kinds: type[ArgKind] | type[GuardKind], node: ast.expr, paths: list[int]) -> ArgOp:
    """One operation; `paths` collects the arguments that are paths, each of which has a buffer of its own."""
    if isinstance(node, ast.Name) and node.id == "ok":
        return ArgOp(GuardKind.OK)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        number, imm = _operand(node)
        return ArgOp(ArgKind.VALUE, number, 0, imm)
    kind = kinds[node.func.id.upper()]
    operands = [_operand(arg) for arg in node.args]
    numbers = [number for number, _ in operands] + [0, 0]
    imm = 0
    for number, value in operands:
        if number == IMMEDIATE:
            imm = imm << 32 | value if kind == GuardKind.BITS and number != numbers[0] else value
    buffer = 0
    if kind.name in _PATH_OPERAND:
        path = numbers[_PATH_OPERAND[kind.name]]
        if path not in paths:
            paths.append(path)
        buffer = paths.index(path)
    return ArgOp(kind, numbers[0], numbers[1], imm, buffer)


def _parse(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


def _call(line: str, caller: str, depth: int, paths: list[int]) -> Call:
    text, _, ret = line.partition(" -> ")
    text, _, guards = text.partition(" if ")
    node = _parse(text)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ValueError(f"not a call: {line!r}")
    function = FUNCTIONS[node.func.id]
    args = tuple(_operation(ArgKind, arg, paths) for arg in node.args)
    if len(args) != len(function.params):
        raise ValueError(f"wrong number of arguments: {line!r}")
    parts = [_parse(part) for part in guards.split(" and ") if part]
    conditions = tuple(_operation(GuardKind, part, paths) for part in parts)
    kind, imm = RetKind.RESULT, 0
    if ret == "never":
        kind = RetKind.NEVER
    elif ret == "file(ret)":
        kind = RetKind.FILE
    elif ret.startswith("name("):
        name = _operation(ArgKind, _parse(ret), paths)
        kind, imm = RetKind.NAME, name.buffer << 8 | name.x
    elif ret:
        kind, imm = RetKind.CONSTANT, int(ret)
    return Call(function, caller, depth, args, conditions, kind, imm)


def _trees() -> dict[int, list[Call]]:
    """Inner calls of each system call, by number, in the order in which they are entered."""
    trees: dict[int, list[Call]] = {}
    current: list[int] = []
    path: list[str] = []
    paths: list[int] = []
    for line in CALLS.splitlines():
        indent = len(line) - len(line.lstrip())
        if indent == 0:
            current = [NR[name] for name in line.split(", ")]
            trees |= {nr: [] for nr in current}
            paths = []
            continue
        level = indent // 2
        for nr in current:
            path = [SYSCALLS[nr].function, *path[1:level]]
            trees[nr].append(_call(line.strip(), path[-1], level + 1, paths))
        call = trees[current[0]][-1]
        path.append(call.caller if call.function.name in TAIL_CALLERS else call.function.name)
    return trees


_INNER = _trees()
_SYSCALL_64 = Call(
    FUNCTIONS["do_syscall_64"],
    "entry_SYSCALL_64_after_hwframe",
    0,
    (ArgOp(ArgKind.REGS), ArgOp(ArgKind.NR)),
)


EXIT_CALL = Call(FUNCTIONS["do_exit"], "do_group_exit", 2, (ArgOp(ArgKind.VALUE, 6),), (), RetKind.NEVER)
"""What every thread calls in the end, by whatever way; its operand `ret` is the exit code."""
KILLED_CALL = Call(
    FUNCTIONS["do_group_exit"], "do_syscall_64", 1, (ArgOp(ArgKind.VALUE, 6),), (), RetKind.NEVER
)
"""What a thread that a signal ends calls before; its operand `ret` is the signal."""


_MOUNT_CALLERS = {
    "vfs_open": "do_filp_open",
    "vfs_read": "ksys_read",
    "vfs_write": "ksys_write",
    "vfs_unlink": "do_unlinkat",
    "vfs_mkdir": "do_mkdirat",
    "vfs_rmdir": "do_rmdir",
    "vfs_rename": "do_renameat2",
}
_VALUES = tuple(ArgOp(ArgKind.VALUE, number) for number in range(6))
MOUNT_CALLS = tuple(
    Call(FUNCTIONS[name], caller, 4, _VALUES[: len(FUNCTIONS[name].params)])
    for name, caller in _MOUNT_CALLERS.items()
)
"""Functions that operations on the mount itself pass; their arguments are made by `engine.probes.vfs`."""


@cache
def calls_of(nr: int | None) -> tuple[Call, ...]:
    """All calls that system call `nr` makes, in order of entry; None: a number without a row.

    -1 is no system call even for `do_syscall_64`: it stands for one that a tracer has skipped.
    """
    if nr == -1:
        return (_SYSCALL_64,)
    row = SYSCALLS.get(nr) if nr is not None else None
    entry = row.function if row is not None else "__x64_sys_ni_syscall"
    return (_SYSCALL_64, _entry_call(entry), *(_INNER.get(nr, ()) if nr is not None else ()))


@cache
def _entry_call(name: str) -> Call:
    return Call(FUNCTIONS[name], "do_syscall_64", 1, (ArgOp(ArgKind.REGS),))
