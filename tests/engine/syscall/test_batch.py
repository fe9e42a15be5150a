"""Commands on many elements, given to the kernel and to engine.syscall."""

import ctypes
import errno
import random
import struct
from collections.abc import Callable, Iterator

import pytest

from engine.abi.bpf import Cmd, MapCreateFlag, MapType
from engine.machine import Machine
from tests import kernel_oracle
from tests.engine.syscall.test_against_kernel import Pair, _create_attr, _keys

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

Call = Callable[[Cmd, ctypes.Array[ctypes.c_char]], int]


@pytest.fixture
def pair() -> Iterator[Pair]:
    machine = Machine()
    both = Pair(machine)
    yield both
    both.close()
    machine.close()


def _sides(pair: Pair) -> list[tuple[Call, int]]:
    def ours(command: Cmd, attr: ctypes.Array[ctypes.c_char]) -> int:
        return pair.engine_at(command, attr)

    return list(zip((kernel_oracle.bpf, ours), pair.fds[-1], strict=True))


class Batch:
    """The buffers of one call."""

    def __init__(self, key_size: int, value_size: int, count: int) -> None:
        self.keys = ctypes.create_string_buffer(max(1, key_size * count))
        self.values = ctypes.create_string_buffer(max(1, value_size * count))
        self.cursor = ctypes.create_string_buffer(max(8, key_size))

    def call(
        self,
        call: Call,
        command: Cmd,
        fd: int,
        count: int,
        *,
        first: bool = True,
        elem_flags: int = 0,
        flags: int = 0,
    ) -> tuple[int, int]:
        """(result or errno, count afterwards)"""
        cursor = ctypes.addressof(self.cursor)
        raw = struct.pack(
            "<QQQQIIQQ",
            0 if first else cursor,
            cursor,
            ctypes.addressof(self.keys),
            ctypes.addressof(self.values),
            count,
            fd,
            elem_flags,
            flags,
        )
        attr = kernel_oracle.roomy(raw)
        result = call(command, attr)
        return result, struct.unpack_from("<I", attr, 32)[0]


def _fill(pair: Pair, keys: list[bytes], value_size: int) -> list[tuple[int, int]]:
    answers = []
    for call, fd in _sides(pair):
        batch = Batch(len(keys[0]), value_size, len(keys))
        batch.keys.raw = b"".join(keys).ljust(len(batch.keys), b"\0")
        batch.values.raw = bytes(i & 0xFF for i in range(len(batch.values)))
        answers.append(batch.call(call, Cmd.MAP_UPDATE_BATCH, fd, len(keys)))
    assert answers[0] == answers[1]
    return answers


def _drain(
    call: Call, command: Cmd, fd: int, sizes: tuple[int, int], step: int
) -> tuple[list[int], dict[bytes, bytes]]:
    """All elements, `step` at a time: the results of the calls, and what they gave."""
    results: list[int] = []
    found: dict[bytes, bytes] = {}
    batch, first = Batch(*sizes, step), True
    while True:
        result, count = batch.call(call, command, fd, step, first=first)
        for i in range(count):
            key = batch.keys.raw[i * sizes[0] : (i + 1) * sizes[0]]
            found[key] = batch.values.raw[i * sizes[1] : (i + 1) * sizes[1]]
        results.append(result)
        if result:
            return results, found
        first = False


@pytest.mark.parametrize("command", [Cmd.MAP_LOOKUP_BATCH, Cmd.MAP_LOOKUP_AND_DELETE_BATCH])
@pytest.mark.parametrize("flags", [0, MapCreateFlag.NO_PREALLOC])
def test_a_hash_in_batches(pair: Pair, command: Cmd, flags: int) -> None:
    assert pair.create(_create_attr(MapType.HASH, 6, 9, 200, flags)) == 0
    rng = random.Random(1)
    keys = [rng.randbytes(6) for _ in range(150)]
    _fill(pair, keys, 9)
    answers = []
    for call, fd in _sides(pair):
        results, found = _drain(call, command, fd, (6, 9), 100)
        answers.append((results[-1], found, sorted(_keys(call, fd, 6))))
    assert answers[0] == answers[1]
    assert answers[0][0] == -errno.ENOENT
    assert set(answers[0][1]) == set(keys)
    assert len(answers[0][2]) == (150 if command == Cmd.MAP_LOOKUP_BATCH else 0)


@pytest.mark.parametrize("step", [1, 3, 10, 64])
def test_an_array_in_batches(pair: Pair, step: int) -> None:
    assert pair.create(_create_attr(MapType.ARRAY, 4, 5, 10, 0)) == 0
    _fill(pair, [struct.pack("<I", i) for i in range(10)], 5)
    answers = [_drain(call, Cmd.MAP_LOOKUP_BATCH, fd, (4, 5), step) for call, fd in _sides(pair)]
    assert answers[0] == answers[1]
    assert len(answers[0][1]) == 10


def test_a_trie_in_batches(pair: Pair) -> None:
    assert pair.create(_create_attr(MapType.LPM_TRIE, 8, 5, 100, MapCreateFlag.NO_PREALLOC)) == 0
    rng = random.Random(2)
    _fill(pair, [struct.pack("<I", rng.randrange(33)) + rng.randbytes(4) for _ in range(50)], 5)
    answers = [_drain(call, Cmd.MAP_LOOKUP_BATCH, fd, (8, 5), 7) for call, fd in _sides(pair)]
    assert answers[0] == answers[1]


def test_updates_and_deletions_stop_at_the_first_failure(pair: Pair) -> None:
    assert pair.create(_create_attr(MapType.HASH, 4, 4, 5, 0)) == 0
    assert _fill(pair, [struct.pack("<I", i) for i in range(8)], 4)[0] == (-errno.E2BIG, 5)
    for wanted in ([0, 1, 9, 2], [2, 3]):
        answers = []
        for call, fd in _sides(pair):
            batch = Batch(4, 4, len(wanted))
            batch.keys.raw = struct.pack(f"<{len(wanted)}I", *wanted)
            answers.append(batch.call(call, Cmd.MAP_DELETE_BATCH, fd, len(wanted)))
        assert answers[0] == answers[1]


@pytest.mark.parametrize("command", [24, 25, 26, 27])
@pytest.mark.parametrize(
    "kind",
    [MapType.HASH, MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.QUEUE, MapType.LRU_HASH, MapType.RINGBUF],
)
def test_what_cannot_be(pair: Pair, command: int, kind: MapType) -> None:
    sizes = {MapType.QUEUE: (0, 8, 4), MapType.RINGBUF: (0, 0, 4096)}.get(kind, (4, 8, 4))
    assert pair.create(_create_attr(kind, *sizes, 0)) == 0
    for count, elem_flags, flags in ((0, 0, 0), (1, 1, 0), (1, 4, 0), (0, 0, 1), (1, 0, 1), (1, 0, 0)):
        answers = [
            Batch(*sizes[:2], 64).call(call, Cmd(command), fd, count, elem_flags=elem_flags, flags=flags)
            for call, fd in _sides(pair)
        ]
        assert answers[0] == answers[1], (count, elem_flags, flags)
