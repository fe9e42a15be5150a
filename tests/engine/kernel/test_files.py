"""engine.kernel.files: struct file of real descriptors of this process, as a probe on vfs_read sees it."""

import os
import select
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.env import Env, peek32, peek64, poke64
from engine.jit.lang import u16
from engine.kernel.files import file_object
from engine.kernel.layout import ALIAS, Dentry, File, Inode, SuperBlock, VfsMount
from engine.memory import host_ptr
from engine.probes.driver import Driver
from engine.probes.regs import Reg
from tests.engine.probes.conftest import Recorder
from tests.engine.probes.test_vfs import names

M64 = (1 << 64) - 1


def file_of(thread: Driver, fd: int, any_mode: int = 0) -> int:
    """Host address of the struct file, or the negative errno."""
    thread.enter("read", fd)
    found = file_object(thread.env, thread.task - ALIAS, fd, any_mode)
    return found if -4096 < found < 0 else host_ptr(found & M64)


def chain(file: int) -> list[str]:
    return names(peek64(file + File.F_PATH_DENTRY))


@contextmanager
def opened(path: Path | str, flags: int) -> Iterator[int]:
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def test_regular_file(thread: Driver, tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(b"x" * 1000)
    with opened(path, os.O_RDWR | os.O_APPEND) as fd:
        os.lseek(fd, 77, os.SEEK_SET)
        file = file_of(thread, fd)
        info = os.fstat(fd)
    assert peek32(file + File.F_FLAGS) & (os.O_APPEND | os.O_ACCMODE) == os.O_RDWR | os.O_APPEND
    assert (peek32(file + File.F_MODE), peek64(file + File.F_POS)) == (3, 77)
    assert chain(file) == [*reversed(path.parts)]
    inode = host_ptr(peek64(file + File.F_INODE))
    assert (peek64(inode + Inode.I_INO), peek64(inode + Inode.I_SIZE)) == (info.st_ino, 1000)
    assert u16(inode + Inode.I_MODE) == info.st_mode
    assert stat.S_ISREG(u16(inode + Inode.I_MODE))
    super_block = host_ptr(peek64(inode + Inode.I_SB))
    device = os.major(info.st_dev) << 20 | os.minor(info.st_dev)
    assert peek32(super_block + SuperBlock.S_DEV) == device
    dentry = peek64(file + File.F_PATH_DENTRY)
    assert peek64(host_ptr(dentry) + Dentry.D_INODE) == peek64(file + File.F_INODE)
    mount = host_ptr(peek64(file + File.F_PATH_MNT))
    assert peek64(mount + VfsMount.MNT_ROOT) == peek64(super_block + SuperBlock.S_ROOT)


@pytest.mark.parametrize(("flags", "mode"), [(os.O_RDONLY, 1), (os.O_WRONLY, 2)])
def test_modes(thread: Driver, tmp_path: Path, flags: int, mode: int) -> None:
    with opened(tmp_path / "f", os.O_CREAT | os.O_WRONLY):
        pass
    with opened(tmp_path / "f", flags) as fd:
        assert peek32(file_of(thread, fd) + File.F_MODE) == mode


def test_closed_and_path_only_descriptors(thread: Driver, tmp_path: Path) -> None:
    with opened(tmp_path, os.O_PATH) as fd:
        assert file_of(thread, fd) == -9
        assert chain(file_of(thread, fd, 1))[0] == tmp_path.name
    assert file_of(thread, fd) == -9
    assert file_of(thread, 0xFFFFFFFF) == -9


def test_deleted_file_keeps_its_name(thread: Driver, tmp_path: Path) -> None:
    with opened(tmp_path / "gone", os.O_CREAT | os.O_RDWR) as fd:
        (tmp_path / "gone").unlink()
        assert chain(file_of(thread, fd))[0] == "gone"


def test_what_has_no_path(thread: Driver) -> None:
    one, two = socket.socketpair()
    reader, writer = os.pipe()
    poll = select.epoll()
    memory = os.memfd_create("scratch")
    assert chain(file_of(thread, one.fileno())) == [""]
    assert chain(file_of(thread, reader)) == [""]
    assert chain(file_of(thread, poll.fileno())) == ["[eventpoll]"]
    assert chain(file_of(thread, memory))[0] == "memfd:scratch"
    for fd in (reader, writer, memory):
        os.close(fd)
    for thing in (one, two, poll):
        thing.close()


def test_root(thread: Driver) -> None:
    with opened("/", os.O_RDONLY) as fd:
        assert chain(file_of(thread, fd)) == ["/"]


def test_deep_and_long_paths(thread: Driver, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*[f"d{i}" for i in range(60)])
    deep.mkdir(parents=True)
    with opened(deep, os.O_RDONLY) as fd:
        found = chain(file_of(thread, fd))
    assert found[:60][:29] == [f"d{i}" for i in reversed(range(31, 60))]
    assert found[-1] == "/"
    long = tmp_path.joinpath(*["n" * 200 for _ in range(15)])
    long.mkdir(parents=True)
    with opened(long, os.O_RDONLY) as fd:
        found = chain(file_of(thread, fd))
    assert found[:5] == ["n" * 200] * 5
    assert found[-1] == "/"


def test_one_system_call_looks_once_and_the_next_again(thread: Driver, tmp_path: Path) -> None:
    with opened(tmp_path, os.O_RDONLY) as fd:
        first = file_of(thread, fd)
        again = file_object(thread.env, thread.task - ALIAS, fd, 0)
        assert host_ptr(again & M64) == first
    assert file_of(thread, fd) == -9


def test_without_a_thread_to_look_at(thread: Driver) -> None:
    poke64(thread.env + Env.MEM_TID, 0)
    assert file_of(thread, 0) == -9


def test_reads_are_guarded_by_the_descriptor(recorder: Recorder, thread: Driver, tmp_path: Path) -> None:
    recorder.probe("vfs_read")
    recorder.probe("vfs_read", ret=True)
    reader, writer = os.pipe()
    thread.call("read", reader, 4096, 1, result=1)
    assert recorder.labels == ["p vfs_read", "r vfs_read"]
    thread.call("pread64", reader, 4096, 1, 0, result=-29)
    thread.call("read", 9999, 4096, 1, result=-9)
    with opened(tmp_path, os.O_PATH) as fd:
        thread.call("read", fd, 4096, 1, result=-9)
    with opened(tmp_path, os.O_RDONLY) as fd:
        thread.call("pread64", fd, 4096, 1, -1, result=-22)
    assert len(recorder.take()) == 2
    with opened(tmp_path, os.O_RDONLY) as fd:
        thread.call("pread64", fd, 4096, 1, 55, result=-21)
    (entry, _) = recorder.take()
    assert peek64(host_ptr(entry.args[3])) == 55
    os.close(reader)
    os.close(writer)


def test_light_hits_know_only_whether_it_is_open(recorder: Recorder, thread: Driver, tmp_path: Path) -> None:
    """Guards hold as ever, the pointer is the same, what it points to is filled once somebody follows."""

    def path(regs: int) -> list[str]:
        return names(peek64(host_ptr(peek64(regs + Reg.DI)) + File.F_PATH_DENTRY))

    light = recorder.probe("vfs_read", "light")
    light.follows_pointers = False
    reader, writer = os.pipe()
    with opened(tmp_path, os.O_RDONLY) as fd, opened(tmp_path, os.O_PATH) as only_path:
        for call, number in (
            ("read", fd),
            ("read", only_path),
            ("read", 9999),
            ("pread64", reader),
            ("pread64", fd),
        ):
            thread.call(call, number, 4096, 1)
        assert recorder.labels == ["light", "light"]
        pointer = recorder.take()[0].args[0]
        heavy = recorder.probe("vfs_read", "heavy", look=path)
        thread.call("read", fd, 4096, 1)
        assert recorder.labels == ["heavy", "light"]
        first = recorder.take()[0]
        assert first.args[0] == pointer
        assert first.extra == [*reversed(tmp_path.parts)]
        heavy.unregister()
        recorder.probe("iterate_dir", "other", look=path)
        thread.call("getdents64", fd, 4096, 1)
        assert recorder.take()[0].extra == [*reversed(tmp_path.parts)]
    os.close(reader)
    os.close(writer)
