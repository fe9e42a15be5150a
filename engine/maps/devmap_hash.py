"""BPF_MAP_TYPE_DEVMAP_HASH: devices by any number (kernel/bpf/devmap.c, dev_map_hash_*)."""

import ctypes
import errno
import struct
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.abi.bpf import MapCreateFlag, UpdateFlag
from engine.maps.base import Map, check_result, to_buffer
from engine.maps.hash import HashMap
from engine.maps.owner import ProgHolder
from engine.maps.redirect_values import Find, check_devmap, device_of, no_descriptors
from engine.maps.spec import MapHost, MapSpec, refuse_unless

if TYPE_CHECKING:
    from engine.progs import Prog

__all__ = ["DevHashMap"]

_MAX_ENTRIES = 1 << 31


class DevHashMap(HashMap, ProgHolder):
    """A hash of values as in a DEVMAP. BPF_EXIST asks for nothing: a key that is not there is added."""

    def __init__(self, spec: MapSpec, host: MapHost) -> None:
        super().__init__(replace(spec, flags=spec.flags | MapCreateFlag.RDONLY_PROG), host)
        self._lock = threading.Lock()
        self._held: dict[bytes, Prog] = {}

    @classmethod
    def check(cls, spec: MapSpec, nr_cpus: int) -> None:
        """See `Map.check`."""
        check_devmap(spec)
        refuse_unless(spec.max_entries <= _MAX_ENTRIES, "too many entries")

    def put(self, key: bytes, value: bytes, flags: int, find: Find) -> None:
        """BPF_MAP_UPDATE_ELEM. EINVAL (flags, device, program), EEXIST (NOEXIST), E2BIG (full)."""
        self.refuse_frozen()
        refuse_unless(flags <= UpdateFlag.EXIST and any(value[:4]), "bad flags, or no device")
        key_buffer = self.key_buffer(key)
        self.value_buffer(value)
        at = ctypes.addressof(key_buffer)
        with self._lock:
            exists = flags == UpdateFlag.NOEXIST and self.find(at)
            refuse_unless(not exists, "the key is there", errno.EEXIST)
            held = device_of(self, value, find)
            number = held.id if held is not None else 0
            stored = to_buffer((value[:4] + struct.pack("<I", number))[: self.value_size])
            check_result(self.store(at, ctypes.addressof(stored), UpdateFlag.ANY))
            self._held.pop(key, None)
            if held is not None:
                self._held[key] = held

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """`put` of values without programs."""
        self.put(key, value, flags, no_descriptors)

    def delete(self, key: bytes) -> None:
        """See `Map.delete`."""
        with self._lock:
            super().delete(key)
            self._held.pop(key, None)

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes:
        """Not for maps of devices: ENOTSUPP."""
        return Map.lookup_and_delete(self, key, flags)
