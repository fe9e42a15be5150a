"""engine.probes.vfs: operations on the mount as hits, in the caller's name, bounded, never blocking."""

import os
import struct
import threading

from engine.env import peek32, peek64
from engine.kernel.layout import Dentry, File
from engine.machine import Machine
from engine.memory import host_ptr
from engine.probes.regs import Reg
from engine.probes.vfs import QUEUE_LENGTH
from tests.engine.probes.conftest import Recorder


def names(dentry: int) -> list[str]:
    """Names from a dentry (kernel alias) up to the root."""
    found = []
    while True:
        host = host_ptr(dentry)
        text, length = peek64(host + Dentry.D_NAME_NAME), peek32(host + Dentry.D_NAME_LEN)
        raw = bytes((peek32(host_ptr(text) + i) & 0xFF) for i in range(length))
        found.append(os.fsdecode(raw))
        parent = peek64(host + Dentry.D_PARENT)
        if parent == dentry:
            return found
        dentry = parent


def test_read_and_its_return(machine: Machine, recorder: Recorder) -> None:
    def look(regs: int) -> tuple[list[str], int, int]:
        file = host_ptr(peek64(regs + Reg.DI))
        position = peek64(host_ptr(peek64(regs + Reg.CX)))
        return names(peek64(file + File.F_PATH_DENTRY)), peek64(file + File.F_POS), position

    recorder.probe("vfs_read", look=look)
    recorder.probe("vfs_read", ret=True)
    tid = threading.get_native_id()
    machine.vfs.hit("vfs_read", tid, 1, 2, "/sys/kernel/tracing/trace", 5, count=100, pos=7, start_ns=11)
    machine.vfs.drain()
    entry, back = recorder.hits
    assert entry.extra == (["trace", "tracing", "kernel", "sys", "/"], 7, 7)
    assert (entry.args[2], entry.env["tid"], entry.env["time"]) == (100, tid, 11)
    assert back.reg(Reg.AX) == 5
    assert back.env["time"] > 11


def test_names_of_other_operations(machine: Machine, recorder: Recorder) -> None:
    recorder.probe("vfs_unlink", look=lambda regs: names(peek64(regs + Reg.DX)))
    recorder.probe("vfs_mkdir", look=lambda regs: names(peek64(regs + Reg.DX)))

    def rename(regs: int) -> tuple[list[str], list[str], int]:
        data = host_ptr(peek64(regs + Reg.DI))
        return names(peek64(data + 16)), names(peek64(data + 40)), peek32(data + 56)

    recorder.probe("vfs_rename", look=rename)
    machine.vfs.hit("vfs_unlink", 1, 0, 0, "/a", -2)
    machine.vfs.hit("vfs_mkdir", 1, 0, 0, "/a/b", 0, flags=0o755)
    machine.vfs.hit("vfs_rename", 1, 0, 0, "/a/b", 0, new_path="/c", flags=1)
    machine.vfs.drain()
    unlink, mkdir, moved = recorder.hits
    assert unlink.extra == ["a", "/"]
    assert (mkdir.extra, mkdir.args[3]) == (["b", "a", "/"], 0o755)
    assert moved.extra == (["b", "a", "/"], ["c", "/"], 1)


def test_deep_paths_keep_their_end(machine: Machine, recorder: Recorder) -> None:
    found: list[object] = []
    recorder.probe("vfs_open", look=lambda regs: names(peek64(host_ptr(peek64(regs + Reg.SI)) + 24)))
    deep = "".join(f"/d{i}" for i in range(200))
    machine.vfs.hit("vfs_open", 1, 0, 0, deep, 0)
    machine.vfs.hit("vfs_open", 1, 0, 0, "/" + "y" * 255 + "/" + "x" * 3000, 0)
    machine.vfs.drain()
    found = [hit.extra for hit in recorder.hits]
    assert isinstance(found[0], list)
    assert found[0][:2] == ["d199", "d198"]
    assert found[0][-1] == "/"
    assert len(found[0]) == 30


def test_attached_threads_count_once(machine: Machine, recorder: Recorder) -> None:
    for function in ("vfs_read", "vfs_unlink"):
        recorder.probe(function)
    machine.vfs.is_attached = lambda tid: tid == 7
    for tid in (7, 8):
        machine.vfs.hit("vfs_read", tid, 0, 0, "/x", 0)
        machine.vfs.hit("vfs_unlink", tid, 0, 0, "/x", 0)
    machine.vfs.drain()
    assert [(hit.label, hit.env["tid"]) for hit in recorder.hits] == [("p vfs_read", 8), ("p vfs_unlink", 8)]


def test_what_does_not_fit_is_counted(machine: Machine, recorder: Recorder) -> None:
    gate = threading.Event()
    probe = recorder.probe("vfs_write", look=lambda regs: gate.wait(10))
    machine.vfs.hit("vfs_write", 1, 0, 0, "/x", 0)
    for _ in range(QUEUE_LENGTH + 10):
        machine.vfs.hit("vfs_write", 1, 0, 0, "/x", 0)
    gate.set()
    machine.vfs.drain()
    assert probe.nhit + probe.nmissed == QUEUE_LENGTH + 11
    assert 9 <= probe.nmissed <= 10


def test_unarmed_operations_start_nothing(machine: Machine) -> None:
    before = threading.active_count()
    machine.vfs.hit("vfs_read", 1, 0, 0, "/x", 0)
    assert threading.active_count() == before
    machine.vfs.close()


def test_a_thread_that_is_gone(machine: Machine, recorder: Recorder) -> None:
    recorder.probe("vfs_rmdir")
    machine.vfs.hit("vfs_rmdir", 2**22 + 5, 0, 0, "/x", 0)
    machine.vfs.drain()
    assert recorder.hits[0].env["tid"] == 2**22 + 5
    assert struct.unpack("<Q", recorder.hits[0].data[80:88]) == (0,)
