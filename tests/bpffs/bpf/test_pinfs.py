"""Objects come and go with their directories; what was refused leaves nothing behind."""

import gc
import os
from collections.abc import Iterator

import pytest

from bpffs.bpf.directory import BpfDir
from bpffs.bpf.pinfs import BpfFs
from engine.errors import KernelError
from engine.kernfs import Caller, Dir, File
from engine.machine import Machine
from tests.e2e.conftest import EXAMPLES

ROOT = Caller()
OBJECT = (EXAMPLES / "count.bpf.o").read_bytes()
UNSAFE = OBJECT.replace(bytes.fromhex("8500000001000000"), bytes.fromhex("85000000ffff0000"))
"""With a helper that does not exist."""


@pytest.fixture
def fs() -> Iterator[BpfFs]:
    """A /sys/fs/bpf, while nothing is collected but by reference counts."""
    machine = Machine()
    made = BpfFs(machine)
    gc.collect()
    gc.disable()
    yield made
    gc.enable()
    made.close()
    machine.close()


def copy(fs: BpfFs, name: str, content: bytes) -> None:
    """As cp does. Raises what close does."""
    _, handle = fs.root.create(name, 0o644, os.O_WRONLY, ROOT)
    try:
        handle.write(0, content)
        handle.close()
    finally:
        handle.release()


def remove(directory: BpfDir, name: str) -> None:
    """As rm -r does."""
    node = directory.lookup(name, ROOT)
    if not isinstance(node, BpfDir):
        directory.unlink(name, ROOT)
        return
    for below, _ in list(node.entries()):
        remove(node, below)
    directory.rmdir(name, ROOT)


def held(fs: BpfFs) -> tuple[int, int]:
    """How many maps and programs there are once their grace periods are over."""
    fs.machine.epoch.poll()
    return len(fs.machine.maps.values()), len(fs.machine.progs.values())


def test_a_removed_object_is_gone_at_once(fs: BpfFs) -> None:
    copy(fs, "one.bpf.o", OBJECT)
    assert held(fs) == (1, 1)
    loaded = fs.root.lookup("one", ROOT)
    assert isinstance(loaded, Dir)
    loaded.lookup("attach.ctl", ROOT)
    del loaded
    remove(fs.root, "one")
    assert held(fs) == (0, 0)


def test_a_refused_object_leaves_its_log_only(fs: BpfFs) -> None:
    assert OBJECT != UNSAFE
    with pytest.raises(KernelError):
        copy(fs, "two.bpf.o", UNSAFE)
    assert held(fs) == (0, 0)
    assert [name for name, _ in fs.root.entries()] == ["two.log"]


def test_an_object_whose_name_was_taken_meanwhile_leaves_nothing(fs: BpfFs) -> None:
    _, handle = fs.root.create("three.bpf.o", 0o644, os.O_WRONLY, ROOT)
    handle.write(0, OBJECT)
    fs.root.mkdir("three", 0o755, ROOT)
    for _ in range(2):
        with pytest.raises(KernelError, match="EEXIST"):
            handle.close()
    handle.release()
    assert held(fs) == (0, 0)
    remove(fs.root, "three")
    assert list(fs.root.entries()) == []


def test_views_do_not_keep_what_they_show(fs: BpfFs) -> None:
    copy(fs, "one.bpf.o", OBJECT)
    one = fs.root.lookup("one", ROOT)
    assert isinstance(one, BpfDir)
    parts = {name: one.lookup(name, ROOT) for name in ("maps", "progs", "links")}
    assert all(isinstance(part, BpfDir) for part in parts.values())
    control = one.lookup("attach.ctl", ROOT)
    assert isinstance(control, File)
    control.open(os.O_WRONLY, ROOT).write(0, b"1")
    names = [("maps", "hits.json"), ("maps", "hits.ctl"), ("progs", "count.xlated"), ("links", "count.info")]
    views = [parts[part].lookup(name, ROOT) for part, name in names]
    opened = views[0].open(os.O_RDONLY, ROOT)
    del parts, one, control
    remove(fs.root, "one")
    assert held(fs) == (1, 0)
    assert opened.read(0, 100) == b"[]\n"
    del opened
    assert held(fs) == (0, 0)
    for view in views:
        with pytest.raises(KernelError, match="ENOENT"):
            view.open(os.O_RDONLY, ROOT)


def test_a_pinned_map_is_read_from_front_to_back(fs: BpfFs) -> None:
    copy(fs, "one.bpf.o", OBJECT)
    node = fs.root.lookup("one", ROOT)
    for name in ("maps", "hits"):
        assert isinstance(node, BpfDir)
        node = node.lookup(name, ROOT)
    assert isinstance(node, File)
    node.truncate(7)
    handle = node.open(os.O_RDONLY, ROOT)
    assert not handle.seekable
    assert handle.read(0, 9) == b"# WARNING"
    assert node.size == 7
    node.open(os.O_RDWR | os.O_TRUNC, ROOT)
    assert node.size == 0
