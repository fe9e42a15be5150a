"""The text of a pinned map that has BTF (`map_seq_show`, kernel/bpf/inode.c, and each map's show_elem)."""

from collections.abc import Callable, Iterable, Iterator

from engine.abi.bpf import MapType
from engine.btf.btf import Btf
from engine.btf.template import Printer, printer

__all__ = ["WARNING", "show_map", "shows_text"]

WARNING = b"# WARNING!! The output is for debug purpose only\n# WARNING!! The output format will change\n"
_INDEXED = frozenset((MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.PROG_ARRAY))
_HASHED = frozenset((MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH))
_PERCPU = frozenset((MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH))


def shows_text(map_type: int, value_type_id: int) -> bool:
    """Whether `cat` of a pin may open the map; EIO otherwise (`bpf_map_support_seq_show`)."""
    return bool(value_type_id) and map_type in _INDEXED | _HASHED


def _elem_printer(map_type: int, btf: Btf, type_ids: tuple[int, int]) -> Callable[[bytes, bytes], bytes]:
    """What prints one element. `type_ids` are those of key and value; the value is as bpf(2) gives it: for
    per-CPU maps one value for each possible CPU, each rounded up to 8 bytes. For a PROG_ARRAY it is the
    program's id."""
    key_type, value_type = type_ids
    show = printer(btf, value_type)
    if map_type in _HASHED:
        head: Callable[[bytes], bytes] = _with_colon(printer(btf, key_type))
    elif key_type or map_type in _PERCPU:
        head = _index
    else:
        head = _nothing
    if map_type not in _PERCPU:
        return lambda key, value: b"%b%b\n" % (head(key), show(value))
    stride = (btf.size_of(value_type) + 7) & ~7

    def show_all(key: bytes, value: bytes) -> bytes:
        cpus = range(len(value) // stride)
        rows = [b"\tcpu%d: %b\n" % (cpu, show(value[cpu * stride : (cpu + 1) * stride])) for cpu in cpus]
        return b"%b{\n%b}\n" % (head(key), b"".join(rows))

    return show_all


def _with_colon(show: Printer) -> Printer:
    return lambda key: show(key) + b": "


def _index(key: bytes) -> bytes:
    return b"%d: " % int.from_bytes(key[:4], "little")


def _nothing(key: bytes) -> bytes:
    return b""


def show_map(
    map_type: int, btf: Btf, type_ids: tuple[int, int], elements: Iterable[tuple[bytes, bytes]]
) -> Iterator[bytes]:
    """The whole text in pieces: two lines of warning, then each element."""
    yield WARNING
    show = _elem_printer(map_type, btf, type_ids)
    for key, value in elements:
        yield show(key, value)
