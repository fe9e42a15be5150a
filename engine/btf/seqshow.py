"""The text of a pinned map that has BTF (`map_seq_show`, kernel/bpf/inode.c, and each map's show_elem)."""

from collections.abc import Iterable, Iterator

from engine.abi.bpf import MapType
from engine.btf.btf import Btf
from engine.btf.show import show_value

__all__ = ["WARNING", "show_elem", "show_map", "shows_text"]

WARNING = b"# WARNING!! The output is for debug purpose only\n# WARNING!! The output format will change\n"
_INDEXED = frozenset((MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.PROG_ARRAY))
_HASHED = frozenset((MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH))
_PERCPU = frozenset((MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH))


def shows_text(map_type: int, value_type_id: int) -> bool:
    """Whether `cat` of a pin may open the map; EIO otherwise (`bpf_map_support_seq_show`)."""
    return bool(value_type_id) and map_type in _INDEXED | _HASHED


def show_elem(map_type: int, btf: Btf, type_ids: tuple[int, int], key: bytes, value: bytes) -> bytes:
    """One element. `type_ids` are those of key and value; `value` is as bpf(2) gives it: for per-CPU maps one
    value for each possible CPU, each rounded up to 8 bytes. For a PROG_ARRAY it is the program's id."""
    key_type, value_type = type_ids
    if map_type in _INDEXED:
        index = b"%d" % int.from_bytes(key[:4], "little")
        head = index if key_type or map_type in _PERCPU else b""
    else:
        head = show_value(btf, key_type, key)
    colon = b": " if head or map_type not in _INDEXED else b""
    if map_type not in _PERCPU:
        return head + colon + show_value(btf, value_type, value) + b"\n"
    stride = (btf.size_of(value_type) + 7) & ~7
    rows = [
        b"\tcpu%d: %s\n" % (cpu, show_value(btf, value_type, value[cpu * stride : (cpu + 1) * stride]))
        for cpu in range(len(value) // stride)
    ]
    return head + colon + b"{\n" + b"".join(rows) + b"}\n"


def show_map(
    map_type: int, btf: Btf, type_ids: tuple[int, int], elements: Iterable[tuple[bytes, bytes]]
) -> Iterator[bytes]:
    """The whole text in pieces: two lines of warning, then each element."""
    yield WARNING
    for key, value in elements:
        yield show_elem(map_type, btf, type_ids, key, value)
