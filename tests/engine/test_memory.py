"""engine.memory: regions, their kernel alias, sealing, and the heap."""

import ctypes
import os
import threading
from itertools import pairwise

import pytest

from engine import memory
from engine.errors import KernelError
from engine.memory import (
    KERNEL_BASE,
    PAGE_SIZE,
    WINDOW_BASE,
    WINDOW_SIZE,
    Heap,
    Region,
    host_ptr,
    in_window,
    kernel_ptr,
)


def test_region_is_zeroed_shared_and_inside_the_window() -> None:
    region = Region("t", 5000)
    assert region.size == 2 * PAGE_SIZE
    assert in_window(region.address, region.size)
    assert bytes(region.view[:5000]) == bytes(5000)
    region.view[4999] = 7
    assert os.pread(region.fd, 1, 4999) == b"\x07"
    os.pwrite(region.fd, b"x", 1)
    assert ctypes.string_at(region.address + 1, 1) == b"x"
    region.close()
    region.close()
    assert region.closed


def test_double_region_repeats_its_content() -> None:
    region = Region("ring", PAGE_SIZE, double=True)
    region.view[PAGE_SIZE - 1 : PAGE_SIZE + 1] = b"ab"
    assert region.view[0] == ord("b")
    assert region.view[2 * PAGE_SIZE - 1] == ord("a")
    region.close()


def test_no_holder_of_the_descriptor_can_shrink_a_region() -> None:
    region = Region("sealed", PAGE_SIZE)
    with pytest.raises(PermissionError):
        os.ftruncate(region.fd, 0)
    region.close()


def test_huge_regions_are_sparse() -> None:
    region = Region("huge", 1 << 34)
    assert os.fstat(region.fd).st_blocks == 0
    region.view[(1 << 34) - 1] = 1
    assert os.fstat(region.fd).st_blocks * 512 == PAGE_SIZE
    region.close()


def test_addresses_are_reused_and_never_overlap() -> None:
    regions = [Region("r", PAGE_SIZE * (i + 1)) for i in range(8)]
    spans = sorted((r.address, r.address + r.size) for r in regions)
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    lowest = spans[0][0]
    for region in regions:
        region.close()
    again = Region("r", PAGE_SIZE)
    assert again.address <= lowest
    again.close()


def test_a_region_larger_than_the_window_is_refused() -> None:
    with pytest.raises(KernelError):
        Region("too big", WINDOW_SIZE)


def test_kernel_alias_round_trips() -> None:
    assert kernel_ptr(WINDOW_BASE) == KERNEL_BASE
    assert host_ptr(kernel_ptr(WINDOW_BASE + 12345)) == WINDOW_BASE + 12345
    assert not in_window(WINDOW_BASE - 1)
    assert not in_window(WINDOW_BASE + WINDOW_SIZE - 1, 2)


def test_heap_blocks_are_aligned_distinct_zeroed_and_reused() -> None:
    heap = Heap(1 << 20)
    blocks = [heap.alloc(n, 64) for n in (1, 64, 65, 300)]
    assert all(b % 64 == 0 for b in blocks)
    assert len(set(blocks)) == 4
    ctypes.memset(blocks[3], 0xFF, 300)
    heap.free(blocks[3])
    again = heap.alloc(400)
    assert again == blocks[3]
    assert ctypes.string_at(again, 400) == bytes(400)
    with pytest.raises(KeyError):
        heap.free(blocks[0] + 1)
    heap.close()


def test_heap_reports_exhaustion() -> None:
    heap = Heap(PAGE_SIZE)
    with pytest.raises(KernelError):
        for _ in range(300):
            heap.alloc(16)
    assert heap.used == PAGE_SIZE
    heap.close()


def test_giving_back_waits_for_no_lock() -> None:
    """A finalizer may run inside any allocation, also one that holds these locks."""
    heap, region = Heap(1 << 20), Region("r", PAGE_SIZE)
    block = heap.alloc(16)
    address = region.address

    def give_back() -> None:
        heap.free(block)
        region.close()

    with memory._window._lock, heap._lock:
        finalizer = threading.Thread(target=give_back, daemon=True)
        finalizer.start()
        finalizer.join(10)
        assert not finalizer.is_alive()
    assert heap.alloc(16) == block
    again = Region("r", PAGE_SIZE)
    assert again.address <= address
    again.close()
    heap.close()
