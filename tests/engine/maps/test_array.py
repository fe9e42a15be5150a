"""engine.maps.array: values, per-CPU values, memory that a client can map."""

import ctypes
import errno
import os
import struct

import pytest

from engine.abi.bpf import MapCreateFlag, MapType, UpdateFlag
from engine.env import Env, poke32
from engine.errors import KernelError
from engine.helpers.maps import map_lookup_elem, map_lookup_percpu_elem, map_update_elem
from engine.maps import MapSpec, create_map
from engine.maps.array import PercpuArrayMap


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def test_all_elements_exist_from_the_start() -> None:
    counts = create_map(MapSpec(MapType.ARRAY, 4, 12, 5))
    assert list(counts.items()) == [(_u32(i), bytes(12)) for i in range(5)]
    counts.update(_u32(4), b"abcdefghijkl")
    assert counts.lookup(_u32(4)) == b"abcdefghijkl"
    for key, number in ((_u32(5), errno.E2BIG), (_u32(0), errno.EEXIST)):
        with pytest.raises(KernelError, match=errno.errorcode[number]):
            counts.update(key, bytes(12), UpdateFlag.NOEXIST if number == errno.EEXIST else 0)
    with pytest.raises(KernelError, match="EINVAL"):
        counts.delete(_u32(0))
    counts.close()


def test_a_mmapable_array_is_its_file() -> None:
    data = create_map(MapSpec(MapType.ARRAY, 4, 100, 1, MapCreateFlag.MMAPABLE, name=".bss"))
    assert data.region is not None
    os.pwrite(data.region.fd, b"written by a client", 10)
    assert data.lookup(bytes(4))[10:29] == b"written by a client"
    data.close()


def test_a_program_sees_its_own_cpu() -> None:
    counts = create_map(MapSpec(MapType.PERCPU_ARRAY, 4, 8, 3))
    assert isinstance(counts, PercpuArrayMap)
    env = ctypes.create_string_buffer(1024)
    at, key = ctypes.addressof(env), ctypes.create_string_buffer(_u32(1))
    for cpu in range(counts.host.nr_cpus):
        poke32(at + Env.CPU, cpu)
        value = ctypes.c_uint64(cpu + 10)
        assert map_update_elem(at, counts.address, ctypes.addressof(key), ctypes.addressof(value), 0) == 0
        found = map_lookup_elem(at, counts.address, ctypes.addressof(key))
        assert ctypes.c_uint64.from_address(found).value == cpu + 10
        assert map_lookup_percpu_elem(0, counts.address, ctypes.addressof(key), cpu) == found
    assert map_lookup_percpu_elem(0, counts.address, ctypes.addressof(key), counts.host.nr_cpus) == 0
    expected = b"".join(struct.pack("<Q", cpu + 10) for cpu in range(counts.host.nr_cpus))
    assert counts.lookup(_u32(1)) == expected
    counts.close()


def test_batches_go_on_at_their_cursor() -> None:
    counts = create_map(MapSpec(MapType.ARRAY, 4, 4, 1000))
    cursor, batch = next(counts.batches(0, room=80))
    assert len(batch) == 10
    rest = [item for _, part in counts.batches(cursor, room=80) for item in part]
    assert [key for key, _ in batch + rest] == [_u32(i) for i in range(1000)]
    counts.close()


def test_values_with_a_spin_lock_are_copied_around_it() -> None:
    state = create_map(MapSpec(MapType.ARRAY, 4, 16, 1, lock_off=4))
    assert state.region is not None
    state.update(bytes(4), b"aaaaLLLLbbbbbbbb")
    assert state.lookup(bytes(4)) == b"aaaa\0\0\0\0bbbbbbbb"
    state.update(bytes(4), b"ccccLLLLdddddddd", UpdateFlag.F_LOCK)
    assert state.lookup(bytes(4), UpdateFlag.F_LOCK) == b"cccc\0\0\0\0dddddddd"
    assert bytes(state.region.view[4:8]) == bytes(4)
    state.close()
