"""engine.maps.bloom: never misses, seldom lies."""

import struct

import pytest

from engine.abi.bpf import MapType
from engine.errors import KernelError
from engine.maps import MapSpec, create_map
from engine.maps.bloom import BloomFilterMap


@pytest.mark.parametrize("hashes", [0, 1, 3, 15])
def test_what_was_pushed_is_found(hashes: int) -> None:
    seen = create_map(MapSpec(MapType.BLOOM_FILTER, 0, 8, 1000, map_extra=hashes))
    assert isinstance(seen, BloomFilterMap)
    for i in range(1000):
        seen.push(struct.pack("<Q", i))
    assert all(seen.contains(struct.pack("<Q", i)) for i in range(1000))
    lies = sum(seen.contains(struct.pack("<Q", i)) for i in range(10_000, 20_000))
    assert lies < (6000 if hashes == 1 else 2000)
    seen.close()


def test_what_filters_do_not_have() -> None:
    seen = create_map(MapSpec(MapType.BLOOM_FILTER, 0, 8, 10))
    with pytest.raises(KernelError, match="EINVAL"):
        seen.push(bytes(8), 1)
    for missing in (seen.pop, lambda: seen.next_key(None), lambda: seen.delete(b"")):
        with pytest.raises(KernelError, match="EOPNOTSUPP"):
            missing()
    for bad in ((4, 8, 10, 0), (0, 0, 10, 0), (0, 8, 0, 0), (0, 8, 10, 16)):
        with pytest.raises(KernelError, match="EINVAL"):
            create_map(MapSpec(MapType.BLOOM_FILTER, *bad[:3], map_extra=bad[3]))
    seen.close()
