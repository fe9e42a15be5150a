"""bpf(2) on maps, given with identical attr bytes to the machine's kernel and to engine.syscall."""

import ctypes
import os
import random
import struct
from collections.abc import Callable, Iterator

import pytest

from engine.abi.bpf import Cmd, MapCreateFlag, MapType
from engine.cpus import possible_cpus
from engine.errors import KernelError
from engine.machine import Machine
from engine.syscall import BpfCaller, SimpleFds, bpf
from tests import kernel_oracle

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

_TYPES = [
    MapType.QUEUE,
    MapType.STACK,
    MapType.LPM_TRIE,
    MapType.STACK_TRACE,
    MapType.RINGBUF,
    MapType.PROG_ARRAY,
    MapType.PERF_EVENT_ARRAY,
    MapType.CGROUP_ARRAY,
    MapType.HASH,
    MapType.ARRAY,
    MapType.PERCPU_HASH,
    MapType.PERCPU_ARRAY,
    MapType.LRU_HASH,
    MapType.LRU_PERCPU_HASH,
]


class Pair:
    """The kernel and the engine, with a map of each behind every number."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._caller = BpfCaller()
        self.fds: list[tuple[int, int]] = []

    def engine(self, command: int, attr: bytes) -> int:
        """The engine's answer, as the kernel gives its own."""
        return self.engine_at(command, kernel_oracle.roomy(attr))

    def engine_at(self, command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
        """The same with an attr that is written to."""
        try:
            return bpf(self._machine, self._caller, command, ctypes.addressof(attr), len(attr))
        except KernelError as error:
            return -error.errno

    def create(self, attr: bytes) -> int:
        """BPF_MAP_CREATE in both: 0 or the errno, which must agree."""
        ours = self.engine(Cmd.MAP_CREATE, attr)
        theirs = kernel_oracle.bpf(Cmd.MAP_CREATE, attr)
        assert min(ours, 0) == min(theirs, 0), attr.hex()
        if theirs >= 0:
            self.fds.append((theirs, ours))
        return min(theirs, 0)

    def close(self) -> None:
        """Forget every map."""
        fds = self._caller.fds
        assert isinstance(fds, SimpleFds)
        for theirs, ours in self.fds:
            os.close(theirs)
            fds.close(ours)
        self.fds = []

    def elem(
        self, which: int, command: Cmd, key: bytes | None, value: bytes, flags: int
    ) -> tuple[int, bytes]:
        """One element command in both: errno and the value buffer afterwards, which must agree."""
        answers = []
        for side, call in enumerate((kernel_oracle.bpf, self.engine)):
            k = None if key is None else ctypes.create_string_buffer(key, len(key))
            v = ctypes.create_string_buffer(value, len(value))
            at = 0 if k is None else ctypes.addressof(k)
            attr = struct.pack("<I4xQQQ", self.fds[which][side], at, ctypes.addressof(v), flags)
            answers.append((call(command, attr), v.raw))
        assert answers[0] == answers[1], (command.name, key, flags, answers)
        return answers[0]


@pytest.fixture
def pair() -> Iterator[Pair]:
    machine = Machine()
    both = Pair(machine)
    yield both
    both.close()
    machine.close()


def _create_attr(kind: int, key: int, value: int, entries: int, flags: int, extra: bytes = b"") -> bytes:
    return struct.pack("<IIIII", kind, key, value, entries, flags).ljust(72, b"\0") + extra


def test_creation_agrees_on_random_attributes(pair: Pair) -> None:
    rng = random.Random(1)
    sizes = [0, 1, 3, 4, 5, 8, 16, 64, 511, 513, 32768, 32769, 1 << 22, (1 << 22) - 53, 0x80000000]
    entries = [0, 1, 2, 3, 7, 64, 100, 4096]
    flag_bits = [1 << i for i in range(0, 13)]
    accepted = 0
    for _ in range(3000):
        kind = rng.choice(_TYPES)
        flags = 0
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            flags |= rng.choice(flag_bits)
        key = rng.choice([4, 4, 4, 0, 8, rng.choice(sizes[:12])])
        value = rng.choice([4, 8, 0, rng.choice(sizes), rng.choice(sizes)])
        # The kernel takes the memory at once: keep it small.
        attr = _create_attr(kind, key, value, rng.choice(entries if value < 512 else entries[:3]), flags)
        accepted += pair.create(attr) == 0
        pair.close()
    assert accepted > 200


def test_creation_agrees_on_the_tail_of_the_attribute(pair: Pair) -> None:
    good = _create_attr(MapType.HASH, 4, 8, 16, 0)
    for size in (16, 20, 24, 48, 72):
        assert pair.create(good[:size]) == 0
    assert pair.create(good[:12]) < 0
    assert pair.create(good.ljust(4096, b"\0")) == 0
    assert pair.create(good.ljust(4095, b"\0") + b"\1") < 0
    assert pair.create(good.ljust(4104, b"\0")) < 0
    for name in (b"ok_name.1", b"bad name", b"x" * 15, b"x" * 16, b"a\0b", b"\xff"):
        raw = bytearray(good)
        raw[28 : 28 + len(name)] = name
        pair.create(bytes(raw))


def _run_random(
    pair: Pair, rng: random.Random, key_size: int, value_size: int, keys: int, steps: int
) -> None:
    """Random element commands on the map last created, over few enough keys that they meet."""
    pool = [rng.randbytes(key_size) for _ in range(keys)]
    commands = [
        Cmd.MAP_UPDATE_ELEM,
        Cmd.MAP_UPDATE_ELEM,
        Cmd.MAP_UPDATE_ELEM,
        Cmd.MAP_LOOKUP_ELEM,
        Cmd.MAP_LOOKUP_ELEM,
        Cmd.MAP_DELETE_ELEM,
        Cmd.MAP_LOOKUP_AND_DELETE_ELEM,
    ]
    for _ in range(steps):
        command = rng.choice(commands)
        flags = rng.choice([0, 0, 0, 1, 2, 3, 4, 5, 8, 1 << 32, 1 << 63]) if rng.random() < 0.5 else 0
        if command == Cmd.MAP_DELETE_ELEM:
            flags = 0
        value = rng.randbytes(value_size) if command == Cmd.MAP_UPDATE_ELEM else bytes(value_size)
        key = rng.choice(pool)
        if command == Cmd.MAP_DELETE_ELEM:
            _delete(pair, key)
        else:
            pair.elem(-1, command, key, value, flags)


def _delete(pair: Pair, key: bytes) -> None:
    answers = []
    for side, call in enumerate((kernel_oracle.bpf, pair.engine)):
        k = ctypes.create_string_buffer(key, len(key))
        attr = struct.pack("<I4xQ", pair.fds[-1][side], ctypes.addressof(k))
        answers.append(call(Cmd.MAP_DELETE_ELEM, attr))
    assert answers[0] == answers[1]


def _keys(call: Callable[[Cmd, ctypes.Array[ctypes.c_char]], int], fd: int, key_size: int) -> list[bytes]:
    """All keys by BPF_MAP_GET_NEXT_KEY."""
    found: list[bytes] = []
    current: bytes | None = None
    while True:
        k = None if current is None else ctypes.create_string_buffer(current, key_size)
        out = ctypes.create_string_buffer(key_size)
        at = 0 if k is None else ctypes.addressof(k)
        raw = struct.pack("<I4xQQ", fd, at, ctypes.addressof(out))
        if call(Cmd.MAP_GET_NEXT_KEY, ctypes.create_string_buffer(raw, len(raw))) < 0:
            return found
        current = out.raw
        found.append(current)


@pytest.mark.parametrize("flags", [0, MapCreateFlag.NO_PREALLOC])
@pytest.mark.parametrize(("key_size", "value_size"), [(4, 8), (8, 8), (1, 1), (7, 3), (20, 100), (513, 5000)])
def test_hash_commands_agree(pair: Pair, key_size: int, value_size: int, flags: int) -> None:
    rng = random.Random(key_size * 1000 + value_size)
    assert pair.create(_create_attr(MapType.HASH, key_size, value_size, 10, flags)) == 0
    _run_random(pair, rng, key_size, value_size, 16, 1200)
    theirs, ours = pair.fds[-1]
    assert sorted(_keys(kernel_oracle.bpf, theirs, key_size)) == sorted(_keys(pair.engine_at, ours, key_size))


@pytest.mark.parametrize("kind", [MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH, MapType.LRU_HASH])
@pytest.mark.parametrize(("key_size", "value_size"), [(4, 8), (12, 20)])
def test_percpu_and_lru_commands_agree(pair: Pair, kind: MapType, key_size: int, value_size: int) -> None:
    rng = random.Random(key_size)
    lru = kind in (MapType.LRU_HASH, MapType.LRU_PERCPU_HASH)
    # An LRU map must not evict here: when it does is not specified.
    assert pair.create(_create_attr(kind, key_size, value_size, 4096 if lru else 10, 0)) == 0
    cpus = possible_cpus()
    percpu = kind != MapType.LRU_HASH
    size = -(-value_size // 8) * 8 * cpus if percpu else value_size
    _run_random(pair, rng, key_size, size, 16, 800)


@pytest.mark.parametrize("kind", [MapType.ARRAY, MapType.PERCPU_ARRAY])
@pytest.mark.parametrize("value_size", [1, 8, 13])
def test_array_commands_agree(pair: Pair, kind: MapType, value_size: int) -> None:
    rng = random.Random(value_size)
    assert pair.create(_create_attr(kind, 4, value_size, 5, 0)) == 0
    cpus = possible_cpus()
    size = -(-value_size // 8) * 8 * cpus if kind == MapType.PERCPU_ARRAY else value_size
    for _ in range(600):
        key = struct.pack("<I", rng.choice([0, 1, 2, 3, 4, 5, 6, 0xFFFFFFFF]))
        command = rng.choice([Cmd.MAP_UPDATE_ELEM, Cmd.MAP_LOOKUP_ELEM, Cmd.MAP_LOOKUP_AND_DELETE_ELEM])
        flags = rng.choice([0, 0, 1, 2, 3, 4, 8, 1 << 40])
        value = rng.randbytes(size) if command == Cmd.MAP_UPDATE_ELEM else bytes(size)
        pair.elem(-1, command, key, value, flags)
        _delete(pair, key)
    theirs, ours = pair.fds[-1]
    assert _keys(kernel_oracle.bpf, theirs, 4) == _keys(pair.engine_at, ours, 4)


@pytest.mark.parametrize("kind", [MapType.QUEUE, MapType.STACK])
def test_queue_commands_agree(pair: Pair, kind: MapType) -> None:
    rng = random.Random(int(kind))
    assert pair.create(_create_attr(kind, 0, 6, 5, 0)) == 0
    commands = [Cmd.MAP_UPDATE_ELEM, Cmd.MAP_UPDATE_ELEM, Cmd.MAP_LOOKUP_ELEM, Cmd.MAP_LOOKUP_AND_DELETE_ELEM]
    for _ in range(600):
        command = rng.choice(commands)
        flags = rng.choice([0, 0, 0, 1, 2, 2, 3, 4, 1 << 33])
        value = rng.randbytes(6) if command == Cmd.MAP_UPDATE_ELEM else bytes(6)
        pair.elem(-1, command, b"key!" if rng.random() < 0.05 else None, value, flags)
    theirs, ours = pair.fds[-1]
    for command in (Cmd.MAP_DELETE_ELEM, Cmd.MAP_GET_NEXT_KEY):
        attrs = [struct.pack("<I4xQQ", fd, 0, 0) for fd in (theirs, ours)]
        assert kernel_oracle.bpf(command, attrs[0]) == pair.engine(command, attrs[1])


@pytest.mark.parametrize("key_size", [5, 8, 20])
def test_trie_commands_agree(pair: Pair, key_size: int) -> None:
    rng = random.Random(key_size)
    assert pair.create(_create_attr(MapType.LPM_TRIE, key_size, 8, 30, MapCreateFlag.NO_PREALLOC)) == 0
    bits = (key_size - 4) * 8

    def key() -> bytes:
        length = rng.choice([0, 1, 2, bits - 1, bits, bits + 1, rng.randrange(bits)])
        return struct.pack("<I", length) + bytes(
            rng.choice([0, 0x80, 0xFF, 0xC0, 1]) for _ in range(key_size - 4)
        )

    commands = [Cmd.MAP_UPDATE_ELEM, Cmd.MAP_UPDATE_ELEM, Cmd.MAP_LOOKUP_ELEM, Cmd.MAP_DELETE_ELEM]
    theirs, ours = pair.fds[-1]
    for step in range(1500):
        command = rng.choice(commands)
        if command == Cmd.MAP_DELETE_ELEM:
            _delete(pair, key())
        else:
            flags = rng.choice([0, 0, 0, 1, 2, 3, 4])
            value = rng.randbytes(8) if command == Cmd.MAP_UPDATE_ELEM else bytes(8)
            pair.elem(-1, command, key(), value, flags)
        if step % 100 == 0:
            assert _keys(kernel_oracle.bpf, theirs, key_size) == _keys(pair.engine_at, ours, key_size)


def test_maps_of_maps_agree(pair: Pair) -> None:
    assert pair.create(_create_attr(MapType.HASH, 4, 8, 10, 0)) == 0
    assert pair.create(_create_attr(MapType.HASH, 4, 16, 10, 0)) == 0
    assert pair.create(_create_attr(MapType.ARRAY, 4, 8, 10, 0)) == 0
    for kind in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS):
        answers = []
        for side, call in enumerate((kernel_oracle.bpf, pair.engine)):
            inner = pair.fds[0][side]
            answers.append(call(Cmd.MAP_CREATE, struct.pack("<IIIIIi", kind, 4, 4, 3, 0, inner)))
        assert min(answers) > 0
        pair.fds.append((answers[0], answers[1]))
        for bad in (
            struct.pack("<IIIIIi", kind, 4, 4, 3, 0, -1),
            struct.pack("<IIIIIi", kind, 4, 8, 3, 0, 0),
        ):
            assert kernel_oracle.bpf(Cmd.MAP_CREATE, bad) == pair.engine(Cmd.MAP_CREATE, bad)
        for index in (0, 1, 2, 3):
            for flags in (0, 1, 2, 4):
                for which in (0, 1, 2, None):
                    _put_map(pair, index, which, flags)
        for index in (0, 1, 2, 3, 2):
            _delete(pair, struct.pack("<I", index))


def _put_map(pair: Pair, index: int, which: int | None, flags: int) -> None:
    """Update element `index` of the last map with the descriptor of another, in both."""
    answers = []
    for side, call in enumerate((kernel_oracle.bpf, pair.engine)):
        key = ctypes.create_string_buffer(struct.pack("<I", index), 4)
        fd = -1 if which is None else pair.fds[which][side]
        value = ctypes.create_string_buffer(struct.pack("<i", fd), 4)
        attr = struct.pack(
            "<I4xQQQ", pair.fds[-1][side], ctypes.addressof(key), ctypes.addressof(value), flags
        )
        answers.append(call(Cmd.MAP_UPDATE_ELEM, attr))
    assert answers[0] == answers[1], (index, which, flags)


def test_read_only_write_only_and_frozen_maps_agree(pair: Pair) -> None:
    for flags in (MapCreateFlag.RDONLY, MapCreateFlag.WRONLY):
        assert pair.create(_create_attr(MapType.HASH, 4, 4, 4, flags)) == 0
        for command in (Cmd.MAP_LOOKUP_ELEM, Cmd.MAP_UPDATE_ELEM, Cmd.MAP_LOOKUP_AND_DELETE_ELEM):
            pair.elem(-1, command, b"abcd", b"1234", 0)
    assert pair.create(_create_attr(MapType.ARRAY, 4, 4, 4, 0)) == 0
    for _ in range(2):
        theirs, ours = pair.fds[-1]
        first = kernel_oracle.bpf(Cmd.MAP_FREEZE, struct.pack("<I", theirs))
        assert first == pair.engine(Cmd.MAP_FREEZE, struct.pack("<I", ours))
    for command in (Cmd.MAP_LOOKUP_ELEM, Cmd.MAP_UPDATE_ELEM):
        pair.elem(-1, command, bytes(4), b"1234", 0)


def test_unmapped_memory_and_bad_descriptors_agree(pair: Pair) -> None:
    assert pair.create(_create_attr(MapType.HASH, 4, 4, 4, 0)) == 0
    for key, value in ((8, 8), (0, 8)):
        for command in (Cmd.MAP_LOOKUP_ELEM, Cmd.MAP_UPDATE_ELEM, Cmd.MAP_LOOKUP_AND_DELETE_ELEM):
            attrs = [struct.pack("<I4xQQQ", fd, key, value, 0) for fd in pair.fds[-1]]
            assert kernel_oracle.bpf(command, attrs[0]) == pair.engine(command, attrs[1])
    for fd in (-1, 9999):
        attr = struct.pack("<i4xQQQ", fd, 8, 8, 0)
        assert kernel_oracle.bpf(Cmd.MAP_LOOKUP_ELEM, attr) == pair.engine(Cmd.MAP_LOOKUP_ELEM, attr)
    for command in (Cmd.MAP_LOOKUP_ELEM, Cmd.MAP_DELETE_ELEM, Cmd.MAP_GET_NEXT_KEY, Cmd.MAP_FREEZE):
        attrs = [struct.pack("<I4xQQQ", fd, 8, 8, 0) + b"\1" for fd in pair.fds[-1]]
        assert kernel_oracle.bpf(command, attrs[0]) == pair.engine(command, attrs[1])
    assert kernel_oracle.bpf(Cmd.MAP_CREATE, bytes(8)) == pair.engine(Cmd.MAP_CREATE, bytes(8))
