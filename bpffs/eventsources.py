"""/sys/devices of the perf event sources: types, formats and the little that can be written.

Names, modes, sizes and answers as `kernel/events/core.c` (pmu_dev_attrs) and golden transcript 13 show them.
"""

import errno

from engine.errors import KernelError
from engine.kernfs import Node, StaticDir, Symlink, TextFile

__all__ = ["event_source_devices", "event_source_links"]

_TYPES = {"breakpoint": 5, "kprobe": 6, "software": 1, "tracepoint": 2, "uprobe": 8}
"""`perf_event_attr.type` of each source. kprobe's and uprobe's are what clients hard-code."""

_FORMATS = {
    "kprobe": {"retprobe": "config:0"},
    "uprobe": {"ref_ctr_offset": "config:32-63", "retprobe": "config:0"},
}
_PAGE = 4096


class _Attribute(TextFile):
    """A sysfs attribute: shown as one page long."""

    @property
    def size(self) -> int:
        return _PAGE


class _MuxInterval(_Attribute):
    """perf_event_mux_interval_ms: a positive number of milliseconds can be stored."""

    def __init__(self) -> None:
        super().__init__(0o644, self._text, self._set)
        self._milliseconds = 0

    def _text(self) -> str:
        return f"{self._milliseconds}\n"

    def _set(self, data: bytes) -> None:
        try:
            value = int(data.strip(), 0)
        except ValueError:
            raise KernelError(errno.EINVAL) from None
        if not 1 <= value < 1 << 31:
            raise KernelError(errno.EINVAL)
        self._milliseconds = value


def _constant(text: str) -> TextFile:
    return _Attribute(0o444, lambda: text)


def _device(name: str) -> StaticDir:
    table: dict[str, Node] = {}
    if name in _FORMATS:
        rows = {key: _constant(value + "\n") for key, value in _FORMATS[name].items()}
        table["format"] = StaticDir(0o755, rows)
    table["perf_event_mux_interval_ms"] = _MuxInterval()
    table["subsystem"] = Symlink("../../bus/event_source")
    table["type"] = _constant(f"{_TYPES[name]}\n")
    return StaticDir(0o755, table)


def event_source_devices() -> StaticDir:
    """/sys/devices, as far as perf event sources go."""
    return StaticDir(0o755, {name: _device(name) for name in _TYPES})


def event_source_links() -> StaticDir:
    """/sys/bus/event_source/devices: a link to each device."""
    return StaticDir(0o755, {name: Symlink(f"../../../devices/{name}") for name in _TYPES})
