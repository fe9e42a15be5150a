"""An interactive bash at a terminal of its own, fed line by line, as somebody who pastes would."""

import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

__all__ = ["Terminal"]

STARTUP = "PS1='@$?@> '; set +o emacs +o vi; HISTFILE="
"""Read by every interactive bash: the prompt is the last command's status, and no line editor echoes."""

PROMPT = re.compile(r"@(\d+)@> \Z")


class Terminal:
    """A bash in `directory`, whose start-up files go to `home`. Leaving the context hangs up on it."""

    def __init__(self, directory: Path, home: Path, environment: Mapping[str, str]) -> None:
        for name in (".bashrc", ".bash_profile"):
            (home / name).write_text(STARTUP)
        self._end, theirs = pty.openpty()
        settings = termios.tcgetattr(theirs)
        settings[1] &= ~termios.OPOST
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        self._bash = subprocess.Popen(
            ["setsid", "--ctty", "bash", "-i"],
            cwd=directory,
            env={**environment, "HOME": str(home), "SHELL": "/bin/bash", "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def __enter__(self) -> "Terminal":
        self._until_prompt(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._end)
        try:
            self._bash.wait(10)
        except subprocess.TimeoutExpired:
            self._bash.kill()
            self._bash.wait()

    def type(self, line: str, seconds: float = 30) -> tuple[int, str]:
        """Enter a line; its exit status and what it showed. Fails when it takes longer than `seconds`."""
        os.write(self._end, line.encode() + b"\n")
        return self._until_prompt(seconds, line)

    def _until_prompt(self, seconds: float, line: str = "") -> tuple[int, str]:
        deadline = time.monotonic() + seconds
        shown = b""
        while (found := PROMPT.search(text := shown.decode(errors="replace"))) is None:
            ready, _, _ = select.select([self._end], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"{line!r} did not end; it showed {text!r}"
            shown += os.read(self._end, 65536)
        return int(found[1]), text[: found.start()]
