"""Maps with BTF, created in the machine's kernel and pinned, to compare what `cat` and bpftool print."""

import ctypes
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.abi.bpf import Cmd, MapType
from engine.btf import Btf
from tests.kernel_oracle import bpf, create_map, kernel_unavailable

__all__ = ["bpffs", "bpffs_unavailable", "load_btf", "pin", "pinned_map", "update"]


def bpffs_unavailable() -> str:
    """Why no bpffs can be mounted; empty if it can."""
    reason = kernel_unavailable()
    if reason:
        return reason
    try:
        with bpffs():
            return ""
    except subprocess.CalledProcessError as error:
        return f"mount -t bpf fails: {error.stderr.strip()}"


@contextmanager
def bpffs() -> Iterator[Path]:
    """A bpffs of one's own."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["mount", "-t", "bpf", "bpffs-test", directory]
        subprocess.run(command, check=True, capture_output=True, text=True)
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", directory], check=True)


def load_btf(data: bytes) -> int:
    """BPF_BTF_LOAD: the descriptor. Fails with the kernel's log."""
    blob = ctypes.create_string_buffer(data, len(data))
    log = ctypes.create_string_buffer(1 << 20)
    attr = struct.pack("<QQIII", ctypes.addressof(blob), ctypes.addressof(log), len(data), len(log), 1)
    fd = bpf(Cmd.BTF_LOAD, attr)
    if fd < 0:
        raise OSError(-fd, log.value.decode(errors="replace"))
    return fd


def update(fd: int, key: bytes, value: bytes) -> None:
    """BPF_MAP_UPDATE_ELEM."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value, len(value))
    attr = struct.pack("<IIQQQ", fd, 0, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer), 0)
    result = bpf(Cmd.MAP_UPDATE_ELEM, attr)
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def pin(fd: int, path: Path) -> None:
    """BPF_OBJ_PIN."""
    name = ctypes.create_string_buffer(str(path).encode())
    result = bpf(Cmd.OBJ_PIN, struct.pack("<QII", ctypes.addressof(name), fd, 0))
    if result < 0:
        raise OSError(-result, os.strerror(-result))


@contextmanager
def pinned_map(
    map_type: MapType,
    sizes: tuple[int, int, int],
    btf: Btf,
    type_ids: tuple[int, int],
    elements: list[tuple[bytes, bytes]],
) -> Iterator[Path]:
    """The pin of a kernel map with `elements`; `sizes` are key, value and max_entries."""
    btf_fd = load_btf(btf.data)
    fd = create_map(map_type, *sizes, btf=(btf_fd, *type_ids))
    os.close(btf_fd)
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    try:
        for key, value in elements:
            update(fd, key, value)
        with bpffs() as directory:
            pin(fd, directory / "map")
            yield directory / "map"
    finally:
        os.close(fd)
