"""Writes to kprobe_events and dynamic_events, cut into command lines (`trace_parse_run_command`)."""

import errno
from collections.abc import Callable

from engine.errors import KernelError

__all__ = ["run_commands"]

_BUFFER = 4096


def run_commands(data: bytes, run: Callable[[str], None]) -> None:
    """Call `run` for each line without its comment, up to the first that fails; lines before it stay done.

    EINVAL for a line of more than 4094 characters. A NUL ends what is seen of the buffer, as in C.
    """
    done = 0
    while done < len(data):
        chunk = data[done : done + _BUFFER - 1]
        at = 0
        while done < len(data):
            rest = chunk[at:].split(b"\0", 1)[0]
            line, newline, _ = rest.partition(b"\n")
            size = len(line) + len(newline)
            if not newline and done + size < len(data):
                if at:
                    break
                raise KernelError(errno.EINVAL, "line is too long")
            done += size
            at += size
            run(line.split(b"#", 1)[0].decode("latin-1"))
