"""Pins: the files of /sys/fs/bpf that own maps, programs and links."""

import errno
import weakref
from typing import Any, Generic, TypeVar

from engine.errors import KernelError
from engine.kernfs import Caller, File, Handle, Node, Symlink

__all__ = ["PIN_MODE", "Named", "NamedSymlink", "Pin", "View", "owner_of_new"]

PIN_MODE = 0o600
"""S_IRUSR | S_IWUSR, as bpf_obj_do_pin gives it before the umask."""


class Named(Node):
    """A node that counts its names, which hard links give it more of."""

    names = 0

    @property
    def nlink(self) -> int:
        """How many names it has."""
        return self.names

    def named(self) -> None:
        """One more name."""
        self.names += 1

    def unnamed(self) -> None:
        """One name less; without any, what it stands for is let go."""
        self.names -= 1
        if self.names == 0:
            self.dropped()

    def dropped(self) -> None:
        """The last name is gone."""


class NamedSymlink(Named, Symlink):
    """A symbolic link."""


T = TypeVar("T")


class View(File, Generic[T]):
    """A file beside a pin, named PIN.SUFFIX: whose it is and who may use it follows the pin.

    It does not keep what it shows: the kernel may remember the name for long after the pin is gone.
    """

    slow = True
    allowed = 0o444

    def __init__(self, pin: "Pin", shown: T) -> None:
        super().__init__(pin.perm & self.allowed, pin.uid, pin.gid)
        self._shown = weakref.ref(shown)

    def shown(self) -> T:
        """What it is a view of. Raises KernelError(ENOENT) if that is gone."""
        found = self._shown()
        if found is None:
            raise KernelError(errno.ENOENT)
        return found

    def follow(self, pin: "Pin") -> None:
        """The pin's owner or mode changed."""
        self.perm, self.uid, self.gid = pin.perm & self.allowed, pin.uid, pin.gid


class Pin(Named, File):
    """A named reference to a kernel object. Subclasses know the object and its views."""

    def __init__(self, mode: int = PIN_MODE, uid: int = 0, gid: int = 0) -> None:
        super().__init__(mode, uid, gid)
        self._size = 0
        self._views: dict[str, View[Any]] = {}

    def view(self, suffix: str) -> View[Any]:
        """The view with that suffix. Raises KernelError(EPERM): Linux's answer to any name with a dot."""
        if suffix not in self._views:
            made = self.make_view(suffix)
            if made is None:
                raise KernelError(errno.EPERM)
            self._views[suffix] = made
        return self._views[suffix]

    def make_view(self, suffix: str) -> View[Any] | None:
        """A new view with that suffix, if there is such a kind."""
        return None

    def setattr(
        self,
        *,
        perm: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> None:
        """As for any node; the views follow."""
        super().setattr(perm=perm, uid=uid, gid=gid, atime_ns=atime_ns, mtime_ns=mtime_ns)
        for view in self._views.values():
            view.follow(self)

    def open(self, flags: int, caller: Caller) -> Handle:
        """Not for reading, unless a subclass shows it. Raises KernelError(EIO), as bpffs_obj_open."""
        raise KernelError(errno.EIO)

    @property
    def size(self) -> int:
        """Zero, unless somebody set it."""
        return self._size

    def truncate(self, size: int) -> None:
        """truncate(2), which does not open: only what stat(2) shows changes (simple_setattr)."""
        self._size = size


def owner_of_new(directory: Node, caller: Caller, mode: int, *, is_dir: bool) -> tuple[int, int, int]:
    """Mode, user and group of what `caller` makes in `directory` (inode_init_owner: S_ISGID inherits)."""
    if not directory.perm & 0o2000:
        return mode, caller.uid, caller.gid
    return (mode | 0o2000 if is_dir else mode), caller.uid, directory.gid
