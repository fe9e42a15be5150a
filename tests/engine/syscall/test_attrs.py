"""Odd attributes for every command on every type of map, given to the kernel and to engine.syscall."""

import ctypes
import errno
import random
import struct
from collections.abc import Iterator

import pytest

from engine.abi.bpf import Cmd, MapType
from engine.machine import Machine
from tests import kernel_oracle
from tests.engine.syscall.test_against_kernel import Pair, _create_attr

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

_SHAPES = {
    MapType.HASH: (4, 8, 5, 0),
    MapType.ARRAY: (4, 8, 3, 0),
    MapType.PERCPU_HASH: (4, 8, 5, 0),
    MapType.PERCPU_ARRAY: (4, 8, 3, 0),
    MapType.LRU_HASH: (4, 8, 1000, 0),
    MapType.LRU_PERCPU_HASH: (4, 8, 1000, 0),
    MapType.QUEUE: (0, 8, 3, 0),
    MapType.STACK: (0, 8, 3, 0),
    # So large that it finds nothing by chance.
    MapType.BLOOM_FILTER: (0, 8, 4096, 0),
    MapType.LPM_TRIE: (8, 8, 5, 1),
    MapType.STACK_TRACE: (4, 64, 4, 0),
    MapType.RINGBUF: (0, 0, 4096, 0),
    MapType.PROG_ARRAY: (4, 4, 3, 0),
    MapType.PERF_EVENT_ARRAY: (4, 4, 3, 0),
    MapType.CGROUP_ARRAY: (4, 4, 3, 0),
    MapType.ARRAY_OF_MAPS: (4, 4, 3, 0),
    MapType.HASH_OF_MAPS: (4, 4, 3, 0),
    MapType.DEVMAP: (4, 4, 3, 0),
    MapType.DEVMAP_HASH: (4, 4, 3, 0),
    MapType.CPUMAP: (4, 4, 3, 0),
    MapType.XSKMAP: (4, 4, 3, 0),
}
_ELEM_ATTRS = {
    Cmd.MAP_LOOKUP_ELEM: 32,
    Cmd.MAP_UPDATE_ELEM: 32,
    Cmd.MAP_DELETE_ELEM: 16,
    Cmd.MAP_GET_NEXT_KEY: 24,
    Cmd.MAP_LOOKUP_AND_DELETE_ELEM: 32,
}
_BATCHES = (
    Cmd.MAP_LOOKUP_BATCH,
    Cmd.MAP_LOOKUP_AND_DELETE_BATCH,
    Cmd.MAP_UPDATE_BATCH,
    Cmd.MAP_DELETE_BATCH,
)
_FLAGS = [0, 0, 0, 1, 2, 3, 4, 5, 8, 1 << 32, 1 << 63]
_TAILS = [b""] * 12 + [bytes(8), bytes(200), b"\1", bytes(140) + b"\1"]
_KEYS = [struct.pack("<II", length, 0x01020304) for length in (0, 1, 2, 3, 33, 0xFFFFFFFF)]


@pytest.fixture
def pair() -> Iterator[Pair]:
    machine = Machine()
    both = Pair(machine)
    yield both
    both.close()
    machine.close()


def _create(pair: Pair, kind: MapType) -> None:
    key, value, entries, flags = _SHAPES[kind]
    if kind not in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS):
        assert pair.create(_create_attr(kind, key, value, entries, flags)) == 0
        return
    assert pair.create(_create_attr(MapType.ARRAY, 4, 8, 1, 0)) == 0
    made = [
        call(Cmd.MAP_CREATE, struct.pack("<IIIIIi", kind, key, value, entries, flags, pair.fds[-1][side]))
        for side, call in enumerate((kernel_oracle.bpf, pair.engine))
    ]
    assert min(made) > 0
    pair.fds.append((made[0], made[1]))


def _ask(pair: Pair, command: Cmd, fields: list[bytes]) -> list[int]:
    """The call in both: `fields` has the bytes of each side's attr."""
    return [
        call(command, kernel_oracle.roomy(attr))
        for call, attr in zip((kernel_oracle.bpf, pair.engine_at), fields, strict=True)
    ]


@pytest.mark.parametrize("kind", list(_SHAPES))
def test_single_elements(pair: Pair, kind: MapType) -> None:
    rng = random.Random(int(kind))
    _create(pair, kind)
    keyless = _SHAPES[kind][0] == 0
    for _ in range(250):
        command = rng.choice(list(_ELEM_ATTRS))
        key = ctypes.create_string_buffer(rng.choice(_KEYS), 16)
        value = ctypes.create_string_buffer(struct.pack("<i", -1) + rng.randbytes(1020), 1024)
        key_at = 0 if rng.random() < (0.8 if keyless else 0.1) else ctypes.addressof(key)
        value_at = rng.choice([ctypes.addressof(value)] * 12 + [0, 16])
        # The order of a hash is not the same in both: what follows a key may be there or not.
        if command == Cmd.MAP_GET_NEXT_KEY and "HASH" in kind.name:
            key_at = 0
        if value_at in (0, 16) and command in (Cmd.MAP_GET_NEXT_KEY, Cmd.MAP_LOOKUP_AND_DELETE_ELEM):
            continue
        rest = struct.pack("<QQQ", key_at, value_at, rng.choice(_FLAGS))
        size, tail = rng.choice([_ELEM_ATTRS[command]] * 8 + [4, 16, 20, 24, 32]), rng.choice(_TAILS)
        attrs = [(struct.pack("<i4x", fd) + rest)[:size] + tail for fd in pair.fds[-1]]
        answers = _ask(pair, command, attrs)
        assert answers[0] == answers[1], (command.name, attrs)


@pytest.mark.parametrize("kind", [k for k in _SHAPES if k != MapType.HASH_OF_MAPS])
def test_batches(pair: Pair, kind: MapType) -> None:
    rng = random.Random(int(kind))
    _create(pair, kind)
    keys = ctypes.create_string_buffer(b"".join(_KEYS) * 4)
    values, cursor = ctypes.create_string_buffer(b"\xff" * 8192), ctypes.create_string_buffer(64)
    for _ in range(150):
        command = rng.choice(_BATCHES)
        places = [ctypes.addressof(keys), ctypes.addressof(values)]
        rest = struct.pack("<QQ", rng.choice(_FLAGS), rng.choice([0] * 8 + [1]))
        count, size, tail = rng.choice([0, 8, 16]), rng.choice([56] * 8 + [40, 48]), rng.choice(_TAILS)
        head = struct.pack("<QQQQI", 0, ctypes.addressof(cursor), *places, count)
        attrs = [(head + struct.pack("<i", fd) + rest)[:size] + tail for fd in pair.fds[-1]]
        answers = _ask(pair, command, attrs)
        assert answers[0] == answers[1], (command.name, attrs)


def test_maps_of_maps_in_batches(pair: Pair) -> None:
    _create(pair, MapType.HASH_OF_MAPS)
    found = []
    for side, call in enumerate((kernel_oracle.bpf, pair.engine_at)):
        inner, outer = (fds[side] for fds in pair.fds)
        keys = ctypes.create_string_buffer(struct.pack("<III", 7, 8, 9), 64)
        values = ctypes.create_string_buffer(struct.pack("<iii", inner, inner, inner), 64)
        cursor = ctypes.create_string_buffer(8)
        places = (ctypes.addressof(cursor), ctypes.addressof(keys), ctypes.addressof(values))
        for command, count in ((26, 3), (24, 16), (25, 16), (24, 16)):
            raw = struct.pack("<QQQQIiQQ", 0, *places, count, outer, 0, 0)
            attr = kernel_oracle.roomy(raw)
            result, got = call(Cmd(command), attr), struct.unpack_from("<I", attr, 32)[0]
            ids = struct.unpack_from(f"<{got}I", values)
            found.append((result, sorted(keys.raw[i : i + 4] for i in range(0, 4 * got, 4)), len(set(ids))))
    assert found[:4] == found[4:]
    assert [each[0] for each in found[:4]] == [0, -errno.ENOENT, -errno.ENOENT, -errno.ENOENT]


def test_a_map_in_the_place_of_a_program(pair: Pair) -> None:
    _create(pair, MapType.ARRAY)
    for command in (Cmd.PROG_TEST_RUN, Cmd.PROG_BIND_MAP, Cmd.LINK_CREATE):
        answers = _ask(pair, command, [struct.pack("<i", fd).ljust(32, b"\0") for fd in pair.fds[-1]])
        assert answers[0] == answers[1] == -errno.EINVAL, command.name
