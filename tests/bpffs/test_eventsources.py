"""Perf's event sources."""

import errno
import os

import pytest

from bpffs.eventsources import event_source_devices, event_source_links
from engine.errors import KernelError
from engine.kernfs import Caller, File, Handle, Node, StaticDir, Symlink

ME = Caller()


def at(root: Node, path: str) -> Node:
    node = root
    for name in path.split("/"):
        assert isinstance(node, StaticDir)
        node = node.table[name]
    return node


def opened(path: str) -> Handle:
    file = at(event_source_devices(), path)
    assert isinstance(file, File)
    return file.open(os.O_RDWR, ME)


def text(path: str) -> bytes:
    return opened(path).read(0, 100)


def test_types_and_formats() -> None:
    types = {name: text(f"{name}/type") for name, _ in event_source_devices().entries()}
    assert types == {
        "breakpoint": b"5\n",
        "kprobe": b"6\n",
        "software": b"1\n",
        "tracepoint": b"2\n",
        "uprobe": b"8\n",
    }
    assert text("uprobe/format/ref_ctr_offset") == b"config:32-63\n"


def test_links() -> None:
    link = at(event_source_links(), "kprobe")
    assert isinstance(link, Symlink)
    assert link.target == "../../../devices/kprobe"


@pytest.mark.parametrize(
    ("data", "works"), [(b"8\n", True), (b"0x10", True), (b"0", False), (b"-1", False), (b"x", False)]
)
def test_the_interval(data: bytes, works: bool) -> None:
    handle = opened("kprobe/perf_event_mux_interval_ms")
    if works:
        handle.write(0, data)
        assert handle.read(0, 10) == f"{int(data, 0)}\n".encode()
    else:
        with pytest.raises(KernelError) as raised:
            handle.write(0, data)
        assert raised.value.errno == errno.EINVAL
