"""A pinned map: `cat` prints it as Linux does; `.json`, `.hex`, `.info` as bpftool, `.ctl` changes it."""

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from bpffs.bpf.cursor import TextCursor
from bpffs.bpf.grammar import Names, parse_command
from bpffs.bpf.mapdump import hex_pieces, info_pieces, json_pieces
from bpffs.bpf.pins import PIN_MODE, Pin, View
from engine.btf.seqshow import show_map, shows_text
from engine.errors import KernelError
from engine.kernfs import Caller, Handle
from engine.maps import Map

__all__ = ["MapPin"]


_TEXTS = {"json": json_pieces, "hex": hex_pieces, "info": info_pieces}


class MapPin(Pin):
    """A name of `map`. It can be read if its elements have BTF (`bpf_map_support_seq_show`)."""

    slow = True

    def __init__(self, target: Map, names: Names, mode: int = PIN_MODE, uid: int = 0, gid: int = 0) -> None:
        super().__init__(mode, uid, gid)
        self.map = target
        self.finder = names

    def open(self, flags: int, caller: Caller) -> Handle:
        """Linux's own text. Raises KernelError(EIO) for a map without BTF."""
        if self.map.btf is None or not shows_text(self.map.type, self.map.btf_value_type_id):
            raise KernelError(errno.EIO)
        if flags & os.O_TRUNC:
            self.truncate(0)
        return _PinnedText(self._text)

    def _text(self) -> Iterator[bytes]:
        ids = (self.map.btf_key_type_id, self.map.btf_value_type_id)
        return show_map(self.map.type, self.map.btf, ids, self.map.items())

    def make_view(self, suffix: str) -> View[Any] | None:
        """`.ctl`, or one of the texts."""
        if suffix == "ctl":
            return _MapControl(self)
        return _MapText(self, _TEXTS[suffix]) if suffix in _TEXTS else None


class _PinnedText(TextCursor):
    """The kernel's bpffs_map_fops know no llseek."""

    seekable = False


class _MapText(View[Map]):
    """A view made piece by piece of the map."""

    def __init__(self, pin: MapPin, pieces: Callable[[Map], Iterator[bytes]]) -> None:
        super().__init__(pin, pin.map)
        self._pieces = pieces

    def open(self, flags: int, caller: Caller) -> Handle:
        return TextCursor(partial(self._pieces, self.shown()))


class _MapControl(View[Map]):
    """NAME.ctl: a line written to it changes the map; see `grammar`."""

    allowed = 0o222

    def __init__(self, pin: MapPin) -> None:
        super().__init__(pin, pin.map)
        self._names = pin.finder

    def open(self, flags: int, caller: Caller) -> Handle:
        return _ControlHandle(self.shown(), self._names)


class _ControlHandle(Handle):
    def __init__(self, target: Map, names: Names) -> None:
        self._map = target
        self._names = names

    def write(self, offset: int, data: bytes) -> int:
        commands = [
            parse_command(line, self._map, self._names)
            for line in data.decode("utf-8", "surrogateescape").splitlines()
            if line.strip()
        ]
        for command in commands:
            command.apply(self._map)
        return len(data)
