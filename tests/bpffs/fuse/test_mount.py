"""The adapter on a real mount: names, attributes, content, errors."""

import errno
import os
import stat
from pathlib import Path

import pytest


def failure(path: Path, flags: int = os.O_RDONLY) -> int:
    """The errno of opening or reading a file."""
    with pytest.raises(OSError) as raised:
        os.read(os.open(path, flags), 100)
    assert raised.value.errno is not None
    return raised.value.errno


def test_reads_files_links_and_directories(small: Path) -> None:
    assert (small / "hello").read_text() == "hello, world\n"
    assert (small / "link").read_text() == "hello, world\n"
    assert os.readlink(small / "link") == "hello"
    assert (small / "sub" / "hello").read_text() == "hello below\n"
    assert (small / "sub" / ".." / "hello").read_text() == "hello, world\n"
    assert "hello" in os.listdir(small)
    assert len(set(os.listdir(small))) == len(os.listdir(small))


def test_modes_owners_and_types(small: Path) -> None:
    found = (small / "secret").stat()
    assert stat.S_IMODE(found.st_mode) == 0o400
    assert (found.st_uid, found.st_gid, found.st_size, found.st_nlink) == (os.getuid(), os.getgid(), 0, 1)
    assert stat.S_ISLNK((small / "link").lstat().st_mode)
    assert stat.S_IMODE((small / "notes").stat().st_mode) == 0o1777


def test_inode_numbers_are_stable_and_distinct(small: Path) -> None:
    first = {name: (small / name).lstat().st_ino for name in os.listdir(small)}
    listed = {entry.name: entry.inode() for entry in os.scandir(small)}
    assert first == listed
    assert len(set(first.values())) == len(first)


def test_missing_names_and_long_names(small: Path) -> None:
    assert failure(small / "nosuch") == errno.ENOENT
    assert failure(small / ("n" * 256)) == errno.ENAMETOOLONG
    assert failure(small / "hello" / "x") == errno.ENOTDIR
    with pytest.raises(PermissionError):
        (small / "sub" / "made").mkdir()
    assert failure(small / "sub" / "made", os.O_RDWR | os.O_CREAT) == errno.EACCES


def test_reads_at_offsets(small: Path) -> None:
    descriptor = os.open(small / "hello", os.O_RDONLY)
    try:
        assert os.read(descriptor, 5) == b"hello"
        assert os.read(descriptor, 100) == b", world\n"
        assert os.read(descriptor, 100) == b""
        assert os.pread(descriptor, 5, 7) == b"world"
        with pytest.raises(OSError, match="Invalid argument"):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def test_a_defect_is_eio_and_logged_and_the_mount_lives(small: Path, small_log: Path) -> None:
    assert failure(small / "broken") == errno.EIO
    assert "ZeroDivisionError: a defect, for the test" in small_log.read_text()
    assert (small / "hello").read_text() == "hello, world\n"


def test_slow_nodes_run_off_the_main_thread(small: Path) -> None:
    assert (small / "slow").read_text() == "False\n"


def test_close_reports_errors(small: Path) -> None:
    descriptor = os.open(small / "close_error", os.O_WRONLY)
    os.write(descriptor, b"x")
    with pytest.raises(OSError, match="No space left"):
        os.close(descriptor)


def test_everything_that_changes_a_directory(small: Path) -> None:
    notes = small / "notes"
    (notes / "a").mkdir(mode=0o750)
    assert stat.S_IMODE((notes / "a").stat().st_mode) == 0o750
    (notes / "f").write_text("one\n")
    (notes / "f").write_text("two\n")
    with (notes / "f").open("a") as file:
        file.write("three\n")
    assert (notes / "f").read_text() == "two\nthree\n"
    (notes / "g").symlink_to("f")
    assert (notes / "g").read_text() == "two\nthree\n"
    (notes / "f").rename(notes / "a" / "h")
    os.link(notes / "a" / "h", notes / "i")
    assert (notes / "i").stat().st_ino == (notes / "a" / "h").stat().st_ino
    os.chmod(notes / "i", 0o600)
    os.utime(notes / "i", ns=(1_000_000_000, 2_000_000_001))
    found = (notes / "a" / "h").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o600, 2_000_000_001)
    with pytest.raises(FileExistsError):
        (notes / "a").mkdir()
    with pytest.raises(PermissionError):
        os.mkfifo(notes / "fifo")
    for name in ("g", "i"):
        (notes / name).unlink()
    (notes / "a" / "h").unlink()
    (notes / "a").rmdir()
    assert os.listdir(notes) == []


def test_large_directories_are_listed_whole(small: Path) -> None:
    notes = small / "notes"
    names = {f"{number:03}{'x' * 200}" for number in range(300)}
    for name in names:
        (notes / name).mkdir()
    assert set(os.listdir(notes)) == names


def test_statfs(small: Path) -> None:
    found = os.statvfs(small)
    assert (found.f_bsize, found.f_blocks, found.f_namemax) == (4096, 0, 255)


def test_operations_are_reported_with_their_results(small: Path, small_log: Path) -> None:
    (small / "hello").read_bytes()
    with pytest.raises(OSError, match="Input/output"):
        (small / "broken").read_bytes()
    (small / "notes" / "a").mkdir(mode=0o700)
    (small / "notes" / "a").rename(small / "notes" / "b")
    who = f"{os.getpid()} {os.getuid()} {os.getgid()}"
    lines = [line for line in small_log.read_text().splitlines() if line.startswith("vfs_")]
    assert lines[0].startswith(f"vfs_read {who} hello 13 {{'new_path': '', 'flags': ")
    assert lines[-2] == f"vfs_mkdir {who} a 0 {{'new_path': '', 'flags': 448, 'count': 0, 'pos': 0}}"
    assert lines[-1].startswith(f"vfs_rename {who} a 0 {{'new_path': '")
    assert "/notes/b'" in lines[-1]
