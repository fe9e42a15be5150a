"""Values of the maps that packets are redirected through, as bpf(2) takes them (devmap.c, cpumap.c).

    +0 what packets go to: ifindex of a device, size of a CPU's queue   [+4 descriptor of a program, or 0]

An update has a `Find`, which knows the descriptors of the process that asks.
"""

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.abi.bpf import AttachType, MapCreateFlag, ProgType
from engine.errors import KernelError
from engine.maps.owner import ProgHolder
from engine.maps.spec import MapSpec, refuse_unless
from engine.netdevs import LOOPBACK_IFINDEX

if TYPE_CHECKING:
    from engine.progs import Prog

__all__ = ["DEV_FLAGS", "Find", "check_devmap", "device_of", "find_program", "no_descriptors", "split_value"]

DEV_FLAGS = MapCreateFlag.NUMA_NODE | MapCreateFlag.RDONLY | MapCreateFlag.WRONLY
"""Creation flags of maps of devices and of sockets."""
Find = Callable[[int], object]
"""The object behind a descriptor; KernelError EBADF."""


def no_descriptors(fd: int) -> object:
    """For updates that come from no process: EBADF."""
    raise KernelError(errno.EBADF, f"no descriptor {fd} here")


def find_program(used: ProgHolder, attach: AttachType, fd: int, find: Find) -> "Prog | None":
    """The program of a value, None without one. EINVAL for what may not run at that place.

    A program is one for `attach` (expected_attach_type), and like the map's first (`ProgHolder`).
    """
    from engine.progs import Prog  # programs know maps

    if fd <= 0:
        return None
    try:
        found = find(fd)
    except KernelError as error:
        raise KernelError(errno.EINVAL, error.message) from None
    if not (isinstance(found, Prog) and found.type == ProgType.XDP):
        raise KernelError(errno.EINVAL, f"descriptor {fd} is no XDP program")
    refuse_unless(found.spec.expected_attach_type == attach, "not a program for this place")
    used.check_owner(found.spec)
    return found


def split_value(value: bytes) -> tuple[int, int]:
    """(what packets go to, descriptor of a program) of a value of 4 or 8 bytes."""
    first, fd = struct.unpack("<Ii", value.ljust(8, b"\0"))
    return first, fd


def check_devmap(spec: MapSpec) -> None:
    """`dev_map_alloc_check`."""
    refuse_unless(spec.max_entries and spec.key_size == 4, "bad sizes for a map of devices")
    refuse_unless(spec.value_size in (4, 8), "a value is an ifindex, or that and a program")
    refuse_unless(not spec.flags & ~int(DEV_FLAGS), f"bad flags {spec.flags:#x}")


def device_of(used: ProgHolder, value: bytes, find: Find) -> "Prog | None":
    """`__dev_map_alloc_node`: the program of a value that names a device. EINVAL, also for no such device."""
    ifindex, fd = split_value(value)
    refuse_unless(ifindex == LOOPBACK_IFINDEX, f"no device {ifindex}")
    return find_program(used, AttachType.XDP_DEVMAP, fd, find)
