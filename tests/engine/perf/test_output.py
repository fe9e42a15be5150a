"""bpf_perf_event_output: which event, what record, what happens without room."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator

import pytest

from engine.abi.bpf import MapType
from engine.env import Env, poke32, poke64
from engine.errors import KernelError
from engine.helpers.perf import perf_event_output
from engine.maps import MapSpec, create_map
from engine.maps.objects import ObjectArray
from engine.memory import PAGE_SIZE
from engine.perf import BpfOutputEvent, PerfEventAttr
from engine.perf.ring import MmapPage, RecordType, SampleType

CURRENT_CPU = 0xFFFF_FFFF
SOFTWARE, BPF_OUTPUT = 1, 10


class Setup:
    """One event on CPU 0 in a perf event array, and a program's environment."""

    def __init__(self, sample_type: int = SampleType.RAW, wakeup: int = 1) -> None:
        self.event = BpfOutputEvent(PerfEventAttr(SOFTWARE, BPF_OUTPUT, sample_type, wakeup=wakeup), 0)
        self.event.map_ring(3)
        events = create_map(MapSpec(MapType.PERF_EVENT_ARRAY, 4, 4, 2))
        assert isinstance(events, ObjectArray)
        self.events = events
        self.events.update_object(bytes(4), self.event)
        self._env = ctypes.create_string_buffer(1024)
        self.env = ctypes.addressof(self._env)

    def output(self, data: bytes, flags: int = CURRENT_CPU) -> int:
        """Call the helper."""
        buffer = ctypes.create_string_buffer(data, max(1, len(data)))
        return perf_event_output(self.env, 0, self.events.address, flags, ctypes.addressof(buffer), len(data))


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    made.event.close()


def test_raw_data_is_padded_to_words(setup: Setup) -> None:
    for size in range(12):
        assert setup.output(b"x" * size) == 0
    for size, (kind, body) in enumerate(setup.event.consume()):
        assert kind == RecordType.SAMPLE
        length = struct.unpack_from("<I", body)[0]
        assert (length + 4) % 8 == 0
        assert body[4:] == (b"x" * size).ljust(length, b"\0")


def test_which_event(setup: Setup) -> None:
    assert setup.output(b"a", 0) == 0
    assert setup.output(b"a", 1) == -errno.ENOENT
    assert setup.output(b"a", 2) == -errno.E2BIG
    assert setup.output(b"a", 1 << 32) == -errno.EINVAL
    poke32(setup.env + Env.CPU, 1)
    assert setup.output(b"a", 0) == -errno.EOPNOTSUPP
    poke32(setup.env + Env.CPU, 0)
    setup.event.disable()
    assert setup.output(b"a") == -errno.EOPNOTSUPP
    setup.event.enable()
    assert setup.output(b"a") == 0
    assert setup.output(bytes(0x10000)) == -errno.E2BIG


def test_what_finds_no_room_is_counted_and_told(setup: Setup) -> None:
    sent = 0
    while setup.output(bytes(100)) == 0:
        sent += 1
    assert setup.output(bytes(100)) == -errno.ENOSPC
    assert setup.event.lost == 2
    assert len(setup.event.consume()) == sent
    assert setup.output(b"after") == 0
    (lost, counts), (sample, body) = setup.event.consume()
    assert (lost, sample) == (RecordType.LOST, RecordType.SAMPLE)
    assert struct.unpack("<QQ", counts) == (setup.event.id, 2)
    assert body[4:9] == b"after"


def test_records_run_around_the_end(setup: Setup) -> None:
    for i in range(500):
        message = struct.pack("<I", i) * (i % 90)
        assert setup.output(message) == 0
        ((_, body),) = setup.event.consume()
        assert body[4 : 4 + len(message)] == message


def test_the_fields_come_in_the_kernels_order() -> None:
    kinds = SampleType
    setup = Setup(kinds.IDENTIFIER | kinds.IP | kinds.TID | kinds.TIME | kinds.CPU | kinds.PERIOD | kinds.RAW)
    poke64(setup.env + Env.FUNC, 0xFFFFFFFF81000010)
    poke32(setup.env + Env.TGID, 10)
    poke32(setup.env + Env.TID, 11)
    poke64(setup.env + Env.TIME_NS, 12345)
    assert setup.output(b"data") == 0
    ((_, body),) = setup.event.consume()
    fields = struct.unpack_from("<QQIIQQQI", body)
    assert fields == (setup.event.id, 0xFFFFFFFF81000010, 10, 11, 12345, 0, 1, 4)
    assert body[52:] == b"data"
    setup.event.close()


@pytest.mark.parametrize(("every", "woken"), [(1, [1, 1, 1]), (2, [0, 1, 0]), (3, [0, 0, 1])])
def test_wake_ups_come_every_so_many_records(every: int, woken: list[int]) -> None:
    setup = Setup(wakeup=every)
    for expected in woken:
        assert setup.output(b"x") == 0
        try:
            assert os.eventfd_read(setup.event.notify_fd) == 1
            got = 1
        except BlockingIOError:
            got = 0
        assert got == expected
    setup.event.close()


def test_the_control_page_describes_the_data(setup: Setup) -> None:
    region = setup.event.region
    assert region is not None
    assert struct.unpack_from("<QQ", region.view, MmapPage.DATA_OFFSET) == (PAGE_SIZE, 2 * PAGE_SIZE)
    assert setup.event.map_ring(3) is region
    for pages in (0, 4, 5):
        with pytest.raises(KernelError, match="EINVAL"):
            setup.event.map_ring(pages)


def test_an_event_that_is_not_mapped_refuses() -> None:
    setup = Setup()
    other = BpfOutputEvent(PerfEventAttr(SOFTWARE, BPF_OUTPUT, SampleType.RAW), 0)
    setup.events.update_object(bytes(4), other)
    assert setup.output(b"x") == -errno.ENOSPC
    other.close()
    setup.event.close()
