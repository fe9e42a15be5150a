"""Inode numbers: stable for as long as a node lives, with the kernel's lookup counts."""

import errno
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import pyfuse3

from engine.errors import KernelError
from engine.kernfs import Dir, Node

__all__ = ["InodeTable"]

ROOT = int(pyfuse3.ROOT_INODE)


@dataclass(slots=True)
class _Inode:
    """What the kernel knows: the node, how often it was looked up, and the name it was last found under."""

    node: Node
    lookups: int
    parent: int
    name: str


class InodeTable:
    """Nodes by number and numbers by node. A node is kept alive while the kernel holds lookups of it."""

    def __init__(self, root: Dir) -> None:
        self._next = ROOT
        self._numbers: WeakKeyDictionary[Node, int] = WeakKeyDictionary()
        self._inodes = {ROOT: _Inode(root, 1, ROOT, "")}
        self.number(root)

    def number(self, node: Node) -> int:
        """The number of `node`, given when it is first asked for and never given again."""
        known = self._numbers.get(node)
        if known is None:
            known = self._numbers[node] = self._next
            self._next += 1
        return known

    def refer(self, parent: int, name: str, node: Node) -> int:
        """Count one lookup of `node` as `name` in the directory numbered `parent`; its number."""
        number = self.number(node)
        inode = self._inodes.get(number)
        if inode is None:
            self._inodes[number] = _Inode(node, 1, parent, name)
        else:
            inode.lookups += 1
            inode.parent, inode.name = parent, name
        return number

    def forget(self, number: int, count: int) -> None:
        """The kernel drops `count` lookups; at none the node is no longer held here."""
        inode = self._inodes.get(number)
        if inode is None or number == ROOT:
            return
        inode.lookups -= count
        if inode.lookups <= 0:
            del self._inodes[number]

    def node(self, number: int) -> Node:
        """The node numbered so. Raises KernelError(ESTALE) if the kernel was told to forget it."""
        inode = self._inodes.get(number)
        if inode is None:
            raise KernelError(errno.ESTALE)
        return inode.node

    def directory(self, number: int) -> Dir:
        """The directory numbered so. Raises KernelError(ESTALE, ENOTDIR)."""
        node = self.node(number)
        if not isinstance(node, Dir):
            raise KernelError(errno.ENOTDIR)
        return node

    def parent(self, number: int) -> int:
        """The number of the directory above, for `..` (the root is its own)."""
        inode = self._inodes.get(number)
        return ROOT if inode is None else inode.parent

    def path(self, number: int) -> str:
        """The path below the mount under which the node was last found, for probes and messages."""
        parts: list[str] = []
        inode = self._inodes.get(number)
        while inode is not None and inode.name:
            parts.append(inode.name)
            inode = self._inodes.get(inode.parent)
        return "/" + "/".join(reversed(parts))

    def __len__(self) -> int:
        return len(self._inodes)
