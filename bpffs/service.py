"""One mount from its first request to its last: the nursery that everything of a mount lives in."""

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

import trio

from bpffs.fuse import session
from bpffs.fuse.attributes import Owners
from bpffs.fuse.calls import Calls
from bpffs.fuse.hits import Hits, Watch
from bpffs.fuse.operations import Operations
from engine.kernfs import Dir

__all__ = ["serve_tree"]

_log = logging.getLogger(__name__)


async def _end_on_signal(end: Callable[[], Awaitable[None]]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            _log.info("%s: ending", signal.Signals(number).name)
            await end()
            return


async def serve_tree(
    root: Dir,
    directory: str,
    *,
    ready: Callable[[], None],
    before_unmount: Callable[[], None],
    hits: Hits,
    background: Sequence[Callable[[], Awaitable[None]]] = (),
) -> None:
    """Mount `root` on `directory` and serve it until it is unmounted or SIGTERM, SIGINT or SIGHUP arrives.

    `ready` runs once the mount answers. `background` tasks run beside it and are cancelled at its end.
    `hits` is told of file operations on the mount.
    `before_unmount` runs in a worker thread when a signal ends the mount, while it still answers.
    Raises MountError.
    """
    calls = Calls()
    operations = Operations(root, calls, Owners(os.geteuid(), os.getegid()), Watch(hits, directory))

    async def end() -> None:
        await trio.to_thread.run_sync(before_unmount)
        calls.lot.close()
        session.stop()

    session.mount(operations, directory)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, end)
            nursery.start_soon(calls.lot.watch)
            for task in background:
                nursery.start_soon(task)
            nursery.start_soon(trio.to_thread.run_sync, ready)
            await session.serve()
            nursery.cancel_scope.cancel()
    finally:
        session.unmount()
        operations.drop_all()
