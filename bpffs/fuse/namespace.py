"""Requests about names and inodes: lookup, attributes, directories, links."""

import errno
from collections.abc import Sequence

import pyfuse3

from bpffs.fuse.answers import answering
from bpffs.fuse.attributes import Owners, attributes
from bpffs.fuse.calls import Calls
from bpffs.fuse.hits import Operation, Watch
from bpffs.fuse.inodes import InodeTable
from bpffs.fuse.openfiles import OpenFiles
from engine.errors import KernelError
from engine.kernfs import Dir, File, Node, Symlink

__all__ = ["Namespace", "file_name"]

NAME_MAX = 255
_Listing = list[tuple[str, Node]]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def file_name(name: bytes) -> str:
    """A file name as text. Raises KernelError(ENAMETOOLONG)."""
    if len(name) > NAME_MAX:
        raise KernelError(errno.ENAMETOOLONG)
    return _text(name)


class Namespace(pyfuse3.Operations):
    """The half of the requests that needs no open file."""

    supports_dot_lookup = False

    def __init__(self, root: Dir, calls: Calls, owners: Owners, watch: Watch) -> None:
        super().__init__()
        self.inodes = InodeTable(root)
        self.files = OpenFiles()
        self.calls = calls
        self.owners = owners
        self.watch = watch
        self._listings: dict[int, tuple[int, Dir, _Listing]] = {}
        self._next_listing = 0

    def _entry(self, parent: int, name: str, node: Node) -> pyfuse3.EntryAttributes:
        """Count a lookup of `node` and describe it."""
        number = self.inodes.refer(parent, name, node)
        return attributes(number, node, self.owners, self.inodes.node(parent))

    def seen(
        self,
        operation: str,
        ctx: pyfuse3.RequestContext,
        inode: int,
        name: str = "",
        *,
        new: tuple[int, str] | None = None,
        flags: int = 0,
    ) -> Operation:
        """The context of an operation on `name` in directory number `inode`, or on that inode itself."""
        return self.watch.operation(
            operation,
            (ctx.pid, ctx.uid, ctx.gid),
            lambda: f"{self.inodes.path(inode)}/{name}",
            new_path=(lambda: "/".join((self.inodes.path(new[0]), new[1]))) if new is not None else None,
            flags=flags,
        )

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        with answering("lookup"):
            directory, text = self.inodes.directory(parent_inode), file_name(name)
            node = await self.calls.run(directory, directory.lookup, text, self.owners.caller(ctx))
            return self._entry(parent_inode, text, node)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for number, count in inode_list:
            self.inodes.forget(number, count)

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        with answering("getattr"):
            return attributes(inode, self.inodes.node(inode), self.owners)

    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        with answering("setattr"):
            node = self.inodes.node(inode)
            if fields.update_size and isinstance(node, File):
                await self.calls.run(node, node.truncate, attr.st_size)
            await self.calls.run(
                node,
                node.setattr,
                perm=attr.st_mode & 0o7777 if fields.update_mode else None,
                uid=self.owners.swap_uid(attr.st_uid) if fields.update_uid else None,
                gid=self.owners.swap_gid(attr.st_gid) if fields.update_gid else None,
                atime_ns=attr.st_atime_ns if fields.update_atime else None,
                mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
            )
            return attributes(inode, node, self.owners)

    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        with answering("readlink"):
            node = self.inodes.node(inode)
            if not isinstance(node, Symlink):
                raise KernelError(errno.EINVAL)
            return node.target.encode("utf-8", "surrogateescape")

    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        with answering("mknod"):
            directory, text = self.inodes.directory(parent_inode), file_name(name)
            node = await self.calls.run(directory, directory.mknod, text, mode, self.owners.caller(ctx))
            return self._entry(parent_inode, text, node)

    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        with answering("mkdir"):
            directory, text = self.inodes.directory(parent_inode), file_name(name)
            caller = self.owners.caller(ctx)
            with self.seen("vfs_mkdir", ctx, parent_inode, text, flags=mode & 0o7777):
                node = await self.calls.run(directory, directory.mkdir, text, mode & 0o7777, caller)
            return self._entry(parent_inode, text, node)

    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        with answering("symlink"):
            directory, text = self.inodes.directory(parent_inode), file_name(name)
            caller = self.owners.caller(ctx)
            node = await self.calls.run(directory, directory.symlink, text, _text(target), caller)
            return self._entry(parent_inode, text, node)

    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        with answering("link"):
            directory, text = self.inodes.directory(new_parent_inode), file_name(new_name)
            node, caller = self.inodes.node(inode), self.owners.caller(ctx)
            linked = await self.calls.run(directory, directory.link, text, node, caller)
            return self._entry(new_parent_inode, text, linked)

    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        with answering("unlink"):
            directory, text = self.inodes.directory(parent_inode), file_name(name)
            with self.seen("vfs_unlink", ctx, parent_inode, text):
                await self.calls.run(directory, directory.unlink, text, self.owners.caller(ctx))

    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        with answering("rmdir"):
            directory, text = self.inodes.directory(parent_inode), file_name(name)
            with self.seen("vfs_rmdir", ctx, parent_inode, text):
                await self.calls.run(directory, directory.rmdir, text, self.owners.caller(ctx))

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        with answering("rename"):
            directory = self.inodes.directory(parent_inode_old)
            to = self.inodes.directory(parent_inode_new)
            old, new, caller = file_name(name_old), file_name(name_new), self.owners.caller(ctx)
            with self.seen(
                "vfs_rename", ctx, parent_inode_old, old, new=(parent_inode_new, new), flags=flags
            ):
                await self.calls.run(directory, directory.rename, old, to, new, flags, caller)

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        with answering("opendir"):
            self._next_listing += 1
            self._listings[self._next_listing] = (inode, self.inodes.directory(inode), [])
            return self._next_listing

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        with answering("readdir"):
            inode, directory, listing = self._listings[fh]
            if start_id == 0:
                rows = await self.calls.run(directory, lambda: list(directory.entries()))
                above = self.inodes.parent(inode)
                listing[:] = [(".", directory), ("..", self.inodes.node(above)), *rows]
            for position in range(start_id, len(listing)):
                name, node = listing[position]
                entry = attributes(self.inodes.number(node), node, self.owners, directory)
                raw = name.encode("utf-8", "surrogateescape")
                if not pyfuse3.readdir_reply(token, raw, entry, position + 1):
                    return
                if name not in (".", ".."):
                    self.inodes.refer(inode, name, node)

    async def releasedir(self, fh: int) -> None:
        self._listings.pop(fh, None)

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        with answering("fsyncdir"):
            raise KernelError(errno.EINVAL)

    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        """None, as any file system that knows none says (vfs_listxattr)."""
        return ()

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        with answering("statfs"):
            data = pyfuse3.StatvfsData()
            data.f_bsize = data.f_frsize = 4096
            data.f_namemax = NAME_MAX
            return data
