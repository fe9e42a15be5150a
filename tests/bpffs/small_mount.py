"""A small kernfs tree on a real mount, for tests of the adapter: `python -m tests.bpffs.small_mount DIR`."""

import errno
import os
import stat
import sys
import threading
import time
from collections import deque

import trio

from bpffs.service import serve_tree
from engine.errors import KernelError
from engine.interruption import check, question
from engine.kernfs import (
    READY,
    Caller,
    Dir,
    File,
    Handle,
    Node,
    StaticDir,
    Symlink,
    TextFile,
    WaitQueue,
    WouldBlock,
)

__all__ = ["Pipe", "small_tree"]


class _PipeHandle(Handle):
    seekable = False

    def __init__(self, pipe: "Pipe") -> None:
        self._pipe = pipe

    def read(self, offset: int, size: int) -> bytes:
        if not self._pipe.lines:
            raise WouldBlock(self._pipe.queue)
        return self._pipe.lines.popleft()[:size]

    def poll(self) -> int:
        return READY if self._pipe.lines else 0

    def poll_queue(self) -> WaitQueue:
        return self._pipe.queue


class Pipe(File):
    """What is written to `feed` can be read once from here."""

    def __init__(self) -> None:
        super().__init__(0o444)
        self.lines: deque[bytes] = deque()
        self.queue = WaitQueue()

    def feed(self, data: bytes) -> None:
        self.lines.append(data)
        self.queue.wake()

    def open(self, flags: int, caller: Caller) -> Handle:
        return _PipeHandle(self)


class _Notes(Dir):
    """A directory that can be changed in all ways."""

    def __init__(self) -> None:
        super().__init__(0o1777)
        self.nodes: dict[str, Node] = {}

    def entries(self) -> list[tuple[str, Node]]:
        return list(self.nodes.items())

    def create(self, name: str, mode: int, flags: int, caller: Caller) -> tuple[File, Handle]:
        box: list[bytes] = []
        file = TextFile(mode, lambda: b"".join(box), box.append, truncated=box.clear, uid=caller.uid)
        self.nodes[name] = file
        return file, file.open(flags, caller)

    def mkdir(self, name: str, mode: int, caller: Caller) -> Dir:
        if name in self.nodes:
            raise KernelError(errno.EEXIST)
        made = self.nodes[name] = _Notes()
        made.perm = mode
        made.uid, made.gid = caller.uid, caller.gid
        return made

    def rmdir(self, name: str, caller: Caller) -> None:
        del self.nodes[name]

    def unlink(self, name: str, caller: Caller) -> None:
        del self.nodes[name]

    def symlink(self, name: str, target: str, caller: Caller) -> Symlink:
        made = self.nodes[name] = Symlink(target)
        return made

    def link(self, name: str, node: Node, caller: Caller) -> Node:
        self.nodes[name] = node
        return node

    def rename(self, name: str, to: Dir, new_name: str, flags: int, caller: Caller) -> None:
        assert isinstance(to, _Notes)
        to.nodes[new_name] = self.nodes.pop(name)


class _CloseError(File):
    """Closing it fails with ENOSPC once something was written."""

    def open(self, flags: int, caller: Caller) -> Handle:
        return _CloseErrorHandle()


class _CloseErrorHandle(Handle):
    wrote = False

    def write(self, offset: int, data: bytes) -> int:
        self.wrote = True
        return len(data)

    def close(self) -> None:
        if self.wrote:
            raise KernelError(errno.ENOSPC)


class _Heavy(File):
    """Closing it takes until somebody wants it to end; `heavy_closes` counts the closes under way."""

    slow = heavy = True

    def __init__(self) -> None:
        super().__init__(0o666)
        self.under_way = 0

    def open(self, flags: int, caller: Caller) -> Handle:
        return _HeavyHandle(self)


class _HeavyHandle(Handle):
    def __init__(self, file: _Heavy) -> None:
        self._file = file

    def close(self) -> None:
        interrupted = question()
        assert interrupted is not None
        self._file.under_way += 1
        while not interrupted():
            time.sleep(0.01)
        self._file.under_way -= 1
        check()


class _Endless(File):
    """Reading it takes until somebody wants it to end."""

    slow = True

    def open(self, flags: int, caller: Caller) -> Handle:
        return _EndlessHandle()


class _EndlessHandle(Handle):
    def read(self, offset: int, size: int) -> bytes:
        while True:
            check()
            time.sleep(0.01)


def _broken() -> str:
    raise ZeroDivisionError("a defect, for the test")


def _thread_and_nap() -> str:
    time.sleep(0.05)
    return f"{threading.current_thread() is threading.main_thread()}\n"


class Recorded:
    """Writes every hit of vfs_mkdir, vfs_rename and vfs_read to standard error."""

    def armed(self, name: str) -> bool:
        return name in ("vfs_mkdir", "vfs_rename", "vfs_read")

    def hit(self, name: str, tid: int, uid: int, gid: int, path: str, ret: int, **more: object) -> None:
        del more["start_ns"]
        print(name, tid, uid, gid, os.path.basename(path), ret, more, file=sys.stderr, flush=True)


def small_tree() -> Dir:
    """Every kind of node that the adapter knows."""
    pipe, heavy = Pipe(), _Heavy()
    return StaticDir(
        0o755,
        {
            "hello": TextFile(0o444, lambda: "hello, world\n"),
            "secret": TextFile(0o400, lambda: "secret\n"),
            "broken": TextFile(0o444, _broken),
            "slow": TextFile(0o444, _thread_and_nap, slow=True),
            "pipe": pipe,
            "feed": TextFile(0o222, None, pipe.feed),
            "close_error": _CloseError(0o666),
            "heavy": heavy,
            "endless": _Endless(0o444),
            "heavy_closes": TextFile(0o444, lambda: f"{heavy.under_way}\n"),
            "link": Symlink("hello"),
            "notes": _Notes(),
            "sub": StaticDir(0o755, {"hello": TextFile(0o444, lambda: "hello below\n")}),
        },
    )


def main() -> None:
    """Serve the tree; a line on standard output says when it answers."""
    assert stat.S_ISDIR(os.stat(sys.argv[1]).st_mode)

    async def serve() -> None:
        await serve_tree(
            small_tree(),
            sys.argv[1],
            ready=lambda: print("ready", flush=True),
            hits=Recorded(),
            before_unmount=lambda: print("ending", flush=True),
        )

    trio.run(serve)


if __name__ == "__main__":
    main()
