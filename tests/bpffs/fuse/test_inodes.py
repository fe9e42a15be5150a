"""Inode numbers and lookup counts."""

import errno
import gc

import pytest

from bpffs.fuse.inodes import ROOT, InodeTable
from engine.errors import KernelError
from engine.kernfs import StaticDir, TextFile


def test_numbers_stay_while_the_node_lives() -> None:
    below = StaticDir(0o755, {"f": TextFile(0o444)})
    table = InodeTable(StaticDir(0o755, {"d": below}))
    number = table.refer(ROOT, "d", below)
    assert number != ROOT
    assert table.refer(ROOT, "d", below) == number
    assert table.node(number) is below
    table.forget(number, 1)
    assert table.node(number) is below
    table.forget(number, 1)
    with pytest.raises(KernelError) as raised:
        table.node(number)
    assert raised.value.errno == errno.ESTALE
    assert table.number(below) == number


def test_a_number_is_never_given_again() -> None:
    table = InodeTable(StaticDir(0o755, {}))
    file = TextFile(0o444)
    first = table.number(file)
    del file
    gc.collect()
    assert table.number(TextFile(0o444)) > first


def test_the_root_is_never_forgotten() -> None:
    root = StaticDir(0o755, {})
    table = InodeTable(root)
    table.forget(ROOT, 100)
    assert table.node(ROOT) is root
    assert (table.parent(ROOT), table.path(ROOT)) == (ROOT, "/")


def test_paths_parents_and_kinds() -> None:
    file = TextFile(0o444)
    below = StaticDir(0o755, {"f": file})
    table = InodeTable(StaticDir(0o755, {"d": below}))
    directory = table.refer(ROOT, "d", below)
    number = table.refer(directory, "f", file)
    assert (table.path(number), table.parent(number)) == ("/d/f", directory)
    assert table.directory(directory) is below
    with pytest.raises(KernelError) as raised:
        table.directory(number)
    assert raised.value.errno == errno.ENOTDIR
    assert len(table) == 3
