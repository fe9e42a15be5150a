"""BPF objects inside of programs of Debian's libbpf-tools: skeletons carry theirs whole."""

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["embedded_objects", "tool_objects"]

_MAGIC = b"\x7fELF\x02\x01\x01"
_EM_BPF = 247
_TOOLS = Path("/usr/sbin")


def embedded_objects(data: bytes) -> Iterator[bytes]:
    """Every BPF object in `data`, cut where its section headers end."""
    at = data.find(_MAGIC, 1)
    while at >= 0:
        machine, shoff, shnum = (
            *struct.unpack_from("<H", data, at + 18),
            *struct.unpack_from("<Q", data, at + 40),
            *struct.unpack_from("<H", data, at + 60),
        )
        if machine == _EM_BPF:
            yield data[at : at + shoff + shnum * 64]
        at = data.find(_MAGIC, at + 1)


@cache
def tool_objects() -> dict[str, bytes]:
    """Objects of the installed libbpf-tools by program; empty without them."""
    listing = Path("/var/lib/dpkg/info/libbpf-tools.list")
    if not listing.exists():
        return {}
    paths = [Path(line) for line in listing.read_text().splitlines() if line.startswith(f"{_TOOLS}/")]
    found = {}
    for path in sorted(paths):
        for data in embedded_objects(path.read_bytes()):
            found[path.name] = data
    return found
