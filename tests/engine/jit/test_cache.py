"""The disk cache: found again, refused when damaged or unsafe, bounded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.jit import cache


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh cache directory."""
    where = tmp_path / "cache"
    monkeypatch.setenv("BPFFS_CACHE_DIR", str(where))
    cache.directory.cache_clear()
    yield where
    cache.directory.cache_clear()


def test_what_is_stored_is_loaded(home: Path) -> None:
    assert cache.load("k") is None
    cache.store("k", b"image")
    assert cache.load("k") == b"image"
    assert [p.name for p in home.iterdir()] == ["k"]


def test_a_damaged_file_counts_as_absent(home: Path) -> None:
    cache.store("k", b"image")
    data = bytearray((home / "k").read_bytes())
    data[-1] ^= 1
    (home / "k").write_bytes(data)
    assert cache.load("k") is None


def test_a_directory_open_to_others_is_not_used(home: Path) -> None:
    home.mkdir(mode=0o700)
    home.chmod(0o777)
    assert cache.directory() is None
    cache.store("k", b"image")
    assert cache.load("k") is None
    assert list(home.iterdir()) == []


def test_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    cache.store("k", b"image")
    (tmp_path / "elsewhere").write_bytes((home / "k").read_bytes())
    (home / "k").unlink()
    (home / "k").symlink_to(tmp_path / "elsewhere")
    assert cache.load("k") is None


def test_the_oldest_go_when_it_is_full(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1000)
    for n in range(10):
        cache.store(str(n), bytes(200))
    left = sorted(p.name for p in home.iterdir())
    assert left[-1] == "9"
    assert len(left) * 232 <= 1000
