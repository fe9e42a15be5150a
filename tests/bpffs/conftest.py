"""Fixtures: the small tree on a real mount, unmounted in every outcome."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpffs import mounts
from tests.e2e.conftest import ROOT, need_fuse


@pytest.fixture
def small_log(tmp_path: Path) -> Path:
    """What the process behind `small` wrote to standard error."""
    return tmp_path / "log"


@pytest.fixture
def small(small_process: "subprocess.Popen[bytes]", tmp_path: Path) -> Path:
    """A mount of `small_mount.small_tree`."""
    return tmp_path / "m"


@pytest.fixture
def small_process(tmp_path: Path, small_log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that serves it."""
    need_fuse()
    point = tmp_path / "m"
    point.mkdir()
    with small_log.open("w") as log, subprocess.Popen(
        [sys.executable, "-m", "tests.bpffs.small_mount", str(point)],
        stdout=subprocess.PIPE, stderr=log, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n", small_log.read_text()
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            finally:
                process.kill()
                if mounts.mount_at(str(point)) is not None:
                    mounts.unmount(str(point), lazy=True)
    assert mounts.mount_at(str(point)) is None
