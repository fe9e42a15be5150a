"""engine.helpers.memory: reading user and kernel memory that may not be there."""

import ctypes
import errno
import mmap
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from engine.abi.bpf import FuncId
from engine.env import Ctl, Env, peek64, poke64
from engine.helpers.memory import (
    probe_read,
    probe_read_kernel,
    probe_read_kernel_str,
    probe_read_str,
    probe_read_user,
    probe_read_user_str,
)
from engine.jit.lang import Native
from engine.machine import Machine
from engine.memory import KERNEL_BASE, PAGE_SIZE, Region, kernel_ptr
from tests import kernel_oracle
from tests.engine.helpers import kernel_helpers as kernel

_reason = kernel_oracle.kernel_unavailable()
against_kernel = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

TEXT = b"hello, world\0"


class Reader:
    """An environment, and calls of helpers that read into a buffer of their own."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.env = machine.new_env()
        self.to = ctypes.create_string_buffer(b"\xee" * 4096, 4096)

    def __call__(self, helper: Native, size: int, address: int) -> tuple[int, bytes]:
        ctypes.memset(self.to, 0xEE, 4096)
        result = helper(self.env, ctypes.addressof(self.to), size, address)
        return result, self.to.raw[:size]


@pytest.fixture
def reader() -> Iterator[Reader]:
    machine = Machine()
    yield Reader(machine)
    machine.close()


@pytest.fixture
def victim() -> Iterator[tuple[int, int]]:
    """A child that sleeps, and the address in it of a page with TEXT at its end, followed by nothing."""
    area = mmap.mmap(-1, 3 * PAGE_SIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    end = start + PAGE_SIZE
    ctypes.memmove(end - len(TEXT), TEXT, len(TEXT))
    libc = ctypes.CDLL(None)
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        libc.munmap(ctypes.c_void_p(end), ctypes.c_size_t(PAGE_SIZE))
        os.write(told, b"x")
        signal.pause()
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(told)
    yield child, end
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_user_memory_is_read_up_to_its_end(reader: Reader, victim: tuple[int, int]) -> None:
    child, end = victim
    poke64(reader.env + Env.MEM_TID, child)
    at = end - len(TEXT)
    for helper in (probe_read_user, probe_read):
        assert reader(helper, len(TEXT), at) == (0, TEXT)
        assert reader(helper, len(TEXT) + 1, at) == (-errno.EFAULT, bytes(len(TEXT) + 1))
        assert reader(helper, 0, at)[0] == 0
    for helper in (probe_read_user_str, probe_read_str):
        assert reader(helper, 100, at) == (len(TEXT), TEXT + b"\xee" * (100 - len(TEXT)))
        assert reader(helper, 5, at) == (5, b"hell\0")
        assert reader(helper, 1, at) == (1, b"\0")
        assert reader(helper, 100, end - 1)[0] == 1
        assert reader(helper, 100, end) == (-errno.EFAULT, bytes(100))


def test_a_string_that_runs_into_unmapped_memory_is_a_fault(reader: Reader) -> None:
    area = mmap.mmap(-1, 2 * PAGE_SIZE)
    area[:PAGE_SIZE] = b"x" * PAGE_SIZE
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + PAGE_SIZE), PAGE_SIZE, 0) == 0
    poke64(reader.env + Env.MEM_TID, os.getpid())
    result, data = reader(probe_read_user_str, 1000, start + PAGE_SIZE - 300)
    assert result == -errno.EFAULT
    assert data == bytes(1000)
    assert reader(probe_read_user_str, 300, start + PAGE_SIZE - 300)[0] == 300


def test_without_a_thread_user_memory_faults(reader: Reader) -> None:
    assert reader(probe_read_user, 8, 0x400000) == (-errno.EFAULT, bytes(8))
    assert reader(probe_read, 8, 0x400000) == (-errno.EFAULT, bytes(8))


@pytest.mark.parametrize("address", [0x7FFF_FFFF_F000, 0x8000_0000_0000, 2**64 - 8, 2**63, 0])
def test_kernel_addresses_are_no_user_memory(reader: Reader, address: int) -> None:
    poke64(reader.env + Env.MEM_TID, os.getpid())
    assert reader(probe_read_user, 8, address) == (-errno.EFAULT, bytes(8))


def test_kernel_objects_are_read_at_their_alias(reader: Reader) -> None:
    arena = peek64(reader.machine.ctl + Ctl.KERNEL_ARENA)
    size = peek64(reader.machine.ctl + Ctl.KERNEL_ARENA_SIZE)
    at = arena + size - 64
    ctypes.memmove(at, TEXT, len(TEXT))
    assert reader(probe_read_kernel, len(TEXT), kernel_ptr(at)) == (0, TEXT)
    assert reader(probe_read, len(TEXT), kernel_ptr(at)) == (0, TEXT)
    assert reader(probe_read_kernel_str, 64, kernel_ptr(at))[0] == len(TEXT)
    assert reader(probe_read_kernel, 128, kernel_ptr(at)) == (-errno.EFAULT, bytes(128))


def test_map_memory_is_read_at_host_address_and_alias(reader: Reader) -> None:
    region = Region("values", PAGE_SIZE)
    region.view[PAGE_SIZE - len(TEXT) :] = TEXT
    at = region.address + PAGE_SIZE - len(TEXT)
    for address in (at, kernel_ptr(at)):
        assert reader(probe_read_kernel, len(TEXT), address) == (0, TEXT)
        assert reader(probe_read_kernel_str, 200, address)[0] == len(TEXT)
        assert reader(probe_read_kernel, 200, address) == (-errno.EFAULT, bytes(200))
    region.close()
    assert reader(probe_read_kernel, 8, at)[0] == -errno.EFAULT


def test_registers_are_read_where_the_context_is(reader: Reader) -> None:
    regs = ctypes.create_string_buffer(bytes(range(168)), 168)
    poke64(reader.env + Env.REGS, ctypes.addressof(regs))
    assert reader(probe_read_kernel, 8, ctypes.addressof(regs) + 112) == (0, bytes(range(112, 120)))
    assert reader(probe_read, 8, ctypes.addressof(regs) + 112) == (0, bytes(range(112, 120)))


def test_our_own_memory_is_not_the_programs(reader: Reader) -> None:
    secret = ctypes.create_string_buffer(b"secret" * 100)
    assert reader(probe_read_kernel, 8, ctypes.addressof(secret)) == (-errno.ERANGE, bytes(8))


def test_text_addresses_fault(reader: Reader) -> None:
    assert reader(probe_read_kernel, 8, 0xFFFF_FFFF_8100_0000) == (-errno.EFAULT, bytes(8))


@against_kernel
@pytest.mark.parametrize(
    "helper", [probe_read_kernel, probe_read_kernel_str, probe_read_user, probe_read_user_str]
)
@pytest.mark.parametrize(
    "address",
    [
        0,
        8,
        0x1000,
        0x7FFF_FFFF_EFF8,
        0x7FFF_FFFF_F000,
        2**47,
        2**63,
        0xFFFF_8000_0000_0000,
        2**64 - 1,
        2**64 - 8,
    ],
)
@pytest.mark.parametrize("size", [0, 8])
def test_wild_addresses_agree_with_the_kernel(
    reader: Reader, helper: Native, address: int, size: int
) -> None:
    number = FuncId[helper.__name__]
    with ExitStack() as stack:
        result, out = kernel.value_map(stack, bytes(8)), kernel.value_map(stack, b"\xee" * 8)
        code = kernel.load_address(1, out) + kernel.load_value(2, size) + kernel.load_value(3, address)
        theirs = kernel.run(code + kernel.call(number), result)
        content = kernel.content_of(out, 8)
    assert address != KERNEL_BASE
    assert reader(helper, size, address) == (theirs, content[:size])
