"""What bpftool prints of a map: `map dump` plain (`.hex`) and as JSON (`.json`), `map show` (`.info`)."""

import json
from collections.abc import Iterator

from engine.abi.bpf import MapType
from engine.maps import Map

__all__ = ["hex_pieces", "info_pieces", "json_pieces"]

_LINE = 16
"""Bytes in a line of a hex dump; keys or values that are longer start on a line of their own."""

_SHORT = 24
"""Key and value together that fit on one line."""


def _hex(data: bytes) -> str:
    """fprint_hex of bpftool: sixteen bytes a line, a wider gap in the middle."""
    lines = []
    for start in range(0, len(data), _LINE):
        line = data[start : start + _LINE]
        halves = [line[:8].hex(" "), line[8:].hex(" ")]
        lines.append("  ".join(half for half in halves if half))
    return "\n".join(lines)


def _is_percpu(target: Map) -> bool:
    return target.user_value_size != target.value_size or target.type in (
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
    )


def _per_cpu(target: Map, value: bytes) -> list[bytes]:
    stride = target.spec.value_stride
    return [value[at : at + target.value_size] for at in range(0, len(value), stride)]


def hex_pieces(target: Map) -> Iterator[bytes]:
    """`bpftool map dump` of a map without BTF."""
    count = 0
    for key, value in target.items():
        count += 1
        yield (_plain_percpu(target, key, value) if _is_percpu(target) else _plain(key, value)).encode()
    yield f"Found {count} element{'' if count == 1 else 's'}\n".encode()


def _plain(key: bytes, value: bytes) -> str:
    long = len(key) > _LINE or len(value) > _LINE
    blank = "\n" if long else " "
    between = "  " if len(key) + len(value) <= _SHORT and not long else "\n"
    head = f"key:{blank}{_hex(key)}{between}" if key else ""
    return f"{head}value:{blank}{_hex(value)}\n"


def _plain_percpu(target: Map, key: bytes, value: bytes) -> str:
    text = f"key:{chr(10) if len(key) > _LINE else ' '}{_hex(key)}\n"
    blank = "\n" if target.value_size > _LINE else " "
    for cpu, part in enumerate(_per_cpu(target, value)):
        text += f"value (CPU {cpu:02}):{blank}{_hex(part)}\n"
    return text


def _bytes(data: bytes) -> list[str]:
    return [f"0x{byte:02x}" for byte in data]


def _json_element(target: Map, key: bytes, value: bytes) -> dict[str, object]:
    row: dict[str, object] = {"key": _bytes(key)}
    parts = _per_cpu(target, value) if _is_percpu(target) else []
    if parts:
        row["values"] = [{"cpu": cpu, "value": _bytes(part)} for cpu, part in enumerate(parts)]
    else:
        row["value"] = _bytes(value)
    return row


def json_pieces(target: Map) -> Iterator[bytes]:
    """`bpftool -j map dump`: one array of raw bytes."""
    comma = "["
    for key, value in target.items():
        yield (comma + json.dumps(_json_element(target, key, value), separators=(",", ":"))).encode()
        comma = ","
    yield b"]\n" if comma == "," else b"[]\n"


def info_pieces(target: Map) -> Iterator[bytes]:
    """`bpftool map show` of one map."""
    name = f"  name {target.name}" if target.name else ""
    memlock = target.region.size if target.region is not None else 0
    frozen = "  frozen" if target.frozen else ""
    yield (
        f"{target.id}: {target.type.name.lower()}{name}  flags {target.flags:#x}\n"
        f"\tkey {target.key_size}B  value {target.value_size}B  max_entries {target.max_entries}"
        f"  memlock {memlock}B{frozen}\n"
    ).encode()
