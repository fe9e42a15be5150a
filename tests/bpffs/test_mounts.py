"""The mount table as the command line reads it."""

import os
from pathlib import Path

import pytest

from bpffs import mounts


def test_the_root_and_proc_are_mounted() -> None:
    assert mounts.mount_at("/proc") == mounts.Mount("/proc", "proc")
    assert mounts.mount_at("/nosuch") is None


def test_names_with_blanks_are_unescaped() -> None:
    assert mounts._unescape(r"/a\040b\011\134\012é") == "/a b\t\\\né"


def test_a_living_directory_is_not_dead(tmp_path: Path) -> None:
    assert not mounts.is_dead(str(tmp_path))
    assert not mounts.is_dead(str(tmp_path / "nosuch"))


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert mounts.canonical(str(tmp_path / "link" / ".")) == os.path.realpath(tmp_path / "real")


def test_what_is_not_mounted_cannot_be_unmounted(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        mounts.unmount(str(tmp_path), lazy=False)
