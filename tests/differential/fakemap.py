"""A map as far as the verifier looks at one: sizes, flags, constant content."""

from engine.abi.bpf import MapCreateFlag, MapType
from engine.btf import Btf
from engine.memory import WINDOW_BASE

__all__ = ["FakeMap"]

_FOR_READING = (MapType.DEVMAP, MapType.DEVMAP_HASH)
"""Maps that Linux lets programs read only, whatever they were created with."""


class FakeMap:
    """A `MapLike` without memory; its address is there to be printed."""

    def __init__(
        self,
        type: MapType,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int = 0,
        *,
        name: str = "",
        frozen: bool = False,
        content: bytes | None = None,
        inner: "FakeMap | None" = None,
        btf: Btf | None = None,
        lock_off: int | None = None,
        btf_value_type_id: int = 0,
    ) -> None:
        self.type = type
        self.key_size = key_size
        self.value_size = value_size
        self.max_entries = max_entries
        self.asked_flags = flags
        self.flags = flags | (MapCreateFlag.RDONLY_PROG if type in _FOR_READING else 0)
        self.name = name
        self.id = 0
        self.address = WINDOW_BASE
        self.frozen = frozen
        self.content = content
        self.inner = inner
        self.btf = btf
        self.lock_off = lock_off
        self.btf_value_type_id = btf_value_type_id

    def lookup(self, key: bytes) -> bytes:
        """The content of element 0, whatever the key."""
        return self.content if self.content is not None else bytes(self.value_size)
