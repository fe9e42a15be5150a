"""The command `bpffs`: mount, umount, status, run."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from bpffs import ending, launch, mounts, runtime
from bpffs.failure import Failure
from bpffs.run import run
from bpffs.status import status

__all__ = ["main"]


def _mount(options: argparse.Namespace) -> int:
    path = launch.check(options.dir)
    if options.foreground:
        os.execv(sys.executable, launch.daemon_command(path))
    launch.launch(path)
    return 0


def _umount(options: argparse.Namespace) -> int:
    ending.end(options.dir)
    return 0


def _status(options: argparse.Namespace) -> int:
    # Whoever reads may have seen enough: `bpffs status | head`.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    lines, well = status()
    print("\n".join(lines))
    return 0 if well else 1


def _run(options: argparse.Namespace) -> int:
    if not options.command:
        raise Failure("run: which command?")
    record = _chosen(options.mount)
    return run(record.directory, options.command, record.pid)


def _chosen(directory: str | None) -> runtime.Record:
    """The mount to use: the one named, or the only one there is. Raises Failure."""
    alive = [row for row in runtime.records() if runtime.is_alive(row.directory)]
    if directory is not None:
        path = mounts.canonical(directory)
        alive = [row for row in alive if row.directory == path]
        if not alive:
            raise Failure(f"{directory}: not mounted by you")
    if not alive:
        raise Failure("nothing is mounted: bpffs mount DIR first")
    if len(alive) > 1:
        raise Failure(f"several mounts: choose with -m: {', '.join(row.directory for row in alive)}")
    return alive[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bpffs", description="The kernel's eBPF and kprobe interface as files, from user space."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    mount = commands.add_parser("mount", help="mount on an empty directory")
    mount.add_argument("dir", metavar="DIR")
    mount.add_argument("--foreground", action="store_true", help="stay, and log to standard error")
    mount.set_defaults(act=_mount)

    umount = commands.add_parser("umount", help="unmount, or clear away what a dead daemon left")
    umount.add_argument("dir", metavar="DIR")
    umount.set_defaults(act=_umount)

    show = commands.add_parser("status", help="mounts, programs, maps, probes, attached processes")
    show.set_defaults(act=_status)

    command = commands.add_parser("run", help="run a command attached from its start")
    command.add_argument("-m", dest="mount", metavar="DIR", help="the mount, if there are several")
    command.add_argument("command", metavar="-- CMD ARGS", nargs=argparse.REMAINDER)
    command.set_defaults(act=_run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status: 0 done, 1 failed (one line says why), 2 misused."""
    options = _parser().parse_args(arguments)
    if getattr(options, "command", None) and options.command[0] == "--":
        del options.command[0]
    try:
        status: int = options.act(options)
        return status
    except (Failure, runtime.RuntimeDirError) as failure:
        print(f"bpffs: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
