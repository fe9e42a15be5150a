"""engine.maps.hash: rules, iteration, and threads that read, write and delete at once."""

import ctypes
import errno
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.abi.bpf import MapCreateFlag, MapType, UpdateFlag
from engine.errors import KernelError
from engine.jit.lang import Native, compile_native, local, native, put64, u64
from engine.maps import Map, MapSpec, create_map
from engine.maps.hash import HashMap
from engine.maps.htab import htab_delete, htab_lookup, htab_update
from engine.maps.lru import lru_delete, lru_lookup, lru_update

_HASHES = [MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH]


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _full(used: Map, value: bytes) -> bytes:
    """`value` for each CPU."""
    return (
        value * (used.user_value_size // used.spec.value_stride) if used.type.name.count("PERCPU") else value
    )


def _fails(number: int) -> "pytest.RaisesContext[KernelError]":
    return pytest.raises(KernelError, match=errno.errorcode[number])


@pytest.mark.parametrize("kind", _HASHES)
def test_lookup_update_delete_and_iteration(kind: MapType) -> None:
    hits = create_map(MapSpec(kind, 4, 8, 64))
    for i in range(64):
        hits.update(_u32(i), _full(hits, struct.pack("<Q", i * i)))
    assert hits.lookup(_u32(7)) == _full(hits, struct.pack("<Q", 49))
    assert {key for key, _ in hits.items()} == {_u32(i) for i in range(64)}
    for i in range(0, 64, 2):
        hits.delete(_u32(i))
    with _fails(errno.ENOENT):
        hits.delete(_u32(0))
    with _fails(errno.ENOENT):
        hits.lookup(_u32(0))
    assert sorted(key for key, _ in hits.items()) == sorted(_u32(i) for i in range(1, 64, 2))
    assert hits.lookup_and_delete(_u32(1)) == _full(hits, struct.pack("<Q", 1))
    with _fails(errno.ENOENT):
        hits.lookup_and_delete(_u32(1))
    hits.close()


@pytest.mark.parametrize("kind", _HASHES)
def test_next_key_visits_each_key_once_and_restarts_at_a_missing_one(kind: MapType) -> None:
    hits = create_map(MapSpec(kind, 4, 8, 100))
    for i in range(50):
        hits.update(_u32(i), _full(hits, bytes(8)))
    seen = [hits.next_key(None)]
    with _fails(errno.ENOENT):
        while True:
            seen.append(hits.next_key(seen[-1]))
    assert sorted(seen) == sorted(_u32(i) for i in range(50))
    assert hits.next_key(_u32(99999)) == seen[0]
    hits.close()


@pytest.mark.parametrize("flags", [0, MapCreateFlag.NO_PREALLOC])
def test_a_full_map_can_be_overwritten_but_not_extended(flags: int) -> None:
    hits = create_map(MapSpec(MapType.HASH, 4, 4, 3, flags))
    for _ in range(5):
        for i in range(3):
            hits.update(_u32(i), _u32(i))
    with _fails(errno.E2BIG):
        hits.update(_u32(3), _u32(3))
    hits.delete(_u32(0))
    hits.update(_u32(3), _u32(3))
    with _fails(errno.E2BIG):
        hits.update(_u32(0), _u32(0))
    hits.close()


def test_update_flags() -> None:
    hits = create_map(MapSpec(MapType.HASH, 4, 4, 3))
    with _fails(errno.ENOENT):
        hits.update(_u32(1), _u32(1), UpdateFlag.EXIST)
    hits.update(_u32(1), _u32(1), UpdateFlag.NOEXIST)
    with _fails(errno.EEXIST):
        hits.update(_u32(1), _u32(2), UpdateFlag.NOEXIST)
    hits.update(_u32(1), _u32(3), UpdateFlag.EXIST)
    assert hits.lookup(_u32(1)) == _u32(3)
    for flags in (3, 4, 5, 8, 1 << 32, 1 << 63):
        with _fails(errno.EINVAL):
            hits.update(_u32(1), _u32(1), flags)
    hits.close()


def test_freezing_stops_writes_through_bpf_only() -> None:
    hits = create_map(MapSpec(MapType.HASH, 4, 4, 3))
    hits.update(_u32(1), _u32(1))
    hits.freeze()
    for write in (lambda: hits.update(_u32(1), _u32(2)), lambda: hits.delete(_u32(1)), hits.freeze):
        with _fails(errno.EPERM):
            write()
    key, value = ctypes.create_string_buffer(_u32(1)), ctypes.create_string_buffer(_u32(9))
    assert htab_update(0, hits.address, ctypes.addressof(key), ctypes.addressof(value), 0) == 0
    assert hits.lookup(_u32(1)) == _u32(9)
    hits.close()


def test_an_overwritten_element_is_another_as_in_the_kernel() -> None:
    hits = create_map(MapSpec(MapType.HASH, 4, 8, 3))
    hits.update(_u32(1), struct.pack("<Q", 1))
    key = ctypes.create_string_buffer(_u32(1))
    old = htab_lookup(0, hits.address, ctypes.addressof(key))
    hits.update(_u32(1), struct.pack("<Q", 2))
    put64(old, 77)
    assert hits.lookup(_u32(1)) == struct.pack("<Q", 2)
    hits.close()


def test_a_huge_map_costs_nothing_until_it_is_used() -> None:
    hits = create_map(MapSpec(MapType.HASH, 8, 64, 1 << 26))
    assert hits.region is not None
    hits.update(bytes(8), bytes(64))
    assert list(hits.items()) == [(bytes(8), bytes(64))]
    with open(f"/proc/self/fdinfo/{hits.region.fd}", encoding="ascii"):
        pass
    assert ctypes.c_uint64.from_address(hits.address + 320).value == 1
    hits.close()


@pytest.mark.parametrize("kind", [MapType.LRU_HASH, MapType.LRU_PERCPU_HASH])
def test_a_full_lru_map_forgets_what_was_not_used(kind: MapType) -> None:
    hits = create_map(MapSpec(kind, 4, 8, 100))
    buffer = ctypes.create_string_buffer(8)
    env = ctypes.create_string_buffer(1024)
    for i in range(1000):
        hits.update(_u32(i), _full(hits, bytes(8)))
        # A program keeps using key 5.
        struct.pack_into("<I", buffer, 0, 5)
        hits.ops.lookup(ctypes.addressof(env), hits.address, ctypes.addressof(buffer))
    keys = {key for key, _ in hits.items()}
    assert len(keys) == 100
    assert _u32(999) in keys
    assert _u32(5) in keys
    hits.close()


def test_lists_of_each_cpu_round_the_size_of_an_lru_map_up() -> None:
    hits = create_map(MapSpec(MapType.LRU_HASH, 4, 8, 1, MapCreateFlag.NO_COMMON_LRU))
    assert hits.max_entries % hits.host.nr_cpus == 0
    hits.close()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(st.tuples(st.sampled_from("uuudt"), st.integers(0, 12), st.integers(0, 255)), max_size=80),
)
def test_a_map_is_a_dictionary(key_size: int, value_size: int, steps: list[tuple[str, int, int]]) -> None:
    hits = create_map(MapSpec(MapType.HASH, key_size, value_size, 64))
    model: dict[bytes, bytes] = {}
    for what, k, v in steps:
        key, value = bytes([k]) * key_size, bytes([v]) * value_size
        if what == "u":
            hits.update(key, value)
            model[key] = value
        elif key in model and what == "d":
            hits.delete(key)
            del model[key]
        elif key in model:
            assert hits.lookup_and_delete(key) == model.pop(key)
        else:
            with _fails(errno.ENOENT):
                hits.delete(key)
    assert dict(hits.items()) == model
    assert all(hits.lookup(key) == value for key, value in model.items())
    hits.close()


def test_batches_resume_at_their_cursor_and_no_bucket_is_cut() -> None:
    hits = create_map(MapSpec(MapType.HASH, 4, 100, 500))
    for i in range(500):
        hits.update(_u32(i), bytes(100))
    assert isinstance(hits, HashMap)
    cursor, keys = 0, []
    while cursor < hits.nr_buckets:
        cursor, batch = next(hits.batches(cursor, room=1000))
        keys += [key for key, _ in batch]
    assert sorted(keys) == sorted(_u32(i) for i in range(500))
    # One byte of room: every bucket is larger, and still comes whole.
    assert len([key for _, batch in hits.batches(0, room=1) for key, _ in batch]) == 500
    hits.close()


@native
def _churn(map: int, first: int, step: int, rounds: int) -> int:
    """Insert, overwrite and delete keys; every value is its key twice. Counts values that are not."""
    key = local(8)
    value = local(16)
    bad = 0
    for i in range(rounds):
        k = first + step * (i & 63)
        put64(key, k)
        put64(value, k)
        put64(value + 8, k)
        htab_update(0, map, key, value, 0)
        at = htab_lookup(0, map, key)
        if at == 0 or u64(at) != k or u64(at + 8) != k:
            bad += 1
        htab_update(0, map, key, value, 0)
        if i & 1:
            htab_delete(0, map, key)
    return bad


@native
def _watch(map: int, stop: int, wanted: int) -> int:
    """Look up a key that is overwritten but never deleted, until `stop` is set. Counts misses."""
    key = local(8)
    put64(key, wanted)
    misses = 0
    while u64(stop) == 0:
        at = htab_lookup(0, map, key)
        if at == 0:
            misses += 1
    return misses


def test_threads_that_write_apart_never_see_each_other() -> None:
    hits = create_map(MapSpec(MapType.HASH, 8, 16, 256))
    compile_native([_churn, _watch])
    results: list[int] = []
    writers = [
        threading.Thread(target=lambda n=n: results.append(_churn(hits.address, n, 4, 40000)))
        for n in range(4)
    ]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert results == [0, 0, 0, 0]
    assert len(dict(hits.items())) <= 256
    for _ in range(2):
        for key, _ in list(hits.items()):
            hits.delete(key)
        for i in range(256):
            hits.update(struct.pack("<Q", i), bytes(16))
        with _fails(errno.E2BIG):
            hits.update(struct.pack("<Q", 256), bytes(16))
    hits.close()


def test_a_key_that_is_overwritten_is_never_missed() -> None:
    # Four buckets: everything collides all the time.
    hits = create_map(MapSpec(MapType.HASH, 8, 16, 4))
    key, value = struct.pack("<Q", 1), struct.pack("<QQ", 1, 1)
    hits.update(key, value)
    stop = ctypes.c_uint64(0)
    misses: list[int] = []
    compile_native([_churn, _watch])
    reader = threading.Thread(target=lambda: misses.append(_watch(hits.address, ctypes.addressof(stop), 1)))
    reader.start()
    for i in range(4000):
        hits.update(key, value)
        hits.update(struct.pack("<Q", 2 + (i & 1)), value)
        hits.delete(struct.pack("<Q", 2 + (i & 1)))
    stop.value = 1
    reader.join()
    assert misses == [0]
    hits.close()


@native
def _lru_churn(map: int, first: int, rounds: int) -> int:
    """Insert many keys into a small LRU map; every value is its key twice. Counts values that are not."""
    key = local(8)
    value = local(16)
    bad = 0
    for i in range(rounds):
        k = first + (i & 1023)
        put64(key, k)
        put64(value, k)
        put64(value + 8, k)
        if lru_update(0, map, key, value, 0) != 0:
            bad += 1
        lru_lookup(0, map, key)
        if (i & 7) == 0:
            lru_delete(0, map, key)
    return bad


def test_lru_threads_never_fail_and_lose_no_element() -> None:
    hits = create_map(MapSpec(MapType.LRU_HASH, 8, 16, 64))
    functions: list[Native] = [_lru_churn]
    compile_native(functions)
    results: list[int] = []
    writers = [
        threading.Thread(target=lambda n=n: results.append(_lru_churn(hits.address, n << 20, 30000)))
        for n in range(3)
    ]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert results == [0, 0, 0]
    for i in range(200):
        hits.update(struct.pack("<Q", i), struct.pack("<QQ", i, i))
    assert len(list(hits.items())) == 64
    hits.close()


@pytest.mark.parametrize("room", [64, 4096])
def test_iteration_shows_what_stays_while_others_come_and_go(room: int) -> None:
    hits = create_map(MapSpec(MapType.HASH, 8, 16, 600))
    staying = {struct.pack("<Q", 1 << 32 | i) for i in range(300)}
    for key in staying:
        hits.update(key, key + key)
    compile_native([_churn, _watch])
    bad: list[int] = []
    writers = [
        threading.Thread(target=lambda n=n: bad.append(_churn(hits.address, n, 2, 300_000))) for n in range(2)
    ]
    for thread in writers:
        thread.start()
    rounds = 0
    while any(thread.is_alive() for thread in writers) or rounds == 0:
        seen = [item for _, batch in hits.batches(0, room) for item in batch]
        keys = [key for key, _ in seen]
        assert staying <= set(keys)
        assert all(value == key + key for key, value in seen)
        rounds += 1
    for thread in writers:
        thread.join()
    assert bad == [0, 0]
    hits.close()
