"""A machine with two CPUs and a tracefs over it, driven as a process would drive the files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine.kernfs import Caller, Dir, File, Handle, Node
from engine.machine import Machine
from engine.probes.driver import Driver
from tracefs import Tracefs

CALLER = Caller(tid=os.getpid())


class Files:
    """Paths below the root of a tracefs, read and written whole."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tracefs = Tracefs(machine)

    def node(self, path: str) -> Node:
        """The node at `path`."""
        node: Node = self.tracefs.root
        for name in path.split("/"):
            assert isinstance(node, Dir)
            node = node.lookup(name, CALLER)
        return node

    @contextmanager
    def open(self, path: str, flags: int = os.O_RDONLY) -> Iterator[Handle]:
        """An open handle of the file at `path`."""
        node = self.node(path)
        assert isinstance(node, File)
        handle = node.open(flags, CALLER)
        try:
            yield handle
        finally:
            handle.close()
            handle.release()

    def read(self, path: str, size: int = 4096) -> str:
        """All of a file, in pieces of `size`."""
        text = b""
        with self.open(path) as handle:
            while piece := handle.read(len(text), size):
                text += piece
        return text.decode("latin-1")

    def write(self, path: str, text: str) -> None:
        """`printf TEXT > PATH`."""
        with self.open(path, os.O_WRONLY | os.O_TRUNC) as handle:
            if text:
                handle.write(0, text.encode("latin-1"))

    def append(self, path: str, text: str) -> None:
        """`printf TEXT >> PATH`."""
        with self.open(path, os.O_WRONLY | os.O_APPEND) as handle:
            handle.write(0, text.encode("latin-1"))

    def directory(self, path: str) -> Dir:
        """The directory at `path`."""
        node = self.node(path)
        assert isinstance(node, Dir)
        return node

    def names(self, path: str) -> list[str]:
        """`ls PATH`."""
        return sorted(name for name, _ in self.directory(path).entries())

    def lines(self, path: str = "trace") -> list[str]:
        """The lines of a trace file without its header."""
        return [line for line in self.read(path).splitlines() if not line.startswith("#")]


@pytest.fixture
def files() -> Iterator[Files]:
    """A fresh tracefs."""
    machine = Machine(nr_cpus=2)
    tree = Files(machine)
    yield tree
    tree.tracefs.close()
    machine.close()


@pytest.fixture
def driver(files: Files) -> Iterator[Driver]:
    """A synthetic thread called trig on CPU 1 that makes system calls."""
    with Driver(files.machine, "trig", 1) as thread:
        yield thread
