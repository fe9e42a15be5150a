"""Key and value types of maps: the kernel takes the same."""

import errno
import os

import pytest

from engine.abi.bpf import MapType
from engine.btf.build import BtfBuilder
from engine.btf.mapcheck import ENOTSUPP, check_map_types
from engine.btf.types import Encoding, Int, Member, SecVar
from engine.errors import KernelError
from tests.engine.btf.pinned import load_btf
from tests.kernel_oracle import create_map, kernel_unavailable

BUILDER = BtfBuilder()
U32 = BUILDER.integer("u32", 4)
U64 = BUILDER.integer("u64", 8)
STRUCT = BUILDER.struct("k", 8, [Member("a", U32, 0), Member("b", U32, 32)])
INDEX = BUILDER.typedef("index", U32)
SECTION = BUILDER.datasec(".data", 8, [SecVar(BUILDER.var("v", U64), 0, 8)])
ENUM = BUILDER.enum("e", {"A": 1})
BITS = BUILDER.add(Int("bits", 4, Encoding.NONE, 0, 7))
BTF = BUILDER.build()


def verdict(map_type: int, ids: tuple[int, int], sizes: tuple[int, int], entries: int = 1) -> int:
    """0 or the errno."""
    try:
        check_map_types(map_type, BTF, ids, sizes, entries)
    except KernelError as error:
        return error.errno
    return 0


@pytest.mark.parametrize(
    ("map_type", "ids", "sizes", "entries", "number"),
    [
        (MapType.HASH, (U32, U64), (4, 8), 9, 0),
        (MapType.HASH, (U64, U64), (4, 8), 9, errno.EINVAL),
        (MapType.HASH, (U32, U64), (4, 4), 9, errno.EINVAL),
        (MapType.HASH, (0, U64), (4, 8), 9, errno.EINVAL),
        (MapType.ARRAY, (INDEX, STRUCT), (4, 8), 9, 0),
        (MapType.ARRAY, (ENUM, U64), (4, 8), 9, errno.EINVAL),
        (MapType.ARRAY, (BITS, U64), (4, 8), 9, errno.EINVAL),
        (MapType.ARRAY, (0, SECTION), (4, 8), 1, 0),
        (MapType.ARRAY, (0, SECTION), (4, 8), 2, errno.EINVAL),
        (MapType.ARRAY, (0, U64), (4, 8), 1, errno.EINVAL),
        (MapType.PERCPU_ARRAY, (0, SECTION), (4, 8), 1, errno.EINVAL),
        (MapType.LPM_TRIE, (U64, U64), (8, 8), 1, errno.EINVAL),
        (MapType.LPM_TRIE, (STRUCT, U64), (8, 8), 1, 0),
        (MapType.PERF_EVENT_ARRAY, (U32, U32), (4, 4), 1, ENOTSUPP),
        (MapType.HASH, (U32, 99), (4, 8), 1, errno.EINVAL),
    ],
)
def test_verdicts(
    map_type: MapType, ids: tuple[int, int], sizes: tuple[int, int], entries: int, number: int
) -> None:
    assert verdict(map_type, ids, sizes, entries) == number


def test_kernel_says_the_same() -> None:
    if reason := kernel_unavailable():
        pytest.skip(reason)
    fd = load_btf(BTF.data)
    compared = 0
    keys = [(4, U32), (4, 0), (8, STRUCT), (8, U64), (4, INDEX), (4, ENUM), (4, U64), (4, BITS), (0, 0)]
    for map_type in MapType:
        flags = 1 if map_type == MapType.LPM_TRIE else 0
        for key_size, key_id in keys:
            for value_size, value_id in ((8, U64), (8, SECTION), (4, U64), (4, U32)):
                plain = create_map(map_type, key_size, value_size, 1, flags)
                if plain < 0:
                    continue
                os.close(plain)
                typed = create_map(map_type, key_size, value_size, 1, flags, btf=(fd, key_id, value_id))
                if typed >= 0:
                    os.close(typed)
                ours = verdict(map_type, (key_id, value_id), (key_size, value_size))
                assert ours == max(0, -typed), (map_type, key_id, value_id)
                compared += 1
    os.close(fd)
    assert compared > 300
