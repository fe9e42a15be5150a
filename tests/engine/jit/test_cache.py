"""The disk cache: found again, refused when damaged or unsafe, bounded, harmless to what lies beside it."""

import errno
import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.jit import cache


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


K = key("k")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh cache directory."""
    where = tmp_path / "cache"
    monkeypatch.setenv("BPFFS_CACHE_DIR", str(where))
    cache.directory.cache_clear()
    yield where
    cache.directory.cache_clear()


def test_what_is_stored_is_loaded(home: Path) -> None:
    assert cache.load(K) is None
    cache.store(K, b"image")
    assert cache.load(K) == b"image"
    assert [p.name for p in home.iterdir()] == [K]
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / K).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["last bit", "first bit", "half", "empty", "longer", "zeros"])
def test_a_damaged_file_counts_as_absent(home: Path, damage: str) -> None:
    cache.store(K, b"image" * 100)
    good = (home / K).read_bytes()
    bad = {
        "last bit": good[:-1] + bytes([good[-1] ^ 1]),
        "first bit": bytes([good[0] ^ 1]) + good[1:],
        "half": good[: len(good) // 2],
        "empty": b"",
        "longer": good + b"x",
        "zeros": bytes(len(good)),
    }[damage]
    (home / K).write_bytes(bad)
    assert cache.load(K) is None
    cache.store(K, b"again")
    assert cache.load(K) == b"again"


def test_code_of_one_program_is_not_taken_for_anothers(home: Path) -> None:
    cache.store(K, b"image")
    (home / K).rename(home / key("other"))
    assert cache.load(key("other")) is None


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_directory_open_to_others_is_not_used(home: Path, mode: int) -> None:
    home.mkdir(mode=0o700)
    home.chmod(mode)
    assert cache.directory() is None
    cache.store(K, b"image")
    assert cache.load(K) is None
    assert list(home.iterdir()) == []


def test_a_file_that_others_may_write_is_not_used(home: Path) -> None:
    cache.store(K, b"image")
    (home / K).chmod(0o620)
    assert cache.load(K) is None


def test_what_belongs_to_somebody_else_is_not_used(home: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root to give files away")
    cache.store(K, b"image")
    os.chown(home / K, 65534, 65534)
    assert cache.load(K) is None
    os.chown(home, 65534, 65534)
    cache.directory.cache_clear()
    assert cache.directory() is None


def test_links_are_not_followed(home: Path, tmp_path: Path) -> None:
    cache.store(K, b"image")
    (home / K).rename(tmp_path / "elsewhere")
    (home / K).symlink_to(tmp_path / "elsewhere")
    assert cache.load(K) is None
    home.rename(tmp_path / "moved")
    home.symlink_to(tmp_path / "moved")
    cache.directory.cache_clear()
    assert cache.directory() is None


def test_what_is_no_file_is_no_object(home: Path) -> None:
    home.mkdir(mode=0o700)
    os.mkfifo(home / K)
    assert cache.load(K) is None
    (home / key("d")).mkdir()
    assert cache.load(key("d")) is None
    cache.store(key("d"), b"image")
    assert cache.load(key("d")) is None
    assert sorted(p.name for p in home.iterdir()) == sorted([K, key("d")])


def test_those_not_used_for_longest_go_when_it_is_full(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1000)
    names = [key(str(n)) for n in range(4)]
    for age, name in enumerate(names):
        cache.store(name, bytes(200))
        os.utime(home / name, (age, age))
    assert cache.load(names[0]) == bytes(200)
    cache.store(key("new"), bytes(200))
    assert {p.name for p in home.iterdir()} == {names[0], names[2], names[3], key("new")}


def test_files_that_are_not_ours_stay(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1000)
    home.mkdir(mode=0o700)
    (home / "thesis.tex").write_bytes(bytes(5000))
    (home / key("d")).mkdir()
    (home / ".new-left_over").write_bytes(bytes(900))
    os.utime(home / ".new-left_over", (0, 0))
    for n in range(6):
        cache.store(key(str(n)), bytes(200))
    left = {p.name for p in home.iterdir()}
    assert {"thesis.tex", key("d"), key("5")} <= left
    assert ".new-left_over" not in left


def test_a_full_disk_leaves_nothing_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store(K, b"image")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.store(key("other"), b"image")
    assert [p.name for p in home.iterdir()] == [K]


def test_a_limit_on_file_sizes_leaves_nothing_behind(home: Path) -> None:
    assert cache.directory() == home
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        cache.store(K, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(home.iterdir()) == []


def named(environment: dict[str, str], where: Path) -> str:
    """`directory()` in a process of its own."""
    code = "from engine.jit import cache; print(cache.directory())"
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": root, **environment},
        cwd=where,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_where_it_is(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    assert named(home, tmp_path) == f"{tmp_path}/home/.cache/bpffs"
    assert named(home | {"XDG_CACHE_HOME": str(tmp_path / "xdg")}, tmp_path) == f"{tmp_path}/xdg/bpffs"
    assert named(home | {"XDG_CACHE_HOME": "relative"}, tmp_path) == f"{tmp_path}/home/.cache/bpffs"
    assert named({"BPFFS_CACHE_DIR": "relative"}, tmp_path) == "None"
    assert named({"BPFFS_CACHE_DIR": "/proc/nowhere"}, tmp_path) == "None"
    assert named({"HOME": "relative"}, tmp_path) == "None"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "xdg"]
