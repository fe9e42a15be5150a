"""Directories of /sys/fs/bpf with the errnos of kernel/bpf/inode.c and fs/libfs.c."""

import errno
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bpffs.bpf.pins import Named, NamedSymlink, Pin, owner_of_new
from engine.errors import KernelError
from engine.kernfs import Caller, Dir, File, Handle, Node, Symlink

if TYPE_CHECKING:
    from bpffs.bpf.pinfs import BpfFs

__all__ = ["BpfDir"]

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


def _plain(name: str) -> str:
    """A name that Linux's bpffs takes. Raises KernelError(EPERM) for one with a dot (bpf_lookup)."""
    if "." in name:
        raise KernelError(errno.EPERM)
    return name


class BpfDir(Dir):
    """A directory. `nodes` are its ordinary names, `extras` its own listed names with a dot."""

    def __init__(self, fs: "BpfFs", mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(mode, uid, gid)
        self.fs = fs
        self.nodes: dict[str, Node] = {}
        self.extras: dict[str, Node] = {}
        self.uploads: dict[str, File] = {}
        self.gone = False
        """Whether it was removed: nothing may come into it any more (S_DEAD)."""
        self.source: tuple[str, File] | None = None
        """Of a loaded object: suffix and file that it was loaded from."""

    def _touch(self) -> None:
        self.mtime_ns = self.ctime_ns = time.time_ns()

    def lookup(self, name: str, caller: Caller) -> Node:
        """A name, or a view of one. Raises KernelError(ENOENT, EPERM)."""
        with self.fs.lock:
            found = self.nodes.get(name) or self.extras.get(name) or self.uploads.get(name)
            if found is not None:
                return found
            stem, dot, suffix = name.partition(".")
            pin = self.nodes.get(stem)
            if dot and isinstance(pin, BpfDir) and pin.source is not None and pin.source[0] == suffix:
                return pin.source[1]
            if not dot or self.fs.is_verb(suffix):
                raise KernelError(errno.ENOENT)
            if isinstance(pin, Pin):
                return pin.view(suffix)
            raise KernelError(errno.EPERM)

    def entries(self) -> Iterable[tuple[str, Node]]:
        """Ordinary names as on Linux, the newest first (dcache_readdir), then the extras."""
        with self.fs.lock:
            return [*reversed(self.nodes.items()), *self.extras.items()]

    def create(self, name: str, mode: int, flags: int, caller: Caller) -> tuple[File, Handle]:
        """A verb (`OBJ.bpf.o`, `NAME.map`). Raises KernelError(EACCES) as Linux otherwise, EEXIST, EPERM."""
        stem, dot, suffix = name.partition(".")
        if not dot:
            raise KernelError(errno.EACCES)
        if not stem or not self.fs.is_verb(suffix):
            raise KernelError(errno.EPERM)
        if caller.uid != 0:
            # Anybody may make directories here, as on Linux; bpf(2) is root's (unprivileged_bpf_disabled).
            raise KernelError(errno.EPERM, "only root, or who mounted, may load programs and create maps")
        with self.fs.lock:
            if stem in self.nodes and name not in self.uploads:
                raise KernelError(errno.EEXIST, f"{stem} exists")
            if name not in self.uploads:
                self.uploads[name] = self.fs.verb(self, stem, suffix, caller)
            file = self.uploads[name]
            return file, file.open(flags, caller)

    def finish_upload(self, name: str) -> None:
        """Nobody writes the verb `name` any more."""
        with self.fs.lock:
            self.uploads.pop(name, None)

    def add(self, name: str, node: Node) -> None:
        """Give `node` a new name here. Raises KernelError(EEXIST), ENOENT in a directory that is gone."""
        with self.fs.lock:
            if self.gone:
                raise KernelError(errno.ENOENT)
            if name in self.nodes:
                raise KernelError(errno.EEXIST, f"{name} exists")
            self.nodes[name] = node
            if isinstance(node, Named):
                node.named()
            self._touch()

    def mkdir(self, name: str, mode: int, caller: Caller) -> Dir:
        """bpf_mkdir. Raises KernelError(EPERM, EEXIST)."""
        mode, uid, gid = owner_of_new(self, caller, mode, is_dir=True)
        made = BpfDir(self.fs, mode, uid, gid)
        self.add(_plain(name), made)
        return made

    def symlink(self, name: str, target: str, caller: Caller) -> Symlink:
        """bpf_symlink. Raises KernelError(EPERM, EEXIST)."""
        _, uid, gid = owner_of_new(self, caller, 0o777, is_dir=False)
        made = NamedSymlink(target, 0o777, uid, gid)
        self.add(_plain(name), made)
        return made

    def link(self, name: str, node: Node, caller: Caller) -> Node:
        """simple_link. Raises KernelError(EPERM, EEXIST), EXDEV for anything but pins and symbolic links."""
        if not isinstance(node, Named):
            raise KernelError(errno.EXDEV)
        self.add(_plain(name), node)
        return node

    def unlink(self, name: str, caller: Caller) -> None:
        """simple_unlink; an extra just goes. Raises KernelError(ENOENT, EISDIR), EPERM for a view."""
        with self.fs.lock:
            if self.extras.pop(name, None) is not None:
                return
            node = self.nodes.get(_plain(name))
            if node is None:
                raise KernelError(errno.ENOENT)
            if isinstance(node, Dir):
                raise KernelError(errno.EISDIR)
            del self.nodes[name]
            self._touch()
        if isinstance(node, Named):
            node.unnamed()

    def rmdir(self, name: str, caller: Caller) -> None:
        """simple_rmdir. Raises KernelError(ENOENT, ENOTDIR, ENOTEMPTY)."""
        with self.fs.lock:
            node = self.nodes.get(_plain(name))
            if node is None:
                raise KernelError(errno.ENOENT)
            if not isinstance(node, BpfDir):
                raise KernelError(errno.ENOTDIR)
            if node.nodes:
                raise KernelError(errno.ENOTEMPTY)
            node.extras.clear()
            node.gone = True
            del self.nodes[name]
            self._touch()

    def rename(self, name: str, to: Dir, new_name: str, flags: int, caller: Caller) -> None:
        """simple_rename. Raises KernelError(EINVAL, EPERM, EXDEV, ENOENT, EEXIST, ENOTEMPTY)."""
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise KernelError(errno.EINVAL)
        if not isinstance(to, BpfDir):
            raise KernelError(errno.EXDEV)
        with self.fs.lock:
            node = self.nodes.get(_plain(name))
            there = to.nodes.get(_plain(new_name))
            if node is None or (there is None and flags & RENAME_EXCHANGE):
                raise KernelError(errno.ENOENT)
            if there is not None and flags & RENAME_NOREPLACE:
                raise KernelError(errno.EEXIST)
            if there is node:
                return
            if not flags & RENAME_EXCHANGE:
                _check_replaced(node, there)
            # Names that move are the newest in their directory (__d_move).
            del self.nodes[name]
            to.nodes.pop(new_name, None)
            if flags & RENAME_EXCHANGE:
                assert there is not None
                self.nodes[name], there = there, None
            to.nodes[new_name] = node
            self._touch()
            to._touch()
            if isinstance(there, BpfDir):
                there.gone = True
        if isinstance(there, Named):
            there.unnamed()


def _check_replaced(node: Node, there: Node | None) -> None:
    """Whether `node` may take the name of `there` (may_delete and simple_empty)."""
    if there is None:
        return
    if isinstance(there, BpfDir):
        if not isinstance(node, Dir):
            raise KernelError(errno.EISDIR)
        if there.nodes:
            raise KernelError(errno.ENOTEMPTY)
    elif isinstance(node, Dir):
        raise KernelError(errno.ENOTDIR)
