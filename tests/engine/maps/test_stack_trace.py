"""engine.maps.stack_trace: ids of traces, and what happens when two want the same."""

import ctypes
import errno
import struct

import pytest

from engine.abi.bpf import MapType
from engine.errors import KernelError
from engine.maps import Map, MapSpec, create_map
from engine.maps.stack_ops import StackFlag, stack_id


def _put(stacks: Map, ips: list[int], flags: int = 0) -> int:
    array = (ctypes.c_uint64 * len(ips))(*ips)
    return stack_id(stacks.address, ctypes.addressof(array), len(ips), flags)


def test_a_trace_is_stored_once_and_read_with_zeros_after_it() -> None:
    stacks = create_map(MapSpec(MapType.STACK_TRACE, 4, 32, 64))
    number = _put(stacks, [10, 20, 30])
    assert 0 <= number < 64
    assert _put(stacks, [10, 20, 30]) == number
    key = struct.pack("<I", number)
    assert stacks.lookup(key) == struct.pack("<4Q", 10, 20, 30, 0)
    assert list(stacks.items()) == [(key, struct.pack("<4Q", 10, 20, 30, 0))]
    assert stacks.next_key(None) == key
    with pytest.raises(KernelError, match="ENOENT"):
        stacks.next_key(key)
    with pytest.raises(KernelError, match="EINVAL"):
        stacks.update(key, bytes(32))
    stacks.delete(key)
    for gone in (lambda: stacks.lookup(key), lambda: stacks.delete(key), lambda: stacks.next_key(None)):
        with pytest.raises(KernelError, match="ENOENT"):
            gone()
    with pytest.raises(KernelError, match="E2BIG"):
        stacks.delete(struct.pack("<I", 64))
    stacks.close()


def test_a_trace_is_taken_once() -> None:
    stacks = create_map(MapSpec(MapType.STACK_TRACE, 4, 32, 1))
    for ips in ([1, 2], [3]):
        key = struct.pack("<I", _put(stacks, ips))
        assert stacks.lookup_and_delete(key) == struct.pack("<4Q", *ips, *[0] * (4 - len(ips)))
        with pytest.raises(KernelError, match="ENOENT"):
            stacks.lookup_and_delete(key)
    stacks.close()


def test_two_traces_with_one_id() -> None:
    stacks = create_map(MapSpec(MapType.STACK_TRACE, 4, 16, 1))
    assert _put(stacks, [1]) == 0
    assert _put(stacks, [2]) == -errno.EEXIST
    # The only element is in use: the kernel has none spare either.
    assert _put(stacks, [2], StackFlag.REUSE_STACKID) == -errno.ENOMEM
    stacks.delete(bytes(4))
    assert _put(stacks, [2], StackFlag.REUSE_STACKID) == 0
    assert stacks.lookup(bytes(4)) == struct.pack("<2Q", 2, 0)
    stacks.close()


def test_many_traces_come_in_order_of_their_ids() -> None:
    stacks = create_map(MapSpec(MapType.STACK_TRACE, 4, 64, 1024))
    numbers = {_put(stacks, list(range(i, i + i % 8 + 1)), StackFlag.REUSE_STACKID) for i in range(300)}
    numbers.discard(-errno.ENOMEM)
    found = [struct.unpack("<I", key)[0] for _, batch in stacks.batches(0, room=640) for key, _ in batch]
    assert found == sorted(numbers)
    stacks.close()


@pytest.mark.parametrize("sizes", [(4, 7, 1), (4, 0, 1), (8, 8, 1), (4, 8, 0), (4, 128 * 8, 1)])
def test_sizes(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(KernelError, match="EINVAL"):
        create_map(MapSpec(MapType.STACK_TRACE, *sizes))
