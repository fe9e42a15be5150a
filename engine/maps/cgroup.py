"""Control groups as objects of a CGROUP_ARRAY: a path of the unified hierarchy."""

import ctypes
import errno
import weakref
from enum import IntEnum

from engine.env import poke32
from engine.errors import KernelError
from engine.maps.spec import MapHost

__all__ = ["Cgroup", "CgroupHdr"]

_MOUNT = "/sys/fs/cgroup"
_MAX_PATH = 1024


class CgroupHdr(IntEnum):
    """Offsets in a control group's native header."""

    LENGTH = 0
    """u32, bytes of the path; 0 for the root."""
    PATH = 8


class Cgroup:
    """The control group with directory `path` below /sys/fs/cgroup. EBADF for any other directory."""

    def __init__(self, path: str, host: MapHost | None = None) -> None:
        host = host or MapHost.alone()
        if path != _MOUNT and not path.startswith(_MOUNT + "/"):
            raise KernelError(errno.EBADF, f"{path} is no control group")
        self.path = path.removeprefix(_MOUNT).rstrip("/")
        raw = self.path.encode()
        if len(raw) >= _MAX_PATH:
            raise KernelError(errno.ENAMETOOLONG, path)
        self.address = host.heap.alloc(CgroupHdr.PATH + len(raw) + 1)
        poke32(self.address + CgroupHdr.LENGTH, len(raw))
        ctypes.memmove(self.address + CgroupHdr.PATH, raw, len(raw))
        heap, header = host.heap, self.address
        weakref.finalize(self, host.retire, lambda: heap.free(header)).atexit = False
