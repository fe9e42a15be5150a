"""Directories of /sys/fs/bpf: names, dots, renames, with Linux's errnos (golden 14)."""

import errno
import stat
from collections.abc import Callable, Iterator

import pytest

from bpffs.bpf.directory import RENAME_EXCHANGE, RENAME_NOREPLACE, BpfDir
from bpffs.bpf.mappin import MapPin
from bpffs.bpf.pinfs import BpfFs
from engine.abi.bpf import MapType
from engine.errors import KernelError
from engine.kernfs import Caller, StaticDir
from engine.machine import Machine
from engine.maps import MapSpec, create_map

ME = Caller(1, 1000, 1000)


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


@pytest.fixture
def fs(machine: Machine) -> Iterator[BpfFs]:
    made = BpfFs(machine)
    yield made
    made.close()


def pin(fs: BpfFs, name: str) -> MapPin:
    made = MapPin(create_map(MapSpec(MapType.ARRAY, 4, 8, 4, name=name), fs.machine), fs)
    fs.root.add(name, made)
    return made


def number(action: Callable[[], object]) -> int:
    with pytest.raises(KernelError) as raised:
        action()
    return raised.value.errno


def names(directory: BpfDir) -> list[str]:
    return [name for name, _ in directory.entries()]


def test_root_is_sticky_and_empty(fs: BpfFs) -> None:
    assert (fs.root.perm, fs.root.nlink, names(fs.root)) == (0o1777, 2, [])


@pytest.mark.parametrize("name", ["a.b", ".dot", "maps.debug", "progs.debug", "d."])
def test_names_with_a_dot_are_eperm(fs: BpfFs, name: str) -> None:
    root = fs.root
    root.mkdir("d", 0o755, ME)
    pin(fs, "m")
    for action in (
        lambda: root.lookup(name, ME),
        lambda: root.mkdir(name, 0o755, ME),
        lambda: root.symlink(name, "x", ME),
        lambda: root.link(name, root.nodes["m"], ME),
        lambda: root.rename("d", root, name, 0, ME),
        lambda: root.rename(name, root, "e", 0, ME),
        lambda: root.unlink(name, ME),
        lambda: root.rmdir(name, ME),
        lambda: root.create(name, 0o644, 0, ME),
    ):
        assert number(action) == errno.EPERM


def test_other_names_are_plain(fs: BpfFs) -> None:
    for name in ("a b", "a-b", "a_b", "a:b", "a*b", "é", "n" * 255):
        fs.root.mkdir(name, 0o755, ME)
    assert names(fs.root) == ["n" * 255, "é", "a*b", "a:b", "a_b", "a-b", "a b"]


def test_files_cannot_be_made(fs: BpfFs) -> None:
    assert number(lambda: fs.root.create("f", 0o644, 0, ME)) == errno.EACCES
    assert number(lambda: fs.root.mknod("f", stat.S_IFREG | 0o644, ME)) == errno.EACCES
    assert number(lambda: fs.root.mknod("f", stat.S_IFIFO | 0o644, ME)) == errno.EPERM


def test_only_root_loads_and_creates(fs: BpfFs) -> None:
    for name in ("o.bpf.o", "m.map"):
        assert number(lambda name=name: fs.root.create(name, 0o644, 0, ME)) == errno.EPERM
        fs.root.create(name, 0o644, 0, Caller(1, 0, 0))


def test_directories(fs: BpfFs) -> None:
    made = fs.root.mkdir("d", 0o750, ME)
    assert (made.perm, made.uid, made.gid, fs.root.nlink) == (0o750, 1000, 1000, 3)
    assert number(lambda: fs.root.mkdir("d", 0o755, ME)) == errno.EEXIST
    made.mkdir("e", 0o755, ME)
    assert number(lambda: fs.root.rmdir("d", ME)) == errno.ENOTEMPTY
    made.rmdir("e", ME)
    fs.root.rmdir("d", ME)
    assert number(lambda: fs.root.rmdir("d", ME)) == errno.ENOENT


def test_nothing_comes_into_a_directory_that_is_gone(fs: BpfFs) -> None:
    removed, replaced = fs.root.mkdir("d", 0o755, ME), fs.root.mkdir("e", 0o755, ME)
    fs.root.rmdir("d", ME)
    fs.root.mkdir("f", 0o755, ME)
    fs.root.rename("f", fs.root, "e", 0, ME)
    for directory in (removed, replaced):
        assert number(lambda directory=directory: directory.mkdir("x", 0o755, ME)) == errno.ENOENT


def test_setgid_directories_hand_on_their_group(fs: BpfFs) -> None:
    made = fs.root.mkdir("g", 0o755, ME)
    made.setattr(perm=0o2777, gid=77)
    below = made.mkdir("h", 0o700, ME)
    assert (below.perm, below.uid, below.gid) == (0o2700, 1000, 77)


def test_hard_links_count(fs: BpfFs) -> None:
    made = pin(fs, "m1")
    fs.root.link("m2", made, ME)
    assert made.nlink == 2
    fs.root.unlink("m1", ME)
    assert made.nlink == 1
    assert number(lambda: fs.root.link("x", fs.root, ME)) == errno.EXDEV
    symlink = fs.root.symlink("s1", "to", ME)
    fs.root.link("s2", symlink, ME)
    assert symlink.nlink == 2
    fs.root.unlink("s1", ME)
    assert symlink.nlink == 1


def test_a_map_goes_with_its_last_name(fs: BpfFs) -> None:
    pin(fs, "m")
    assert [found.name for found in fs.machine.maps.values()] == ["m"]
    fs.root.link("n", fs.root.nodes["m"], ME)
    fs.root.unlink("m", ME)
    assert [found.name for found in fs.machine.maps.values()] == ["m"]
    fs.root.unlink("n", ME)
    assert fs.machine.maps.values() == []


def test_renames(fs: BpfFs) -> None:
    root = fs.root
    first, second = root.mkdir("d1", 0o755, ME), root.mkdir("d2", 0o755, ME)
    assert isinstance(second, BpfDir)
    root.rename("d1", root, "d3", 0, ME)
    root.rename("d3", second, "d3", 0, ME)
    assert second.lookup("d3", ME) is first
    second.rename("d3", root, "d3", 0, ME)
    root.rename("d2", root, "d3", 0, ME)
    assert names(root) == ["d3"]
    second.mkdir("x", 0o755, ME)
    root.mkdir("d4", 0o755, ME)
    assert number(lambda: root.rename("d4", root, "d3", 0, ME)) == errno.ENOTEMPTY
    assert number(lambda: root.rename("d4", root, "d3", RENAME_NOREPLACE, ME)) == errno.EEXIST
    assert number(lambda: root.rename("d4", root, "d3", 4, ME)) == errno.EINVAL
    assert number(lambda: root.rename("d4", StaticDir(0o755, {}), "d3", 0, ME)) == errno.EXDEV
    assert number(lambda: root.rename("no", root, "d5", 0, ME)) == errno.ENOENT
    assert number(lambda: root.rename("d4", root, "no", RENAME_EXCHANGE, ME)) == errno.ENOENT
    four = root.nodes["d4"]
    root.rename("d4", root, "d3", RENAME_EXCHANGE, ME)
    assert root.nodes["d3"] is four
    pin(fs, "m")
    assert number(lambda: root.rename("m", root, "d3", 0, ME)) == errno.EISDIR
    assert number(lambda: root.rename("d3", root, "m", 0, ME)) == errno.ENOTDIR


def test_a_replaced_pin_is_let_go(fs: BpfFs) -> None:
    old, new = pin(fs, "old"), pin(fs, "new")
    fs.root.rename("new", fs.root, "old", 0, ME)
    assert (old.nlink, new.nlink, names(fs.root)) == (0, 1, ["old"])
    fs.root.link("same", new, ME)
    fs.root.rename("same", fs.root, "old", 0, ME)
    assert (new.nlink, names(fs.root)) == (2, ["same", "old"])


def test_a_map_without_types_cannot_be_opened(fs: BpfFs) -> None:
    made = pin(fs, "m")
    assert number(lambda: made.open(0, ME)) == errno.EIO
    made.truncate(10)
    assert made.size == 10


def test_a_verb_over_a_pin_is_eexist(fs: BpfFs) -> None:
    pin(fs, "m")
    for name in ("m.map", "m.bpf.o"):
        assert number(lambda name=name: fs.root.lookup(name, ME)) == errno.ENOENT
        assert number(lambda name=name: fs.root.create(name, 0o644, 0, Caller())) == errno.EEXIST


def test_views_follow_owner_and_mode(fs: BpfFs) -> None:
    made = pin(fs, "m")
    view = fs.root.lookup("m.hex", ME)
    assert (view.perm, view.uid) == (0o400, 0)
    assert fs.root.lookup("m.hex", ME) is view
    made.setattr(perm=0o644, uid=5)
    assert (view.perm, view.uid) == (0o444, 5)
    assert (fs.root.lookup("m.ctl", ME).perm) == 0o200
    assert number(lambda: fs.root.unlink("m.hex", ME)) == errno.EPERM
