"""engine.maps.ring: records in order, room, wake-ups, what a client sees in the file."""

import ctypes
import errno
import mmap
import os
import random
import struct
import threading

import pytest

from engine.abi.bpf import MapType
from engine.errors import KernelError
from engine.jit.lang import compile_native, local, native, put64
from engine.maps import MapSpec, create_map
from engine.maps.ring import RingMap
from engine.maps.ring_ops import RingFlag, ring_commit, ring_output, ring_query, ring_reserve
from engine.memory import PAGE_SIZE


def _ring(size: int = PAGE_SIZE) -> RingMap:
    events = create_map(MapSpec(MapType.RINGBUF, 0, 0, size))
    assert isinstance(events, RingMap)
    return events


def _output(events: RingMap, data: bytes, flags: int = 0) -> int:
    buffer = ctypes.create_string_buffer(data, max(1, len(data)))
    return ring_output(0, events.address, ctypes.addressof(buffer), len(data), flags)


def _woken(events: RingMap) -> bool:
    try:
        return os.eventfd_read(events.notify_fd) > 0
    except BlockingIOError:
        return False


def test_random_records_arrive_in_order() -> None:
    events, rng = _ring(), random.Random(1)
    sent, got = [], []
    for _ in range(5000):
        data = rng.randbytes(rng.randrange(600))
        if _output(events, data) == 0:
            sent.append(data)
        if rng.random() < 0.3:
            got += events.consume(rng.randrange(10))
    assert sent == got + events.consume()
    events.close()


def test_a_full_ring_refuses_and_recovers() -> None:
    events = _ring()
    count = 0
    while _output(events, bytes(100)) == 0:
        count += 1
    assert count == (PAGE_SIZE - 1) // 112
    assert _output(events, bytes(100)) == -errno.EAGAIN
    assert _output(events, bytes(2 * PAGE_SIZE)) == -errno.EAGAIN
    assert _output(events, b"", 4) == -errno.EINVAL
    assert len(events.consume()) == count
    assert _output(events, bytes(100)) == 0
    events.close()


def test_a_client_reads_the_file_as_libbpf_does() -> None:
    events = _ring()
    assert events.region is not None
    control = mmap.mmap(events.region.fd, PAGE_SIZE)
    size = PAGE_SIZE + 2 * events.max_entries
    data = mmap.mmap(events.region.fd, size, offset=PAGE_SIZE, prot=mmap.PROT_READ)
    for i in range(1000):
        message = f"message {i}".encode() * 7
        assert _output(events, message) == 0
        consumer = struct.unpack_from("<Q", control)[0]
        producer = struct.unpack_from("<Q", data)[0]
        at = PAGE_SIZE + (consumer & (events.max_entries - 1))
        length = struct.unpack_from("<I", data, at)[0]
        assert data[at + 8 : at + 8 + length] == message
        struct.pack_into("<Q", control, 0, consumer + (length + 8 + 7 & ~7))
        assert struct.unpack_from("<Q", control)[0] == producer
    events.close()


def test_reserved_records_hold_back_those_behind_them() -> None:
    events = _ring()
    env = ctypes.create_string_buffer(1024)
    at = ctypes.addressof(env)
    first, second, third = (ring_reserve(at, events.address, 8, 0) for _ in range(3))
    for i, sample in enumerate((first, second, third)):
        put64(sample, i)
    ring_commit(at, third, 0, 0)
    assert events.consume() == []
    ring_commit(at, first, 0, 0)
    assert events.consume() == [struct.pack("<Q", 0)]
    ring_commit(at, second, 0, 1)
    assert events.consume() == [struct.pack("<Q", 2)]
    assert ring_reserve(at, events.address, 8, 1) == 0
    assert ring_query(0, events.address, RingFlag.AVAIL_DATA) == 0
    assert ring_query(0, events.address, RingFlag.RING_SIZE) == PAGE_SIZE
    assert ring_query(0, events.address, RingFlag.PROD_POS) == 48
    assert ring_query(0, events.address, 9) == 0
    events.close()


def test_readers_are_woken_when_they_have_caught_up() -> None:
    events = _ring()
    assert _output(events, b"a") == 0
    assert _woken(events)
    assert _output(events, b"b") == 0
    assert not _woken(events)
    assert _output(events, b"c", RingFlag.FORCE_WAKEUP) == 0
    assert _woken(events)
    events.consume()
    assert _output(events, b"d", RingFlag.NO_WAKEUP) == 0
    assert not _woken(events)
    events.close()


def test_a_hostile_client_cannot_make_us_write_elsewhere() -> None:
    events = _ring()
    assert events.region is not None
    os.pwrite(events.region.fd, b"\xff" * (2 * PAGE_SIZE), 0)
    for position in (0, 1, 2**63, 2**64 - 8):
        os.pwrite(events.region.fd, struct.pack("<Q", position), 0)
        for _ in range(100):
            assert _output(events, bytes(500)) in (0, -errno.EAGAIN)
    events.close()


def test_sizes() -> None:
    for bad in (0, 4095, 3 * PAGE_SIZE, 2 * PAGE_SIZE + 1):
        with pytest.raises(KernelError, match="EINVAL"):
            _ring(bad)


@native
def _produce(map: int, who: int, count: int) -> int:
    """Send numbered records, as many as there is room for; how many."""
    record = local(16)
    sent = 0
    for _ in range(count):
        put64(record, who)
        put64(record + 8, sent)
        if ring_output(0, map, record, 16, 0) == 0:
            sent += 1
    return sent


def test_threads_share_a_ring() -> None:
    events = _ring(1 << 16)
    compile_native([_produce])
    sent: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda n=n: sent.__setitem__(n, _produce(events.address, n, 30000)))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    got: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def take() -> None:
        for record in events.consume():
            who, number = struct.unpack("<QQ", record)
            got[who].append(number)

    while any(thread.is_alive() for thread in threads):
        take()
    take()
    assert {who: len(numbers) for who, numbers in got.items()} == sent
    assert all(numbers == list(range(len(numbers))) for numbers in got.values())
    events.close()
