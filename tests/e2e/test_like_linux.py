"""Names in /sys/fs/bpf against the machine's own bpffs: the same random operations on both, step by step."""

import ctypes
import errno
import os
import random
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from engine.abi.bpf import Cmd, MapType
from tests.e2e.conftest import Shell
from tests.kernel_oracle import bpf, create_map, kernel_unavailable

RUNS = 12
STEPS = 60
OTHER = 1000
"""User and group who take every third step."""

PLAIN = ["a", "b", "c", "d", "l", "a/x", "a/y", "b/x", "a/x/z", "b/x/z", "d/x"]
ODD = [
    "a.b",
    ".h",
    "c.x.y",
    "b/q.r",
    "n" * 255,
    "n" * 256,
    ".",
    "a/.",
    "a/..",
    "b/../c",
    "",
    "a/",
    "c/",
    "l/",
]
NAMES = PLAIN * 4 + [*ODD, "l/x", "\udce9", "sp ace", "a\nb"]
"""Mostly a few plain names, so that operations meet."""

OPEN_FLAGS = [
    os.O_RDONLY,
    os.O_RDWR,
    os.O_PATH,
    os.O_DIRECTORY,
    os.O_NOFOLLOW,
    os.O_CREAT | os.O_EXCL,
    os.O_CREAT | os.O_DIRECTORY,
    os.O_WRONLY | os.O_CREAT,
    os.O_WRONLY | os.O_TRUNC,
    os.O_RDWR | os.O_TMPFILE,
]

_libc = ctypes.CDLL(None, use_errno=True)
_RENAMEAT2, _LINKAT, _AT_FDCWD = 316, 265, -100


@dataclass(frozen=True)
class Side:
    """A directory of one of the two file systems, and how a map gets a name there."""

    base: str
    make_map: Callable[[str], None]

    def path(self, name: str) -> str:
        return f"{self.base}/{name}"


Action = Callable[[Side], object]


def _kernel_map(path: str) -> None:
    fd = create_map(MapType.ARRAY, 4, 8, 4)
    name = ctypes.create_string_buffer(os.fsencode(path))
    result = bpf(Cmd.OBJ_PIN, struct.pack("<QII", ctypes.addressof(name), fd, 0))
    os.close(fd)
    if result < 0:
        raise OSError(-result, "")


def _verb_map(path: str) -> None:
    with open(f"{path}.map", "x") as file:
        file.write("type array key 4 value 8 entries 4\n")


def _call(number: int, old: str, new: str, flags: int) -> None:
    if _libc.syscall(number, _AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags) < 0:
        raise OSError(ctypes.get_errno(), "")


def _shape(found: os.stat_result) -> tuple[object, ...]:
    return oct(found.st_mode), found.st_nlink, found.st_uid, found.st_gid, found.st_size, found.st_blksize


def _step(rnd: random.Random) -> tuple[str, Action]:
    """An operation on one or two names: as text, and what to do."""
    name, other, pin = rnd.choice(NAMES), rnd.choice(NAMES), rnd.choice(PLAIN)
    mode = rnd.choice([0o755, 0o700, 0o1777, 0o2775, 0o7777])
    owner = rnd.choice([(0, 0), (1000, 1000), (-1, 7), (7, -1)])
    follow = rnd.random() < 0.5
    how = rnd.choice(OPEN_FLAGS)
    kind = rnd.choice([stat.S_IFREG | 0o600, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, 0])
    target = rnd.choice(["a", "b/x", "/nowhere/x", "l", "q.r", "", "x" * 4095, "x" * 4096])
    change = rnd.choice([0, 0, 0, 1, 2, 2, 3, 4, 8])
    at = rnd.choice([0, 0, 0x400, 0x1000, 1])
    when = rnd.choice([(0, 0), (5 * 10**17, 6 * 10**17 + 1)])
    rows: list[tuple[int, str, Action]] = [
        (8, f"mkdir {mode:o}", lambda side: os.mkdir(side.path(name), mode)),
        (6, f"map {pin}", lambda side: side.make_map(side.path(pin))),
        (3, "rmdir", lambda side: os.rmdir(side.path(name))),
        (3, "unlink", lambda side: os.unlink(side.path(name))),
        (8, f"rename {change}", lambda side: _call(_RENAMEAT2, side.path(name), side.path(other), change)),
        (4, f"link {at:#x}", lambda side: _call(_LINKAT, side.path(name), side.path(other), at)),
        (4, f"symlink {target[:9]}", lambda side: os.symlink(target, side.path(name))),
        (1, "readlink", lambda side: os.readlink(side.path(name))),
        (2, f"chmod {mode:o}", lambda side: os.chmod(side.path(name), mode)),
        (1, f"chown {owner}", lambda side: os.chown(side.path(name), *owner, follow_symlinks=follow)),
        (3, f"open {how:#o}", lambda side: os.close(os.open(side.path(name), how, 0o644))),
        (2, f"truncate {change}", lambda side: os.truncate(side.path(name), change)),
        (2, f"mknod {kind:o}", lambda side: os.mknod(side.path(name), kind)),
        (2, "stat", lambda side: _shape(os.stat(side.path(name), follow_symlinks=follow))),
        (1, f"utime {when}", lambda side: os.utime(side.path(name), ns=when, follow_symlinks=follow)),
        (1, "setxattr", lambda side: os.setxattr(side.path(name), "user.a", b"1")),
        (1, "listxattr", lambda side: os.listxattr(side.path(name))),
    ]
    _, said, action = rnd.choices(rows, [weight for weight, _, _ in rows])[0]
    return f"{said} {name!r} {other!r}", action


@contextmanager
def _as_user(number: int) -> Iterator[None]:
    """This process's effective user and group, for a while."""
    os.setegid(number)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _outcome(action: Action, side: Side) -> str:
    try:
        return repr(action(side))
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def _tree(side: Side) -> list[tuple[object, ...]]:
    """Every node below: name, mode, links, owners, size; directories in the order of readdir."""
    found: list[tuple[object, ...]] = []
    for place, directories, files in os.walk(side.base):
        order = [entry.name for entry in os.scandir(place)]
        for name in directories + files:
            path = f"{place}/{name}"
            when = os.lstat(path).st_mtime_ns // 10**9
            row = (path.removeprefix(side.base), *_shape(os.lstat(path)), when < 10**9, order.index(name))
            found.append(row)
    return sorted(found, key=lambda row: str(row[0]))


def _clear(side: Side) -> None:
    subprocess.run(["find", side.base, "-mindepth", "1", "-delete"], check=True)
    os.chmod(side.base, 0o1777)
    os.chown(side.base, 0, 0)


@pytest.fixture
def sides(mounted: Shell) -> Iterator[tuple[Side, Side]]:
    """The machine's bpffs and ours, each with a directory `r/s`."""
    if reason := kernel_unavailable():
        pytest.skip(reason)
    for place in [mounted.mount.parent, *mounted.mount.parent.parents]:
        if place != place.parent and not place.stat().st_mode & 1 and place.owner() == "root":
            place.chmod(place.stat().st_mode | 0o11)
    kernel, ours = mounted.mount.parent / "kernel", mounted.mount / "sys/fs/bpf"
    kernel.mkdir()
    if subprocess.run(["mount", "-t", "bpf", "none", kernel], check=False).returncode:
        pytest.skip("cannot mount a bpffs of the machine's kernel")
    try:
        for place in (kernel, ours):
            (place / "r/s").mkdir(parents=True)
        yield Side(f"{kernel}/r/s", _kernel_map), Side(f"{ours}/r/s", _verb_map)
    finally:
        shutil.rmtree(kernel / "r", ignore_errors=True)
        subprocess.run(["umount", kernel], check=True)


def test_names_are_as_on_linux(sides: tuple[Side, Side]) -> None:
    for run in range(RUNS):
        rnd = random.Random(run)
        done: list[str] = []
        for side in sides:
            _clear(side)
        for number in range(STEPS):
            said, action = _step(rnd)
            user = OTHER if number % 3 == 2 and not said.startswith("map") else 0
            with _as_user(user):
                outcomes = [_outcome(action, side) for side in sides]
            done.append(f"{user}: {said} -> {outcomes[0]}")
            assert outcomes[0] == outcomes[1], "\n".join([*done, outcomes[1]])
            linux, ours = (_tree(side) for side in sides)
            assert linux == ours, "\n".join([*done, *map(str, sorted(set(linux) ^ set(ours)))])
