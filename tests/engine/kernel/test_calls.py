"""engine.kernel.calls and callparse: the table is well-formed and says what it seems to say."""

import pytest

from engine.abi.syscalls import NR, NR_SYSCALLS, SYSCALLS
from engine.kernel.callparse import (
    EXIT_CALL,
    IMMEDIATE,
    KILLED_CALL,
    MOUNT_CALLS,
    ArgKind,
    ArgOp,
    GuardKind,
    RetKind,
    calls_of,
    width_of,
)
from engine.kernel.functions import FUNCTIONS
from engine.probes.layout import MAX_ARGS, MAX_GUARDS


def chain(name: str) -> list[tuple[str, str]]:
    return [(call.caller, call.function.name) for call in calls_of(NR[name])]


def test_every_row_begins_alike() -> None:
    for nr in range(NR_SYSCALLS):
        calls = calls_of(nr)
        row = SYSCALLS.get(nr)
        entry = row.function if row else "__x64_sys_ni_syscall"
        assert [call.function.name for call in calls[:2]] == ["do_syscall_64", entry]
        assert [call.depth for call in calls[:2]] == [0, 1]
    assert calls_of(None)[1].function.name == "__x64_sys_ni_syscall"
    assert [call.function.name for call in calls_of(-1)] == ["do_syscall_64"]


def test_every_function_can_fire() -> None:
    """What `available_filter_functions` lists is reached by a system call, an event or the mount."""
    reached = {call.function.name for nr in [*range(NR_SYSCALLS), None] for call in calls_of(nr)}
    reached |= {call.function.name for call in (EXIT_CALL, KILLED_CALL, *MOUNT_CALLS)}
    assert reached == set(FUNCTIONS)


def test_arguments_fit_the_prototypes() -> None:
    for nr in range(NR_SYSCALLS):
        for call in calls_of(nr):
            assert len(call.args) == len(call.function.params) <= MAX_ARGS
            assert len(call.guards) <= MAX_GUARDS
            count = len(SYSCALLS[nr].args) if nr in SYSCALLS else 0
            used = [op.x for op in (*call.args, *call.guards) if op.kind == ArgKind.VALUE and op.x < 6]
            assert all(number < count for number in used), (nr, call)


def test_nesting() -> None:
    assert chain("openat")[2:] == [
        ("__x64_sys_openat", "do_sys_open"),
        ("__x64_sys_openat", "do_sys_openat2"),
        ("do_sys_openat2", "getname"),
        ("do_sys_openat2", "do_filp_open"),
        ("do_filp_open", "vfs_open"),
    ]
    depths = [call.depth for call in calls_of(NR["openat"])]
    assert depths == [0, 1, 2, 3, 4, 4, 5]


def test_what_waits_for_the_result() -> None:
    deferred = {call.function.name for nr in range(NR_SYSCALLS) for call in calls_of(nr) if call.deferred}
    assert deferred == {"vfs_open", "vfs_create", "vfs_unlink", "vfs_rmdir", "vfs_mkdir", "vfs_rename"}


def test_operations() -> None:
    calls = {call.function.name: call for call in calls_of(NR["newfstatat"])}
    assert calls["vfs_statx"].args[1] == ArgOp(ArgKind.NAME, 1)
    assert calls["vfs_statx"].args[2] == ArgOp(ArgKind.SET_BITS, 3, IMMEDIATE, 0x800)
    assert calls["vfs_statx"].guards == (ArgOp(GuardKind.AT_NAME, 1, 3),)
    second = {call.function.name: call for call in calls_of(NR["renameat2"])}["do_renameat2"]
    assert [op.buffer for op in second.args if op.kind == ArgKind.NAME] == [0, 1]
    assert calls_of(NR["sched_yield"])[-1].ret == RetKind.CONSTANT


@pytest.mark.parametrize(
    ("ctype", "width"),
    [("int", 4), ("umode_t", 2), ("bool", 1), ("size_t", 8), ("struct file *", 8), ("long", 8)],
)
def test_widths(ctype: str, width: int) -> None:
    assert width_of(ctype) == width


def test_no_parameter_type_is_unknown() -> None:
    eight = {"long", "unsigned long", "size_t", "ssize_t", "loff_t", "off_t", "fl_owner_t", "void"}
    for function in FUNCTIONS.values():
        for ctype in (function.returns, *(param.type for param in function.params)):
            assert ctype.endswith("*") or width_of(ctype) < 8 or ctype in eight, ctype
