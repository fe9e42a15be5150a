"""BPF_MAP_TYPE_XSKMAP: AF_XDP sockets by index (net/xdp/xskmap.c). The modelled kernel has none of them."""

import errno
import struct
from collections.abc import Iterator

from engine.abi.bpf import UpdateFlag
from engine.errors import KernelError
from engine.jit.lang import native
from engine.maps.array import next_index
from engine.maps.base import BATCH_BYTES, Batch, Map
from engine.maps.header import MapOps
from engine.maps.redirect_values import DEV_FLAGS, Find, no_descriptors
from engine.maps.spec import MapSpec, refuse_unless

__all__ = ["XskMap"]


@native
def xsk_lookup(env: int, map: int, key: int) -> int:
    """The socket at index `key`: 0, there is none."""
    return 0


class XskMap(Map):
    """An array whose slots are always empty."""

    ops = MapOps(lookup=xsk_lookup)

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """`xsk_map_alloc`."""
        good = spec.max_entries and spec.key_size == 4 and spec.value_size == 4
        refuse_unless(good, "bad sizes for a map of sockets")
        refuse_unless(not spec.flags & ~int(DEV_FLAGS), f"bad flags {spec.flags:#x}")

    def put(self, key: bytes, value: bytes, flags: int, find: Find) -> None:
        """`xsk_map_update_elem`: EINVAL (flags), E2BIG (index), EBADF, ENOTSOCK for any other descriptor."""
        self.refuse_frozen()
        refuse_unless(flags <= UpdateFlag.EXIST, f"bad flags {flags:#x}")
        self.key_buffer(key)
        self.value_buffer(value)
        refuse_unless(struct.unpack("<I", key)[0] < self.max_entries, "beyond the end", errno.E2BIG)
        find(struct.unpack("<i", value)[0])
        raise KernelError(errno.ENOTSOCK, "not a socket")

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """`put` from no process."""
        self.put(key, value, flags, no_descriptors)

    def delete(self, key: bytes) -> None:
        """Empty a slot, which is empty. EINVAL beyond the end."""
        self.refuse_frozen()
        self.key_buffer(key)
        refuse_unless(struct.unpack("<I", key)[0] < self.max_entries, "beyond the end")

    def lookup(self, key: bytes, flags: int = 0) -> bytes:
        """Sockets are not shown: EOPNOTSUPP."""
        self.refuse_bad_lookup(flags)
        raise KernelError(errno.EOPNOTSUPP, "this map does not show what is in it")

    def next_key(self, key: bytes | None) -> bytes:
        """See `Map.next_key`: every index is one."""
        if key is not None:
            self.key_buffer(key)
        return next_index(key, self.max_entries)

    def batches(self, cursor: int = 0, room: int = BATCH_BYTES) -> Iterator[Batch]:
        """See `Map.batches`: nothing."""
        return iter(())
