"""engine.kernel.tasks: slots are unique, reused clean, bounded; facts land in task_struct and cred."""

import ctypes
import struct
import threading

from engine.env import Env
from engine.kernel.layout import ALIAS, SLOT_SIZE, Slot, Task
from engine.kernel.tasks import (
    TaskAllocator,
    task_free,
    task_new,
    task_renumber,
    task_set_comm,
    task_set_creds,
    task_set_leader,
    task_set_parent,
)
from engine.machine import Machine
from engine.memory import host_ptr
from engine.probes.driver import Driver

M64 = (1 << 64) - 1


def field(task: int, offset: int, form: str) -> int:
    raw = ctypes.string_at(host_ptr(task) + offset, struct.calcsize(form))
    value: int = struct.unpack(form, raw)[0]
    return value


def test_facts(machine: Machine, thread: Driver) -> None:
    task = task_new(machine.ctl, 11, 10, 999) & M64
    assert (field(task, Task.PID, "<I"), field(task, Task.TGID, "<I")) == (11, 10)
    assert field(task, Task.START_TIME, "<Q") == 999
    assert field(task, Task.REAL_PARENT, "<Q") == field(task, Task.GROUP_LEADER, "<Q") == task
    task_set_parent(task, thread.task)
    task_set_leader(task, thread.task)
    assert field(task, Task.REAL_PARENT, "<Q") == field(task, Task.PARENT, "<Q") == thread.task
    assert field(task, Task.GROUP_LEADER, "<Q") == thread.task
    task_renumber(task, 10, 10)
    assert field(task, Task.PID, "<I") == 10
    assert field(task, Task.GROUP_LEADER, "<Q") == task
    task_set_creds(task, 1000, 100, 0, 5)
    cred = field(task, Task.CRED, "<Q")
    assert struct.unpack("<8I", ctypes.string_at(host_ptr(cred) + 4, 32)) == (1000, 100, 0, 5, 0, 5, 0, 5)
    assert task_set_comm(task, thread.env + Env.COMM) == 1
    assert task_set_comm(task, thread.env + Env.COMM) == 0
    assert ctypes.string_at(host_ptr(task) + Task.COMM) == b"tester"


def test_slots_are_reused_clean_with_another_serial(machine: Machine) -> None:
    before = machine.kernel.tasks.count
    with Driver(machine, "first") as thread:
        first = thread.task
        thread.call("getpid")
        serial = field(first, Slot.SERIAL, "<Q")
        assert machine.kernel.tasks.count == before + 1
    task = task_new(machine.ctl, 5, 5, 0) & M64
    assert task == first
    assert field(task, Slot.SERIAL, "<Q") > serial
    assert ctypes.string_at(host_ptr(task) + Task.COMM, 16) == bytes(16)
    assert field(task, Slot.INSTANCES, "<I") == 0


def test_a_full_arena_gives_no_task() -> None:
    machine = Machine()
    TaskAllocator(machine.heap, machine.arena.address, 3 * SLOT_SIZE, machine.ctl)
    first = -(-machine.arena.address // SLOT_SIZE) * SLOT_SIZE
    room = (machine.arena.address + 3 * SLOT_SIZE - first) // SLOT_SIZE
    tasks = [task_new(machine.ctl, i, i, 0) for i in range(room + 1)]
    assert tasks[-1] == 0
    assert len({task & M64 for task in tasks[:-1]}) == room
    assert all(task & M64 >= first + ALIAS for task in tasks[:-1])
    task_free(machine.ctl, tasks[0])
    assert task_new(machine.ctl, 1, 1, 0) == tasks[0]
    machine.close()


def test_allocation_from_several_threads(machine: Machine) -> None:
    found: list[int] = []

    def churn() -> None:
        for _ in range(200):
            mine = [task_new(machine.ctl, 1, 1, 0) for _ in range(5)]
            for task in mine[1:]:
                task_free(machine.ctl, task)
            found.append(mine[0])

    before = machine.kernel.tasks.count
    threads = [threading.Thread(target=churn) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(found)) == 600
    assert machine.kernel.tasks.count == before + 600
