"""The ring: order, overrun, dropping, the reader's sub-buffer, resizing, several writers."""

import errno
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import KernelError
from engine.machine import Machine
from tracefs.ring_layout import BUF_PAGE_SIZE
from tracefs.trace_buffer import DEFAULT_SIZE, TraceBuffer, pages_for


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with two CPUs."""
    made = Machine(nr_cpus=2)
    yield made
    made.close()


@pytest.fixture
def buffer(machine: Machine) -> Iterator[TraceBuffer]:
    """A buffer of the least size."""
    made = TraceBuffer(machine, [1, 1])
    yield made
    made.close()


def record(number: int, size: int = 24) -> bytes:
    """A record that can be told apart; 24 bytes of data take 28 with their header."""
    return number.to_bytes(8, "little").ljust(size, b"\0")


def numbers(buffer: TraceBuffer, limit: int = 1 << 20) -> list[int]:
    """Consume and name records."""
    return [int.from_bytes(data[:8], "little") for _, _, _, data in buffer.consume(None, limit)]


PER_PAGE = BUF_PAGE_SIZE // 28


def test_what_is_written_comes_back_in_order_of_time(buffer: TraceBuffer) -> None:
    for i in range(100):
        buffer.write(i & 1, 1000 * i, record(i))
    taken = list(buffer.consume(None, 1000))
    assert [(cpu, time) for cpu, time, _, _ in taken] == [(i & 1, 1000 * i) for i in range(100)]
    assert numbers(buffer) == []


def test_a_full_ring_overwrites_its_oldest_page(buffer: TraceBuffer) -> None:
    total = 3 * PER_PAGE + 5
    for i in range(total):
        buffer.write(0, i, record(i))
    counters = buffer.counters(0)
    assert (counters.entries, counters.overrun) == (PER_PAGE + 5, 2 * PER_PAGE)
    assert buffer.written() == total
    first, *rest = list(buffer.consume(0, 1 << 20))
    assert first[2] == 2 * PER_PAGE
    assert all(lost == 0 for _, _, lost, _ in rest)
    assert int.from_bytes(first[3][:8], "little") == 2 * PER_PAGE


def test_without_overwrite_the_newest_is_dropped(buffer: TraceBuffer) -> None:
    buffer.set_overwrite(False)
    refused = 0
    for i in range(2 * PER_PAGE + 7):
        try:
            buffer.write(0, i, record(i))
        except KernelError as error:
            assert error.errno == errno.EBADF
            refused += 1
    assert refused == 7 == buffer.counters(0).dropped
    assert numbers(buffer) == list(range(2 * PER_PAGE))


def test_the_readers_page_cannot_be_overwritten(buffer: TraceBuffer) -> None:
    for i in range(10):
        buffer.write(0, i, record(i))
    assert numbers(buffer, 3) == [0, 1, 2]
    for i in range(10, 10 * PER_PAGE):
        buffer.write(0, i, record(i))
    assert numbers(buffer, PER_PAGE - 3) == list(range(3, PER_PAGE))
    (_, _, lost, data), *_ = buffer.consume(0, 1)
    assert lost == int.from_bytes(data[:8], "little") - PER_PAGE > 0


def test_long_and_short_delays_and_lengths_survive(buffer: TraceBuffer) -> None:
    times = [0, 1, (1 << 27) - 1, 1 << 27, 1 << 40, (1 << 40) + 5, 1 << 58]
    for i, time in enumerate(times):
        buffer.write(0, time, record(i, 8 + 40 * i))
    taken = list(buffer.consume(0, 100))
    assert [time for _, time, _, _ in taken] == times
    assert [len(data) for *_, data in taken] == [8 + 40 * i + (4 if i == 0 else 0) for i in range(len(times))]


def test_time_never_goes_back_in_a_ring(buffer: TraceBuffer) -> None:
    buffer.write(0, 100, record(1))
    buffer.write(0, 50, record(2))
    assert [time for _, time, _, _ in buffer.consume(0, 9)] == [100, 100]


def test_the_largest_record_fills_a_page_and_a_larger_one_is_refused(buffer: TraceBuffer) -> None:
    buffer.write(0, 1, record(1, BUF_PAGE_SIZE - 8))
    assert len(next(buffer.consume(0, 1))[3]) == BUF_PAGE_SIZE - 8
    with pytest.raises(KernelError) as refused:
        buffer.write(0, 2, record(2, BUF_PAGE_SIZE - 4))
    assert refused.value.errno == errno.E2BIG


def test_sizes_are_those_of_linux() -> None:
    kb = {1: 7, 7: 7, 8: 11, 10: 11, 64: 67, 100: 103, 128: 131, 1000: 1000, DEFAULT_SIZE >> 10: 1410}
    assert {asked: pages_for(asked << 10) * BUF_PAGE_SIZE >> 10 for asked in kb} == kb


def test_resizing_keeps_the_newest(buffer: TraceBuffer) -> None:
    buffer.resize(0, 10 * BUF_PAGE_SIZE)
    total = 6 * PER_PAGE
    for i in range(total):
        buffer.write(0, i, record(i))
    assert numbers(buffer, 2) == [0, 1]
    buffer.resize(0, 3 * BUF_PAGE_SIZE)
    buffer.write(0, total, record(total))
    left = numbers(buffer)
    assert left[: PER_PAGE - 2] == list(range(2, PER_PAGE))
    assert left[-2 * PER_PAGE - 1 :] == list(range(total - 2 * PER_PAGE, total + 1))
    assert buffer.counters(0).overrun + buffer.counters(0).read == total + 1
    assert buffer.size(0) == 3 * BUF_PAGE_SIZE


def test_a_clone_has_what_is_unread_and_takes_nothing(buffer: TraceBuffer) -> None:
    for i in range(PER_PAGE + 9):
        buffer.write(1, i, record(i))
    numbers(buffer, 4)
    copy = buffer.clone(None)
    assert numbers(copy) == list(range(4, PER_PAGE + 9))
    copy.close()
    assert numbers(buffer) == list(range(4, PER_PAGE + 9))


def test_reset_empties_ring_and_counters(buffer: TraceBuffer) -> None:
    for i in range(5 * PER_PAGE):
        buffer.write(0, i, record(i))
    buffer.reset(0)
    counters = buffer.counters(0)
    assert (counters.entries, counters.overrun, counters.bytes, counters.read) == (0, 0, 0, 0)
    buffer.write(0, 9, record(7))
    assert numbers(buffer) == [7]


def test_memory_is_allocated_when_it_is_written(machine: Machine) -> None:
    buffer = TraceBuffer(machine, [64 << 20, 1])
    buffer.write(0, 1, record(1))
    copy = buffer.clone(None)
    copy.close()
    buffer.reset()
    region = buffer._pages[0].region
    assert region.size > 64 << 20
    assert os.fstat(region.fd).st_blocks * 512 < 1 << 20
    buffer.close()


def test_writers_in_threads_lose_nothing_uncounted(machine: Machine) -> None:
    buffer = TraceBuffer(machine, [64 << 10] * 2)
    each = 3000

    def write(base: int) -> None:
        for i in range(each):
            buffer.write(i & 1, i, record(base + i))

    threads = [threading.Thread(target=write, args=(n * each,)) for n in range(3)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    lost = 0
    running = True
    while running or buffer.entries():
        running = any(thread.is_alive() for thread in threads)
        for _, _, missed, data in buffer.consume(None, 100):
            seen.append(int.from_bytes(data[:8], "little"))
            lost += missed
    assert len(seen) == len(set(seen))
    assert len(seen) + lost == 3 * each
    assert lost == sum(buffer.counters(cpu).overrun for cpu in range(2))
    buffer.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(8, 300), st.integers(0, 3)), max_size=120))
def test_a_model_of_a_ring_agrees(machine: Machine, steps: list[tuple[int, int, int]]) -> None:
    """What is consumed is, per CPU, a subsequence of what was written; what is missing is counted."""
    buffer = TraceBuffer(machine, [1, 1])
    written: list[list[int]] = [[], []]
    seen: list[list[int]] = [[], []]
    missed = [0, 0]

    def take(limit: int) -> None:
        for cpu, _, lost, data in buffer.consume(None, limit):
            seen[cpu].append(int.from_bytes(data[:8], "little"))
            missed[cpu] += lost

    for number, (cpu, size, reads) in enumerate(steps):
        buffer.write(cpu, number, record(number, size))
        written[cpu].append(number)
        take(reads)
    take(1 << 20)
    buffer.close()
    for cpu in range(2):
        assert seen[cpu] == sorted(seen[cpu])
        assert set(seen[cpu]) <= set(written[cpu])
        assert len(seen[cpu]) + missed[cpu] == len(written[cpu])
