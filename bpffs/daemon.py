"""The daemon of one mount: owns machine, tracer, tracefs and pins, and ends them in order.

Run as `python -m bpffs.daemon DIR [LOG REPORT_FD]`. With LOG it is in the background: it writes `ok` or one
line of error to REPORT_FD and logs to LOG; without, it logs to standard error.
"""

import faulthandler
import logging
import os
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler

import trio

from bpffs import runtime
from bpffs.bpf.pinfs import BpfFs
from bpffs.fuse.session import MountError
from bpffs.procs import procs_file
from bpffs.report import report_file
from bpffs.service import serve_tree
from bpffs.tree import mount_tree
from engine.machine import Machine
from engine.tracees import Tracer
from tracefs import Tracefs
from tracefs.bpf_trigger import bpf_command

__all__ = ["Daemon", "main"]

_log = logging.getLogger(__name__)

LOG_BYTES = 1 << 20
HOUSEKEEPING_SECONDS, IDLE_SECONDS = 0.1, 0.5
"""How often it is seen whether something can be given back: while something waits for that, and while nothing
does."""

SWITCH_SECONDS = 0.001
"""How long a worker thread, which may verify for minutes, keeps the interpreter from who serves requests."""


class Daemon:
    """Everything behind one mount. `serve` runs until it is unmounted; `close` afterwards."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.tracer = Tracer(self.machine)
        self.machine.vfs.is_attached = self.tracer.is_attached
        self.tracefs = Tracefs(self.machine)
        self.bpf = BpfFs(self.machine)
        self.tracefs.triggers.commands["bpf"] = bpf_command(self.bpf.program)
        self.tree = mount_tree(
            bpf=self.bpf.root,
            tracing=self.tracefs.root,
            vmlinux=self.machine.kernel.btf(),
            procs=procs_file(self.tracer),
            report=report_file(self.machine, self.tracer),
        )

    async def serve(self, directory: str, ready: Callable[[], None]) -> None:
        """Serve the mount on `directory`. Raises MountError."""
        self.tracer.start()
        await serve_tree(
            self.tree,
            directory,
            ready=ready,
            before_unmount=self.tracer.stop,
            hits=self.machine.vfs,
            background=(self._wake, self._keep_house),
        )

    async def _wake(self) -> None:
        """Pass on to tracefs that the machine has something to show."""
        while True:
            await trio.lowlevel.wait_readable(self.machine.wake_fd)
            os.eventfd_read(self.machine.wake_fd)
            self.tracefs.wake()

    async def _keep_house(self) -> None:
        """Give back what no runner can still hold."""
        while True:
            waiting = self.machine.epoch.poll()
            await trio.sleep(HOUSEKEEPING_SECONDS if waiting else IDLE_SECONDS)

    def close(self) -> None:
        """Detach every process, then let go of probes, pins and memory."""
        self.tracer.stop()
        self.bpf.close()
        self.tracefs.close()
        self.machine.close()


def _log_to(path: str | None) -> None:
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler()
    else:
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    faulthandler.enable()


def main(arguments: list[str]) -> int:
    """Serve one mount. Exit status 0 when it was unmounted, 1 when it could not be mounted."""
    sys.setswitchinterval(SWITCH_SECONDS)
    directory = arguments[0]
    log = arguments[1] if len(arguments) > 1 else None
    report_fd = int(arguments[2]) if len(arguments) > 2 else os.dup(2)
    _log_to(log)

    def say(text: str) -> None:
        os.write(report_fd, text.encode() + b"\n")
        os.close(report_fd)

    def ready() -> None:
        _log.info("mounted on %s, process %d", directory, os.getpid())
        say("ok" if log is not None else f"bpffs: mounted on {directory}, Ctrl-C unmounts")

    try:
        lock = runtime.claim(runtime.Record(directory, os.getpid(), log or "standard error"))
    except BlockingIOError:
        say(f"{directory}: busy, another daemon serves it")
        return 1
    daemon = Daemon()
    try:
        trio.run(daemon.serve, directory, ready)
    except MountError as error:
        say(f"{directory}: {error}")
        return 1
    finally:
        daemon.close()
        runtime.remove(directory)
        os.close(lock)
    _log.info("unmounted from %s", directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
