"""Requests about open files: open, read, write, poll, close. With `Namespace`, all that the mount answers."""

import errno

import pyfuse3

from bpffs.fuse.answers import answering
from bpffs.fuse.hits import Operation
from bpffs.fuse.namespace import Namespace, file_name
from bpffs.fuse.openfiles import OpenFile
from engine.errors import KernelError
from engine.kernfs import File, Handle

__all__ = ["Operations"]


class Operations(Namespace):
    """Every request of the kernel, each a few lines. Files are direct_io: the kernel caches no content."""

    def _opened(
        self, inode: int, node: File, handle: Handle, flags: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        file = OpenFile(node, handle, inode, self.inodes.path(inode), flags, (ctx.pid, ctx.uid, ctx.gid))
        number = self.files.add(file)
        return pyfuse3.FileInfo(fh=number, direct_io=True, keep_cache=False, nonseekable=not handle.seekable)

    def _transfer(self, name: str, file: OpenFile, off: int, size: int) -> Operation:
        return self.watch.operation(name, file.who, lambda: file.path, flags=file.flags, count=size, pos=off)

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        with answering("open"):
            node = self.inodes.node(inode)
            if not isinstance(node, File):
                raise KernelError(errno.ENXIO)
            with self.seen("vfs_open", ctx, inode, flags=flags):
                handle = await self.calls.run(node, node.open, flags, self.owners.caller(ctx))
            return self._opened(inode, node, handle, flags, ctx)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        with answering("create"):
            directory, text = self.inodes.directory(parent_inode), file_name(name)
            caller = self.owners.caller(ctx)
            with self.seen("vfs_open", ctx, parent_inode, text, flags=flags):
                node, handle = await self.calls.run(
                    directory, directory.create, text, mode & 0o7777, flags, caller
                )
            entry = self._entry(parent_inode, text, node)
            return self._opened(entry.st_ino, node, handle, flags, ctx), entry

    async def read(self, fh: int, off: int, size: int) -> bytes:
        with answering("read"):
            file = self.files.get(fh)
            with self._transfer("vfs_read", file, off, size) as read:
                data = await self.calls.run_blocking(file, file.handle.read, off, size)
                read.ret = len(data)
                return data

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        with answering("write"):
            file = self.files.get(fh)
            with self._transfer("vfs_write", file, off, len(buf)) as write:
                write.ret = await self.calls.run_blocking(file, file.handle.write, off, buf)
                return write.ret

    async def poll(
        self, inode: int, fh: int, poll_handle: pyfuse3.PollHandle | None, ctx: pyfuse3.RequestContext
    ) -> int:
        with answering("poll"):
            return self.files.get(fh).poll(poll_handle, self.calls.lot)

    async def flush(self, fh: int) -> None:
        with answering("flush"):
            file = self.files.get(fh)
            await self.calls.run_heavy(file, file.handle.close)

    async def fsync(self, fh: int, datasync: bool) -> None:
        with answering("fsync"):
            raise KernelError(errno.EINVAL)

    async def release(self, fh: int) -> None:
        with answering("release"):
            file = self.files.remove(fh)
            await self.calls.run(file.node, file.handle.release)

    def drop_all(self) -> None:
        """The mount is gone without having closed its files: release their handles."""
        for file in self.files.drain():
            with answering("release"):
                file.handle.release()
