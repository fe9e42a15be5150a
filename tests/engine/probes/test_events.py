"""engine.probes.events and tracepoints: records, raw arguments, order against the functions around them."""

import ctypes
import errno
import struct

import pytest

from engine.abi.syscalls import NR
from engine.env import Ctl, Env, peek64
from engine.errors import KernelError
from engine.kernel.tasks import task_set_comm
from engine.machine import Machine
from engine.probes.driver import Driver
from engine.probes.events import thread_exec, thread_exit, thread_fork, thread_killed, thread_renamed
from tests.engine.probes.conftest import Recorder


def name(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode()


def test_tracepoints_lie_between_do_syscall_64_and_the_wrapper(recorder: Recorder, thread: Driver) -> None:
    for event in ("raw_syscalls:sys_enter", "syscalls:sys_enter_getpid"):
        recorder.tracepoint(event)
        recorder.tracepoint(event.replace("enter", "exit"))
    for function in ("do_syscall_64", "__x64_sys_getpid"):
        recorder.probe(function)
        recorder.probe(function, ret=True)
    thread.call("getpid", 1, 2, 3, 4, 5, 6, result=77)
    thread.call("getppid")
    assert recorder.labels == [
        "p do_syscall_64",
        "raw_syscalls:sys_enter",
        "syscalls:sys_enter_getpid",
        "p __x64_sys_getpid",
        "r __x64_sys_getpid",
        "raw_syscalls:sys_exit",
        "syscalls:sys_exit_getpid",
        "r do_syscall_64",
        "p do_syscall_64",
        "raw_syscalls:sys_enter",
        "raw_syscalls:sys_exit",
        "r do_syscall_64",
    ]
    assert struct.unpack("<8xq6Q", recorder.hits[1].data) == (NR["getpid"], 1, 2, 3, 4, 5, 6)
    assert struct.unpack("<8xqq", recorder.hits[5].data) == (NR["getpid"], 77)


def test_raw_arguments(recorder: Recorder, thread: Driver) -> None:
    recorder.tracepoint("raw_syscalls:sys_enter", raw=True)
    recorder.tracepoint("raw_syscalls:sys_exit", raw=True)
    thread.call("close", 3, result=-9)
    enter, leave = (struct.unpack("<Qq", hit.data) for hit in recorder.hits)
    assert enter[1] == NR["close"]
    assert leave == (enter[0], -9)


def test_new_thread_passes_sys_exit_only(recorder: Recorder, thread: Driver) -> None:
    recorder.tracepoint("raw_syscalls:sys_exit")
    recorder.probe("kernel_clone", ret=True)
    thread.leave_as("clone", 0)
    assert recorder.labels == ["raw_syscalls:sys_exit"]
    assert struct.unpack("<8xqq", recorder.hits[0].data) == (NR["clone"], 0)


def test_fork_and_rename(recorder: Recorder, thread: Driver, machine: Machine) -> None:
    for event in ("sched:sched_process_fork", "task:task_newtask", "task:task_rename"):
        recorder.tracepoint(event)
    with Driver(machine, "child") as child:
        thread_fork(thread.env, child.task, 0x1200011)
        old = ctypes.create_string_buffer(b"oldname", 16)
        thread_renamed(thread.env, ctypes.addressof(old))
    newtask, fork, rename = recorder.hits
    assert newtask.label == "task:task_newtask"
    pid, comm, flags, score = struct.unpack("<8xi16s4xQh6x", newtask.data)
    assert (pid, name(comm), flags, score) == (thread.tid, "child", 0x1200011, 0)
    parent_comm, parent, child_comm, child_pid = struct.unpack("<8x16si16si", fork.data)
    assert (name(parent_comm), parent) == ("tester", thread.tid)
    assert (name(child_comm), child_pid) == ("child", thread.tid)
    pid, before, after, score = struct.unpack("<8xi16s16sh2x", rename.data)
    assert (pid, name(before), name(after)) == (thread.tid, "oldname", "tester")


@pytest.mark.parametrize("path", [b"/bin/true", b"/" + b"x" * 4094])
def test_exec(recorder: Recorder, thread: Driver, path: bytes) -> None:
    recorder.tracepoint("sched:sched_process_exec")
    buffer = ctypes.create_string_buffer(path)
    thread_exec(thread.env, ctypes.addressof(buffer), 42)
    (hit,) = recorder.hits
    location, pid, old_pid = struct.unpack_from("<8xIii", hit.data)
    length, offset = location >> 16, location & 0xFFFF
    assert (pid, old_pid) == (thread.tid, 42)
    assert hit.data[offset : offset + length] == path + b"\0"
    assert len(hit.data) % 8 == 0


def test_the_end_of_a_thread(recorder: Recorder, thread: Driver) -> None:
    recorder.tracepoint("sched:sched_process_exit")
    for function in ("do_exit", "do_group_exit"):
        recorder.probe(function)
        recorder.probe(function, ret=True)
    thread_killed(thread.env, 11)
    thread_exit(thread.env, 139)
    assert recorder.labels == ["p do_group_exit", "p do_exit", "sched:sched_process_exit"]
    assert [hit.args[0] for hit in recorder.hits[:2]] == [11, 139]
    comm, pid, prio = struct.unpack("<8x16sii", recorder.hits[2].data)
    assert (name(comm), pid, prio) == ("tester", thread.tid, 120)


def test_events_of_a_thread_without_a_task_are_ignored(machine: Machine, recorder: Recorder) -> None:
    recorder.probe("do_exit")
    env = machine.new_env()
    assert peek64(env + Env.TASK) == 0
    assert thread_exit(env, 1) == 0
    assert recorder.hits == []


def test_unknown_tracepoints(machine: Machine) -> None:
    for event, raw in (
        ("sched:nosuch", False),
        ("sched_process_exit", False),
        ("syscalls:sys_enter_read", True),
    ):
        with pytest.raises(KernelError) as error:
            machine.probes.register_tracepoint(event, 0, 0, raw=raw)
        assert error.value.errno == errno.ENOENT


def test_probes_of_a_tracepoint_run_in_order_of_registration(recorder: Recorder, thread: Driver) -> None:
    first = recorder.tracepoint("raw_syscalls:sys_enter")
    second = recorder.tracepoint("raw_syscalls:sys_enter")
    thread.call("getpid")
    first.disable()
    thread.call("getpid")
    assert (first.nhit, second.nhit) == (1, 2)
    assert task_set_comm(thread.task, thread.env + Env.COMM) == 0


def test_rename_makes_system_calls_stop(recorder: Recorder, thread: Driver, machine: Machine) -> None:
    """PR_SET_NAME is seen only where prctl stops."""
    probe = recorder.tracepoint("task:task_rename")
    assert peek64(machine.ctl + Ctl.ARMED) == 1
    thread.call("prctl", 15)
    probe.disable()
    assert peek64(machine.ctl + Ctl.ARMED) == 0
    assert recorder.hits == []
