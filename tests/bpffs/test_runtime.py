"""Records of daemons: claimed, found, outlived, and only in a directory of our own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpffs import runtime
from bpffs.runtime import Record


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records go below a directory of the test's own."""
    monkeypatch.delenv("BPFFS_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "bpffs"


def found(directory: str) -> list[Record]:
    """Records of that directory; those of the machine's real mounts do not matter."""
    return [record for record in runtime.records() if record.directory == directory]


def test_the_directory_is_private(place: Path) -> None:
    assert runtime.runtime_dir() == str(place)
    assert place.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("spoil", ["mode", "link", "file"])
def test_a_directory_that_is_not_ours_alone_is_not_used(place: Path, tmp_path: Path, spoil: str) -> None:
    if spoil == "mode":
        place.mkdir()
        place.chmod(0o770)
    elif spoil == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.touch()
    assert runtime.runtime_dir() != str(place)


def test_a_claim_lasts_until_it_is_closed() -> None:
    record = Record("/mnt/a", os.getpid(), "log")
    lock = runtime.claim(record)
    assert found("/mnt/a") == [record]
    assert runtime.is_alive("/mnt/a")
    assert not runtime.is_alive("/mnt/b")
    with pytest.raises(BlockingIOError):
        runtime.claim(record)
    os.close(lock)
    assert not runtime.is_alive("/mnt/a")
    assert found("/mnt/a") == [record]
    again = runtime.claim(Record("/mnt/a", 1, "other"))
    assert [row.pid for row in found("/mnt/a")] == [1]
    runtime.remove("/mnt/a")
    assert found("/mnt/a") == []
    os.close(again)


def test_a_record_removed_while_it_is_claimed_is_made_again() -> None:
    first = runtime.claim(Record("/mnt/a", 1, ""))
    runtime.remove("/mnt/a")
    second = runtime.claim(Record("/mnt/a", 2, ""))
    assert [row.pid for row in found("/mnt/a")] == [2]
    os.close(first)
    assert runtime.is_alive("/mnt/a")
    os.close(second)


def test_a_claim_ends_with_its_process() -> None:
    script = (
        "import os, signal\n"
        "from bpffs import runtime\n"
        "runtime.claim(runtime.Record('/mnt/a', os.getpid(), ''))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert len(found("/mnt/a")) == 1
    assert not runtime.is_alive("/mnt/a")


def test_broken_records_are_passed_over(place: Path) -> None:
    runtime.runtime_dir()
    (place / "broken.json").write_text("{")
    (place / "other.json").write_text('{"x": 1}')
    assert found("/mnt/a") == []
    assert not runtime.is_alive("/mnt/a")
