"""The tree of a mount, as one table."""

from collections.abc import Mapping

from bpffs.eventsources import event_source_devices, event_source_links
from bpffs.status import STATUS_FILE
from engine.kernfs import Caller, Dir, File, Handle, Node, StaticDir, Symlink

__all__ = ["BinaryFile", "mount_tree", "nested"]


class _BytesHandle(Handle):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, offset: int, size: int) -> bytes:
        return self._content[offset : offset + size]


class BinaryFile(File):
    """Constant bytes of known size."""

    def __init__(self, mode: int, content: bytes) -> None:
        super().__init__(mode)
        self._content = content

    @property
    def size(self) -> int:
        """`st_size`: all of it."""
        return len(self._content)

    def open(self, flags: int, caller: Caller) -> Handle:
        """A handle on the bytes."""
        return _BytesHandle(self._content)


def nested(mode: int, rows: Mapping[str, Node]) -> StaticDir:
    """A directory of paths: each row's parent is a StaticDir of an earlier row."""
    root = StaticDir(mode, {})
    for path, node in rows.items():
        directory = root
        *parents, name = path.split("/")
        for parent in parents:
            below = directory.table[parent]
            assert isinstance(below, StaticDir), path
            directory = below
        directory.table[name] = node
    return root


def mount_tree(*, bpf: Dir, tracing: Dir, vmlinux: bytes | None, procs: File, report: File) -> StaticDir:
    """The root directory: `bpf` is /sys/fs/bpf, `tracing` tracefs, `vmlinux` the modelled
    kernel's BTF, if there is one."""
    rows: dict[str, Node] = {
        "sys": StaticDir(0o555, {}),
        "sys/fs": StaticDir(0o755, {}),
        "sys/fs/bpf": bpf,
        "sys/kernel": StaticDir(0o755, {}),
        "sys/kernel/tracing": tracing,
        "sys/kernel/debug": StaticDir(0o700, {}),
        "sys/kernel/debug/tracing": Symlink("../tracing"),
        "sys/bus": StaticDir(0o755, {}),
        "sys/bus/event_source": StaticDir(0o755, {}),
        "sys/bus/event_source/devices": event_source_links(),
        "sys/devices": event_source_devices(),
        "tracefs": Symlink("sys/kernel/tracing"),
        "procs": procs,
        STATUS_FILE: report,
    }
    if vmlinux is not None:
        rows["sys/kernel/btf"] = StaticDir(0o755, {"vmlinux": BinaryFile(0o444, vmlinux)})
    return nested(0o755, rows)
