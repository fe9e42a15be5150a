"""engine.probes.fire: order, guards, registers and returns of system calls, by a synthetic thread."""

import ctypes
import os
import struct
from pathlib import Path

import pytest

from engine.abi.syscalls import NR, NR_SYSCALLS
from engine.env import Env, poke64
from engine.machine import Machine
from engine.memory import host_ptr
from engine.probes.driver import Driver
from engine.probes.regs import Reg
from tests.engine.probes.conftest import Recorder

AT_FDCWD = -100
M64 = (1 << 64) - 1
OPEN = "do_syscall_64", "__x64_sys_openat", "do_sys_open", "do_sys_openat2", "do_filp_open", "vfs_open"


def path(text: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(text)


def openat(thread: Driver, text: bytes, flags: int, mode: int, result: int) -> None:
    buffer = path(text)
    thread.call("openat", AT_FDCWD, ctypes.addressof(buffer), flags, mode, result=result)


def test_calls_nest_and_return_in_reverse(recorder: Recorder, thread: Driver, tmp_path: Path) -> None:
    for name in OPEN:
        recorder.probe(name)
        recorder.probe(name, ret=True)
    fd = os.open(tmp_path, os.O_RDONLY)
    openat(thread, os.fsencode(tmp_path), 0, 0, fd)
    os.close(fd)
    expected = [f"p {name}" for name in OPEN] + [f"r {name}" for name in reversed(OPEN)]
    assert recorder.labels == expected


def test_failed_open_does_not_reach_vfs_open(recorder: Recorder, thread: Driver) -> None:
    for name in ("do_filp_open", "vfs_open"):
        recorder.probe(name)
        recorder.probe(name, ret=True)
    openat(thread, b"/nosuch", 0, 0, -2)
    assert recorder.labels == ["p do_filp_open", "r do_filp_open"]
    assert recorder.hits[1].reg(Reg.AX) == -2 & M64
    recorder.take()
    openat(thread, b"", 0, 0, -2)
    thread.call("openat", AT_FDCWD, 8, 0, 0, result=-14)
    assert recorder.labels == []


def test_getname_returns_the_name_that_it_was_given(recorder: Recorder, thread: Driver) -> None:
    """Its value follows at its entry, and stands even when the memory has other content by the return."""

    def name(regs: int) -> bytes:
        value = int.from_bytes(ctypes.string_at(regs + Reg.AX, 8), "little")
        if value >= M64 - 4095:
            return str(value - M64 - 1).encode()
        return ctypes.string_at(host_ptr(int.from_bytes(ctypes.string_at(host_ptr(value), 8), "little")))

    recorder.probe("getname")
    recorder.probe("getname", ret=True, look=name)
    buffer = path(b"/before")
    thread.enter("openat", AT_FDCWD, ctypes.addressof(buffer), 0, 0)
    buffer.value = b"/after"
    thread.leave(-2)
    old, new = path(b"/old"), path(b"/new")
    thread.call("rename", ctypes.addressof(old), ctypes.addressof(new), result=-2)
    openat(thread, b"", 0, 0, -2)
    thread.call("openat", AT_FDCWD, 8, 0, 0, result=-14)
    returned = [hit.extra for hit in recorder.hits if hit.label == "r getname"]
    assert returned == [b"/before", b"/new", b"/old", b"-2", b"-14"]
    assert recorder.hits[0].args[0] == ctypes.addressof(buffer)


def test_arguments_are_those_of_the_prototype(recorder: Recorder, thread: Driver) -> None:
    buffer = path(b"/etc/passwd")
    at = ctypes.addressof(buffer)

    def how(regs: int) -> tuple[int, ...]:
        pointer = struct.unpack("<Q", ctypes.string_at(regs + Reg.DX, 8))[0]
        return struct.unpack("<QQQ", ctypes.string_at(host_ptr(pointer), 24))

    recorder.probe("do_sys_open")
    recorder.probe("do_sys_openat2", look=how)
    recorder.probe("do_filp_open")
    thread.call("openat", AT_FDCWD, at, 0o101, 0o1644, result=-13)
    first, second, third = recorder.take()
    assert first.args[:4] == [AT_FDCWD & 0xFFFFFFFF, at, 0o100101, 0o1644]
    assert second.args[:2] == [AT_FDCWD & 0xFFFFFFFF, at]
    assert second.extra == (0o100101, 0o1644, 0)
    name = ctypes.string_at(host_ptr(third.args[1]), 32)
    text, uptr = struct.unpack("<QQ", name[:16])
    assert (ctypes.string_at(host_ptr(text)), uptr) == (b"/etc/passwd", at)
    thread.call("openat", AT_FDCWD, at, 0, 0o777, result=-13)
    assert recorder.take()[1].extra == (0o100000, 0, 0)


def test_registers_are_a_kernel_pt_regs(recorder: Recorder, thread: Driver, machine: Machine) -> None:
    recorder.probe("ksys_read")
    thread.call("read", 0x1_0000_0003, 4096, 12, result=0)
    (hit,) = recorder.take()
    symbol = machine.kernel.symbols.lookup("ksys_read")
    assert symbol is not None
    assert hit.args[:3] == [3, 4096, 12]
    assert (hit.reg(Reg.IP), hit.reg(Reg.CS), hit.reg(Reg.SS)) == (symbol.address + 1, 0x10, 0x18)
    assert hit.reg(Reg.ORIG_AX) == M64
    assert machine.kernel.symbols.resolve(hit.stack0) is not None
    assert hit.ret_ip.startswith("__x64_sys_read+")


def test_syscall_wrapper_gets_a_pointer_to_user_registers(recorder: Recorder, thread: Driver) -> None:
    def user(regs: int) -> tuple[int, int, int]:
        pointer = struct.unpack("<Q", ctypes.string_at(regs + Reg.DI, 8))[0]
        raw = ctypes.string_at(host_ptr(pointer), 168)
        di, nr, ax = (struct.unpack_from("<q", raw, r)[0] for r in (Reg.DI, Reg.ORIG_AX, Reg.AX))
        return di, nr, ax

    recorder.probe("__x64_sys_kill", look=user)
    recorder.probe("do_syscall_64", look=user)
    thread.call("kill", 1234, 9, result=-1)
    outer, inner = recorder.take()
    assert outer.extra == inner.extra == (1234, NR["kill"], -38)
    assert outer.args[1] == NR["kill"]


@pytest.mark.parametrize("nr", [NR_SYSCALLS, 400, 1 << 30, -2, 134])
def test_numbers_without_a_function(recorder: Recorder, thread: Driver, nr: int) -> None:
    recorder.probe("do_syscall_64")
    recorder.probe("__x64_sys_ni_syscall")
    recorder.probe("__x64_sys_read")
    thread.call(nr, result=-38)
    assert recorder.labels == ["p do_syscall_64", "p __x64_sys_ni_syscall"]
    assert recorder.hits[0].args[1] == nr & 0xFFFFFFFF


def test_minus_one_reaches_no_function(recorder: Recorder, thread: Driver) -> None:
    """`do_syscall_64` runs, but calls nothing: to it -1 is a system call that a tracer skipped."""
    recorder.probe("do_syscall_64")
    recorder.probe("do_syscall_64", ret=True)
    recorder.probe("__x64_sys_ni_syscall")
    thread.call(-1, result=-38)
    assert recorder.labels == ["p do_syscall_64", "r do_syscall_64"]


def test_alias_is_the_same_function(recorder: Recorder, thread: Driver) -> None:
    probe = recorder.probe("dragonos_kernel::syscall::Syscall::handle")
    assert probe.symbol.startswith("dragonos")
    thread.call("getpid", result=1)
    assert recorder.hits[0].function == "do_syscall_64"
    assert recorder.hits[0].args[1] == NR["getpid"]


def test_latest_registered_fires_first_and_returns_last(recorder: Recorder, thread: Driver) -> None:
    """Golden 08: p:a r:b p:c r:d fire as c a, then b with a hidden caller, then d."""
    recorder.probe("do_sys_openat2", "a")
    recorder.probe("do_sys_openat2", "b", ret=True)
    recorder.probe("do_sys_openat2", "c")
    recorder.probe("do_sys_openat2", "d", ret=True)
    openat(thread, b"/etc/passwd", 0, 0, -2)
    c, a, b, d = recorder.take()
    assert [c.label, a.label, b.label, d.label] == ["c", "a", "b", "d"]
    assert c.ret_ip == "__x64_sys_openat+0x6a"
    assert b.ret_ip == "arch_rethook_trampoline+0x0"
    assert d.ret_ip == "__x64_sys_openat+0x6a"
    assert recorder._symbol(a.stack0) == "arch_rethook_trampoline+0x0"
    assert recorder._symbol(b.reg(Reg.IP)) == "__x64_sys_openat+0x6a"
    assert b.reg(Reg.AX) == d.reg(Reg.AX) == -2 & M64


def test_int_functions_return_32_bits(recorder: Recorder, thread: Driver) -> None:
    recorder.probe("do_mkdirat", ret=True)
    recorder.probe("__x64_sys_mkdir", ret=True)
    buffer = path(b"/x")
    thread.call("mkdir", ctypes.addressof(buffer), 0o755, result=-17)
    inner, outer = recorder.take()
    assert inner.reg(Reg.AX) == -17 & 0xFFFFFFFF
    assert outer.reg(Reg.AX) == -17 & M64


def test_return_whose_entry_was_not_seen_is_not_reported(recorder: Recorder, thread: Driver) -> None:
    late = recorder.probe("ksys_write", ret=True, enable=False)
    other = recorder.probe("do_syscall_64")
    thread.enter("write", 1, 0, 0)
    late.enable()
    thread.leave(0)
    assert recorder.labels == ["p do_syscall_64"]
    thread.enter("write", 1, 0, 0)
    late.disable()
    thread.leave(0)
    assert recorder.labels == ["p do_syscall_64"] * 2
    late.enable()
    thread.enter("write", 1, 0, 0)
    late.unregister()
    other.unregister()
    thread.leave(0)
    assert recorder.labels == ["p do_syscall_64"] * 3
    assert (late.nhit, late.nmissed) == (0, 0)


def test_return_after_an_unseen_return_belongs_to_its_own_entry(recorder: Recorder, thread: Driver) -> None:
    recorder.probe("ksys_write", ret=True)
    recorder.probe("ksys_read", ret=True)
    thread.enter("write", 1, 0, 0)
    thread.enter("read", 1, 0, 0)
    thread.leave(5)
    assert recorder.labels == ["r ksys_read"]
    recorder.take()
    thread.enter("write", 1, 0, 0)
    thread.leave_as("read", 7)
    assert recorder.labels == []


def test_pending_returns_are_bounded_by_max_active(recorder: Recorder, machine: Machine) -> None:
    probe = recorder.probe("ksys_read", ret=True, max_active=2)
    threads = [Driver(machine) for _ in range(3)]
    for thread in threads:
        thread.enter("read", 0, 0, 0)
    assert probe.nmissed == 1
    threads[0].leave(1)
    threads[2].leave(1)
    assert probe.nhit == 1
    threads[2].enter("read", 0, 0, 0)
    assert probe.nmissed == 1
    for thread in threads:
        thread.close()
    with Driver(machine) as again:
        for _ in range(5):
            again.call("read", 0, 0, 0)
    assert (probe.nhit, probe.nmissed) == (6, 1)


def test_functions_that_never_return(recorder: Recorder, thread: Driver) -> None:
    recorder.probe("do_group_exit")
    recorder.probe("do_group_exit", ret=True)
    recorder.probe("__x64_sys_exit_group", ret=True)
    thread.enter("exit_group", 259)
    assert recorder.labels == ["p do_group_exit"]
    assert recorder.hits[0].args[0] == 3 << 8


def test_hit_while_a_handler_runs_counts_as_missed(recorder: Recorder, thread: Driver) -> None:
    probe = recorder.probe("do_syscall_64")
    poke64(thread.env + Env.IN_HIT, 1)
    thread.call("getpid")
    poke64(thread.env + Env.IN_HIT, 0)
    thread.call("getpid")
    assert (probe.nhit, probe.nmissed) == (1, 1)


def test_several_system_calls_reach_the_same_function(recorder: Recorder, thread: Driver) -> None:
    recorder.probe("do_renameat2")
    old, new = path(b"/a"), path(b"/b")
    at_old, at_new = ctypes.addressof(old), ctypes.addressof(new)
    thread.call("rename", at_old, at_new)
    thread.call("renameat", 5, at_old, 6, at_new)
    thread.call("renameat2", 5, at_old, 6, at_new, 4)
    rows = [[hit.args[0], hit.args[2], hit.args[4]] for hit in recorder.take()]
    assert rows == [[AT_FDCWD & 0xFFFFFFFF] * 2 + [0], [5, 6, 0], [5, 6, 4]]


def test_guards_choose_between_calls(recorder: Recorder, thread: Driver) -> None:
    for function in ("do_unlinkat", "do_rmdir", "do_preadv", "do_readv", "vm_mmap_pgoff"):
        recorder.probe(function)
    name = path(b"/x")
    at = ctypes.addressof(name)
    thread.call("unlinkat", AT_FDCWD, at, 0)
    thread.call("unlinkat", AT_FDCWD, at, 0x200)
    thread.call("unlinkat", AT_FDCWD, at, 0x400, result=-22)
    thread.call("preadv2", 0, 0, 0, 8, 0, 0)
    thread.call("preadv2", 0, 0, 0, -1, 0, 0)
    thread.call("preadv2", 0, 0, 0, -2, 0, 0, result=-22)
    thread.call("mmap", 0, 4096, 3, 0x22, -1, 0, result=0x7F0000000000)
    thread.call("mmap", 0, 4096, 3, 0x22, -1, 1, result=-22)
    thread.call("mmap", 0, 4096, 3, 2, 9999, 0, result=-9)
    assert recorder.labels == ["p do_unlinkat", "p do_rmdir", "p do_preadv", "p do_readv", "p vm_mmap_pgoff"]
