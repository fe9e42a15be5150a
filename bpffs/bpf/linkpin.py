"""A pinned link: as long as it has a name, its program stays attached."""

from typing import Any

from bpffs.bpf.attach import Link
from bpffs.bpf.cursor import TextCursor
from bpffs.bpf.pins import PIN_MODE, Pin, View
from engine.kernfs import Caller, Handle

__all__ = ["LinkPin"]


class LinkPin(Pin):
    """A name of `link`. Removing the last one detaches."""

    def __init__(self, link: Link, mode: int = PIN_MODE, uid: int = 0, gid: int = 0) -> None:
        super().__init__(mode, uid, gid)
        self.link = link

    def make_view(self, suffix: str) -> View[Any] | None:
        """`.info`."""
        return _LinkInfo(self) if suffix == "info" else None

    def dropped(self) -> None:
        """Detach."""
        self.link.detach()


class _LinkInfo(View[Link]):
    """NAME.info: what is attached to what, and how often it fired."""

    def __init__(self, pin: LinkPin) -> None:
        super().__init__(pin, pin.link)

    def open(self, flags: int, caller: Caller) -> Handle:
        link = self.shown()
        return TextCursor(lambda: iter([link.describe().encode()]))
