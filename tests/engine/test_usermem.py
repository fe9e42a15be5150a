"""User memory is read without waiting for whoever supplies it."""

import ctypes
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.env import Env, peek64, poke64
from engine.machine import Machine
from engine.memory import Region
from engine.usermem import LOOK_NS, READER_SIZE, Reader, end_reader, forget_memory, read_missing, user_bytes
from tests.userfault import PAGE, LazyMemory

_EFAULT = -14


@pytest.fixture
def env() -> Iterator[int]:
    """A runner with a reader."""
    machine = Machine()
    env, block = machine.new_env(), Region("reader", READER_SIZE)
    poke64(env + Env.READER, block.address)
    poke64(block.address + Reader.LOOK + 8, LOOK_NS)
    thread = threading.Thread(target=read_missing, args=(block.address,))
    thread.start()
    yield env
    end_reader(block.address)
    thread.join()
    machine.free_env(env)
    block.close()
    machine.close()


@pytest.fixture
def lazy() -> Iterator[LazyMemory]:
    """Memory that is not there."""
    try:
        memory = LazyMemory(4)
    except OSError as error:
        pytest.skip(f"no userfaultfd: {error}")
    with memory:
        yield memory


def _read(env: int, address: int, size: int) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(size)
    got = user_bytes(env, os.getpid(), ctypes.addressof(buffer), address, size)
    return got, buffer.raw[: max(got, 0)]


def _given_up(env: int) -> int:
    return peek64(peek64(env + Env.READER) + Reader.GIVEN_UP)


def test_what_is_there_and_what_cannot_be(env: int) -> None:
    text = ctypes.create_string_buffer(b"present")
    assert _read(env, ctypes.addressof(text), 7) == (7, b"present")
    assert _read(env, ctypes.addressof(text), 0) == (0, b"")
    assert _read(env, 16, 7) == (_EFAULT, b"")
    assert _read(env, (1 << 47) - PAGE, 7) == (_EFAULT, b"")


def test_pages_that_only_have_to_be_fetched(env: int, tmp_path: Path) -> None:
    content = os.urandom(12 * PAGE)
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    assert _read(env, address + 100, 100) == (100, content[100:200])
    assert _read(env, address + 50, 10 * PAGE) == (10 * PAGE, content[50 : 50 + 10 * PAGE])
    assert _given_up(env) == 0


def test_the_end_of_what_is_there(env: int) -> None:
    memory = mmap.mmap(-1, 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + PAGE), PAGE, 0)
    assert _read(env, address + PAGE - 10, 20) == (10, bytes(10))


def test_what_nobody_supplies_is_given_up(env: int, lazy: LazyMemory) -> None:
    assert _read(env, lazy.address, 8) == (_EFAULT, b"")
    assert _given_up(env) == 1
    assert lazy.wanted(10.0) == 0
    assert _read(env, lazy.address + PAGE, 8) == (_EFAULT, b"")
    assert _given_up(env) == 1
    text = ctypes.create_string_buffer(b"present")
    assert _read(env, ctypes.addressof(text), 7) == (7, b"present")
    lazy.supply(0, b"supplied")
    assert _read(env, lazy.address, 8) == (8, b"supplied")


def test_a_supplier_that_is_quick_enough(env: int, lazy: LazyMemory) -> None:
    def supply() -> None:
        page = lazy.wanted(10.0)
        assert page is not None
        lazy.supply(page, b"quick")

    thread = threading.Thread(target=supply)
    thread.start()
    got, _ = _read(env, lazy.address + 2 * PAGE, 5)
    thread.join()
    assert got in (5, _EFAULT)
    assert _read(env, lazy.address + 2 * PAGE, 5) == (5, b"quick")


def test_descriptors_are_given_back(env: int) -> None:
    text, before = ctypes.create_string_buffer(b"x"), len(os.listdir("/proc/self/fd"))
    for thread in os.listdir("/proc/self/task"):
        user_bytes(env, int(thread), ctypes.addressof(text), ctypes.addressof(text), 1)
        assert len(os.listdir("/proc/self/fd")) == before + 1
        forget_memory(env, int(thread))
        assert len(os.listdir("/proc/self/fd")) == before
