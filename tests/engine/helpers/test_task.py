"""Helpers about the current thread: who, where, which storage and stack is its own."""

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Iterator

import pytest

from engine.abi.bpf import MapCreateFlag, MapType
from engine.env import Ctl, Env, peek64, poke32, poke64
from engine.helpers.cgroup import current_task_under_cgroup, get_current_cgroup_id, get_ns_current_pid_tgid
from engine.helpers.misc import get_prandom_u32, get_smp_processor_id
from engine.helpers.signals import send_signal, send_signal_thread
from engine.helpers.stacks import get_stack, get_stackid
from engine.helpers.storage import task_storage_delete, task_storage_get
from engine.helpers.task import (
    get_current_comm,
    get_current_pid_tgid,
    get_current_task,
    get_current_uid_gid,
)
from engine.kernel.layout import Slot, Task
from engine.machine import Machine
from engine.maps import MapSpec, create_map
from engine.maps.cgroup import Cgroup
from engine.maps.objects import ObjectArray
from engine.maps.stack_ops import StackFlag
from engine.memory import kernel_ptr
from engine.probes.regs import Reg


class Running:
    """An environment in which this process is the current task, with a task slot and registers."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.env = machine.new_env()
        arena = peek64(machine.ctl + Ctl.KERNEL_ARENA)
        self.slot = arena + peek64(machine.ctl + Ctl.KERNEL_ARENA_SIZE) - (1 << 20)
        poke32(self.env + Env.TID, 12)
        poke32(self.env + Env.TGID, os.getpid())
        poke32(self.env + Env.UID, 1000)
        poke32(self.env + Env.GID, 100)
        ctypes.memmove(self.env + Env.COMM, b"fifteen-letters\0", 16)
        poke64(self.env + Env.MEM_TID, os.getpid())
        poke64(self.env + Env.TASK, kernel_ptr(self.slot))


@pytest.fixture
def running() -> Iterator[Running]:
    machine = Machine()
    yield Running(machine)
    machine.close()


def test_ids(running: Running) -> None:
    assert get_current_pid_tgid(running.env) == os.getpid() << 32 | 12
    assert get_current_uid_gid(running.env) == 100 << 32 | 1000
    assert get_current_task(running.env) & (1 << 64) - 1 == kernel_ptr(running.slot)
    poke32(running.env + Env.CPU, 1)
    assert get_smp_processor_id(running.env) == 1


@pytest.mark.parametrize(
    ("size", "name"),
    [(16, b"fifteen-letters\0"), (8, b"fifteen\0"), (1, b"\0"), (20, b"fifteen-letters" + bytes(5))],
)
def test_the_name_is_cut_or_padded(running: Running, size: int, name: bytes) -> None:
    buffer = ctypes.create_string_buffer(b"\xee" * 24, 24)
    assert get_current_comm(running.env, ctypes.addressof(buffer), size) == 0
    assert buffer.raw == name + b"\xee" * (24 - size)


def test_random_numbers_repeat_from_the_same_state(running: Running) -> None:
    poke64(running.env + Env.PRANDOM, 42)
    first = [get_prandom_u32(running.env) for _ in range(100)]
    poke64(running.env + Env.PRANDOM, 42)
    assert first == [get_prandom_u32(running.env) for _ in range(100)]
    assert len(set(first)) == 100
    assert all(0 <= number < 1 << 32 for number in first)
    poke64(running.env + Env.PRANDOM, 0)
    assert get_prandom_u32(running.env) != get_prandom_u32(running.env)


def test_each_thread_has_its_own_storage(running: Running) -> None:
    storage = create_map(
        MapSpec(
            MapType.TASK_STORAGE, 4, 8, 0, MapCreateFlag.NO_PREALLOC, btf_key_type_id=1, btf_value_type_id=2
        )
    )
    env, tasks = running.env, [kernel_ptr(running.slot), kernel_ptr(running.slot + (1 << 16))]
    for task in tasks:
        assert task_storage_get(env, storage.address, task, 0, 0) == 0
    found = [task_storage_get(env, storage.address, task, 0, 1) for task in tasks]
    assert all(peek64(at) == 0 for at in found)
    for i, at in enumerate(found):
        poke64(at, i + 5)
    assert [peek64(task_storage_get(env, storage.address, task, 0, 0)) for task in tasks] == [5, 6]
    # The slot serves another thread, which began later.
    poke64(running.slot + Task.START_TIME, 77)
    assert task_storage_get(env, storage.address, tasks[0], 0, 0) == 0
    value = ctypes.c_uint64(9)
    assert peek64(task_storage_get(env, storage.address, tasks[0], ctypes.addressof(value), 1)) == 9
    assert task_storage_delete(env, storage.address, tasks[1]) == 0
    assert task_storage_delete(env, storage.address, tasks[1]) == -errno.ENOENT
    for wild in (0, 8, 2**63, 2**64 - 8):
        assert task_storage_get(env, storage.address, wild, 0, 1) == 0
        assert task_storage_delete(env, storage.address, wild) == -errno.EINVAL
    storage.close()


def test_signals_reach_the_current_process(running: Running) -> None:
    got: list[int] = []
    previous = signal.signal(signal.SIGUSR2, lambda number, _: got.append(number))
    try:
        assert send_signal(running.env, signal.SIGUSR2) == 0
        assert send_signal_thread(running.env, signal.SIGUSR2) == 0
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert got == [signal.SIGUSR2] * 2
    assert send_signal(running.env, 0) == 0
    assert send_signal(running.env, 65) == -errno.EINVAL
    poke64(running.env + Env.MEM_TID, 0)
    assert send_signal(running.env, signal.SIGUSR2) == -errno.EPERM


def test_the_control_group_is_the_one_of_proc(running: Running) -> None:
    with open("/proc/self/cgroup", encoding="ascii") as file:
        lines = [line[3:].strip() for line in file if line.startswith("0::")]
    if not lines or not os.path.isdir("/sys/fs/cgroup" + lines[0]):
        pytest.skip("no unified hierarchy at /sys/fs/cgroup")
    wanted = os.stat("/sys/fs/cgroup" + lines[0]).st_ino
    assert get_current_cgroup_id(running.env) == wanted
    groups = create_map(MapSpec(MapType.CGROUP_ARRAY, 4, 4, 3))
    assert isinstance(groups, ObjectArray)
    groups.update_object(struct.pack("<I", 0), Cgroup("/sys/fs/cgroup"))
    groups.update_object(struct.pack("<I", 1), Cgroup("/sys/fs/cgroup/no/such/group"))
    answers = [current_task_under_cgroup(running.env, groups.address, i) for i in range(4)]
    assert answers == [1, 0, -errno.EAGAIN, -errno.E2BIG]
    groups.close()


def test_ids_in_the_threads_own_namespace(running: Running) -> None:
    place = os.stat("/proc/self/ns/pid")
    poke32(running.env + Env.NSPID, 3)
    poke32(running.env + Env.NSTGID, 2)
    out = ctypes.create_string_buffer(b"\xee" * 8, 8)
    at = ctypes.addressof(out)
    assert get_ns_current_pid_tgid(running.env, place.st_dev, place.st_ino, at, 8) == 0
    assert struct.unpack("<II", out.raw) == (3, 2)
    assert get_ns_current_pid_tgid(running.env, place.st_dev, place.st_ino + 1, at, 8) == -errno.EINVAL
    assert out.raw == bytes(8)


def test_stacks(running: Running) -> None:
    frames = (ctypes.c_uint64 * 8)()
    base = ctypes.addressof(frames)
    frames[:6] = [base + 16, 0x401000, base + 32, 0x402000, 0, 0x403000]
    poke64(running.slot + Slot.REGS + Reg.IP, 0x400100)
    poke64(running.slot + Slot.REGS + Reg.BP, base)
    regs = ctypes.create_string_buffer(168)
    stack = running.slot + Slot.STACK_TOP - 8
    poke64(ctypes.addressof(regs) + Reg.IP, 0xFFFFFFFF81000011)
    poke64(ctypes.addressof(regs) + Reg.SP, kernel_ptr(stack))
    poke64(stack, 0xFFFFFFFF81000200)
    poke64(running.env + Env.REGS, ctypes.addressof(regs))
    user = [0x400100, 0x401000, 0x402000, 0x403000]
    kernel = [0xFFFFFFFF81000011, 0xFFFFFFFF81000200]
    stacks = create_map(MapSpec(MapType.STACK_TRACE, 4, 127 * 8, 1 << 16))
    out = (ctypes.c_uint64 * 10)()
    for flags, wanted in ((0, kernel), (StackFlag.USER_STACK, user), (StackFlag.USER_STACK | 1, user[1:])):
        number = get_stackid(running.env, 0, stacks.address, flags)
        found = struct.unpack("<127Q", stacks.lookup(struct.pack("<I", number)))
        assert list(found[: len(wanted) + 1]) == [*wanted, 0]
        assert get_stack(running.env, 0, ctypes.addressof(out), 80, flags) == 8 * len(wanted)
        assert list(out)[: len(wanted) + 1] == [*wanted, 0]
    assert get_stack(running.env, 0, ctypes.addressof(out), 16, StackFlag.USER_STACK) == 16
    assert get_stackid(running.env, 0, stacks.address, 1 << 12) == -errno.EINVAL
    assert get_stackid(running.env, 0, stacks.address, 5) == -errno.EFAULT
    assert get_stack(running.env, 0, ctypes.addressof(out), 12, 0) == -errno.EINVAL
    stacks.close()
