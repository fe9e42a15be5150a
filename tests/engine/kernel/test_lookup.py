"""engine.kernel.lookup: names in directories, as probes on vfs_unlink and its kin see them."""

import ctypes
import os
from pathlib import Path

import pytest

from engine.env import peek64
from engine.kernel.layout import RenameData
from engine.kernel.lookup import tidy_path
from engine.memory import host_ptr
from engine.probes.driver import Driver
from engine.probes.regs import Reg
from tests.engine.probes.conftest import Recorder
from tests.engine.probes.test_vfs import names


@pytest.mark.parametrize(
    ("path", "tidy"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("//a///b/", "/a/b"),
        ("/a/./b/.", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/../../..", "/"),
        ("/../x", "/x"),
        ("/.hidden/..name/...", "/.hidden/..name/..."),
        ("/a/bc/../d", "/a/d"),
    ],
)
def test_tidy(path: str, tidy: str) -> None:
    buffer = ctypes.create_string_buffer(path.encode() + b"\0" * 4)
    assert tidy_path(ctypes.addressof(buffer)) == len(tidy)
    assert buffer.value.decode() == tidy


def dentry(regs: int) -> list[str]:
    return names(peek64(regs + Reg.DX))


def test_unlink_and_mkdir_when_they_have_succeeded(
    recorder: Recorder, thread: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recorder.probe("vfs_unlink", look=dentry)
    recorder.probe("vfs_unlink", ret=True)
    recorder.probe("vfs_mkdir", look=dentry)
    recorder.probe("vfs_rmdir", look=dentry)
    name = ctypes.create_string_buffer(b"sub/../gone")
    at = ctypes.addressof(name)
    thread.call("unlink", at, result=-2)
    assert recorder.labels == []
    thread.call("unlink", at)
    fd = os.open(tmp_path.parent, os.O_RDONLY)
    thread.call("unlinkat", fd, at, 0)
    thread.call("unlinkat", fd, at, 0x200)
    before = os.umask(0o027)
    thread.call("mkdir", at, 0o777)
    os.umask(before)
    os.close(fd)
    here, there = [*reversed(tmp_path.parts)], [*reversed(tmp_path.parent.parts)]
    unlink, back, unlinkat, _, rmdir, mkdir = recorder.hits
    assert (unlink.extra, unlinkat.extra, rmdir.extra) == (
        ["gone", *here],
        ["gone", *there],
        ["gone", *there],
    )
    assert (back.label, back.reg(Reg.AX)) == ("r vfs_unlink", 0)
    assert (mkdir.extra, mkdir.args[3]) == (["gone", *here], 0o750)


def test_rename(recorder: Recorder, thread: Driver, tmp_path: Path) -> None:
    def look(regs: int) -> tuple[list[str], list[str], int]:
        data = host_ptr(peek64(regs + Reg.DI))
        old, new = (peek64(data + offset) for offset in (RenameData.OLD_DENTRY, RenameData.NEW_DENTRY))
        return names(old), names(new), peek64(data + RenameData.FLAGS) & 0xFFFFFFFF

    recorder.probe("vfs_rename", look=look)
    old, new = ctypes.create_string_buffer(b"/x/old"), ctypes.create_string_buffer(b"new")
    fd = os.open(tmp_path, os.O_RDONLY)
    thread.call("renameat2", -100, ctypes.addressof(old), fd, ctypes.addressof(new), 2)
    thread.call("rename", ctypes.addressof(old), ctypes.addressof(old))
    os.close(fd)
    first, second = recorder.hits
    assert first.extra == (["old", "x", "/"], ["new", *reversed(tmp_path.parts)], 2)
    assert second.extra == (["old", "x", "/"], ["old", "x", "/"], 0)


def test_only_regular_files_are_created(recorder: Recorder, thread: Driver) -> None:
    recorder.probe("vfs_create", look=dentry)
    name = ctypes.create_string_buffer(b"/new")
    before = os.umask(0o022)
    for mode in (0o666, 0o100666, 0o010666):
        thread.call("mknod", ctypes.addressof(name), mode, 0)
        thread.call("mknodat", 5, ctypes.addressof(name), mode, 0)
    os.umask(before)
    thread.call("mknod", ctypes.addressof(name), 0o666, 0, result=-17)
    assert [hit.extra for hit in recorder.hits] == [["new", "/"]] * 4
    assert [hit.args[3] for hit in recorder.hits] == [0o644, 0o644, 0o100644, 0o100644]
