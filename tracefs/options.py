"""Trace options: the flags of trace_options and options/, those that have an effect here.

Names and defaults are those of kernel/trace/trace.h (TRACE_FLAGS). A change runs its option's hook first.
"""

import errno
from collections.abc import Callable

from engine.errors import KernelError
from tracefs.ktext import c_string

__all__ = ["DEFAULTS", "Options"]

DEFAULTS = {
    "sym-offset": False,
    "sym-addr": False,
    "verbose": False,
    "raw": False,
    "hex": False,
    "bin": False,
    "annotate": True,
    "context-info": True,
    "latency-format": False,
    "record-cmd": True,
    "record-tgid": False,
    "overwrite": True,
    "disable_on_free": False,
    "irq-info": True,
    "markers": True,
    "event-fork": False,
    "pause-on-trace": False,
}
"""Option -> state after mounting, in the order of trace_options."""
_LONGEST = 63


class Options:
    """The state of the options."""

    def __init__(self) -> None:
        self.state = dict(DEFAULTS)
        """Option -> on; only `set` changes it."""
        self._hooks: dict[str, Callable[[bool], None]] = {}

    def __getitem__(self, name: str) -> bool:
        return self.state[name]

    def on_change(self, name: str, hook: Callable[[bool], None]) -> None:
        """Call `hook` with the new state before option `name` changes; it may raise KernelError."""
        self._hooks[name] = hook

    def set(self, name: str, on: bool) -> None:
        """Change an option. EINVAL for an unknown one."""
        if name not in self.state:
            raise KernelError(errno.EINVAL)
        if self.state[name] != on:
            if name in self._hooks:
                self._hooks[name](on)
            self.state[name] = on

    def text(self) -> str:
        """trace_options: one line an option, with `no` in front of what is off."""
        return "".join(f"{'' if on else 'no'}{name}\n" for name, on in self.state.items())

    def store(self, data: bytes) -> None:
        """A write to trace_options: `NAME` or `noNAME`. EINVAL."""
        if len(data) > _LONGEST:
            raise KernelError(errno.EINVAL)
        name = c_string(data).strip()
        if name.startswith("no"):
            self.set(name[2:], False)
        else:
            self.set(name, True)
