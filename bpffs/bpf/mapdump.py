"""What bpftool prints of a map: `map dump` plain (`.hex`) and as JSON (`.json`), `map show` (`.info`)."""

from collections.abc import Iterator

from engine.btf.dump import MapShape, dump_json, dump_plain
from engine.maps import Map

__all__ = ["hex_pieces", "info_pieces", "json_pieces"]


def _shape(target: Map) -> MapShape:
    ids = (target.btf_key_type_id, target.btf_value_type_id) if target.btf is not None else (0, 0)
    return MapShape(target.type, target.key_size, target.value_size, target.btf, *ids)


def hex_pieces(target: Map) -> Iterator[bytes]:
    """`bpftool map dump` of a map without BTF."""
    return dump_plain(_shape(target), target.items())


def json_pieces(target: Map) -> Iterator[bytes]:
    """`bpftool -j map dump`: one array, raw bytes, and typed values where there is BTF."""
    return dump_json(_shape(target), target.items())


def info_pieces(target: Map) -> Iterator[bytes]:
    """`bpftool map show` of one map."""
    name = f"  name {target.name}" if target.name else ""
    memlock = target.region.size if target.region is not None else 0
    more = [f"btf_id {target.btf.id}"] if target.btf is not None and target.btf.id else []
    more += ["frozen"] if target.frozen else []
    last = f"\t{'  '.join(more)}\n" if more else ""
    yield (
        f"{target.id}: {target.type.name.lower()}{name}  flags {target.flags:#x}\n"
        f"\tkey {target.key_size}B  value {target.value_size}B  max_entries {target.max_entries}"
        f"  memlock {memlock}B\n{last}"
    ).encode()
