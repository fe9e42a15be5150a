"""engine.maps.lpm: longest prefixes, their order, readers beside writers."""

import ctypes
import errno
import ipaddress
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.abi.bpf import MapCreateFlag, MapType
from engine.errors import KernelError
from engine.jit.lang import compile_native, local, native, put32, u64
from engine.maps import Map, MapSpec, create_map
from engine.maps.lpm_ops import lpm_lookup


def _trie(key_size: int = 8, entries: int = 100) -> Map:
    return create_map(MapSpec(MapType.LPM_TRIE, key_size, 8, entries, MapCreateFlag.NO_PREALLOC))


def _net(text: str) -> bytes:
    net = ipaddress.ip_network(text)
    return struct.pack("<I", net.prefixlen) + net.network_address.packed


def test_the_longest_prefix_wins() -> None:
    routes = _trie()
    for i, net in enumerate(("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "192.168.0.0/24")):
        routes.update(_net(net), struct.pack("<Q", i))
    for address, wanted in (
        ("10.1.2.3", 3),
        ("10.1.9.9", 2),
        ("10.9.9.9", 1),
        ("8.8.8.8", 0),
        ("192.168.0.7", 4),
    ):
        assert routes.lookup(_net(address + "/32")) == struct.pack("<Q", wanted)
    routes.delete(_net("10.1.0.0/16"))
    assert routes.lookup(_net("10.1.9.9/32")) == struct.pack("<Q", 1)
    with pytest.raises(KernelError, match="ENOENT"):
        routes.delete(_net("10.1.0.0/16"))
    keys = [key for key, _ in routes.items()]
    assert keys[-1] == _net("0.0.0.0/0")
    assert len(keys) == 4
    routes.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 16), st.integers(0, 0xFFFF)), max_size=60))
def test_a_trie_is_a_table_of_prefixes(steps: list[tuple[bool, int, int]]) -> None:
    routes = _trie(6)
    model: dict[tuple[int, int], int] = {}
    for insert, length, bits in steps:
        prefix = bits >> (16 - length) << (16 - length)
        key = struct.pack("<I", length) + prefix.to_bytes(2, "big")
        if insert:
            routes.update(key, struct.pack("<Q", bits))
            model[length, prefix] = bits
        elif (length, prefix) in model:
            routes.delete(key)
            del model[length, prefix]
        else:
            with pytest.raises(KernelError, match="ENOENT"):
                routes.delete(key)
    assert len(list(routes.items())) == len(model)
    for wanted in (0, 0xFFFF, 0x8000, 0x1234, *(bits for _, _, bits in steps[:10])):
        fitting = [(n, v) for (n, p), v in model.items() if wanted >> (16 - n) == p >> (16 - n)]
        key = struct.pack("<I", 16) + wanted.to_bytes(2, "big")
        if fitting:
            assert routes.lookup(key) == struct.pack("<Q", max(fitting)[1])
        else:
            with pytest.raises(KernelError, match="ENOENT"):
                routes.lookup(key)
    routes.close()


def test_a_full_trie_can_be_overwritten_for_ever() -> None:
    routes = _trie(8, 3)
    nets = ["128.0.0.0/1", "0.0.0.0/1", "64.0.0.0/2"]
    for _ in range(20):
        for net in nets:
            routes.update(_net(net), bytes(8))
        with pytest.raises(KernelError, match="ENOSPC"):
            routes.update(_net("1.2.3.4/32"), bytes(8))
        routes.delete(_net(nets[1]))
        routes.update(_net("1.2.3.4/32"), bytes(8))
        routes.delete(_net("1.2.3.4/32"))
    routes.close()


@pytest.mark.parametrize(("key_size", "flags"), [(4, 1), (261, 1), (8, 0)])
def test_what_is_no_trie(key_size: int, flags: int) -> None:
    with pytest.raises(KernelError, match=errno.errorcode[errno.EINVAL]):
        create_map(MapSpec(MapType.LPM_TRIE, key_size, 8, 3, flags))


@native
def _watch(map: int, stop: int) -> int:
    """Look up an address that always has the value 7 until `stop` is set; counts other answers."""
    key = local(8)
    put32(key, 32)
    put32(key + 4, 0x0403_0201)
    wrong = 0
    while u64(stop) == 0:
        at = lpm_lookup(0, map, key)
        if at == 0 or u64(at) != 7:
            wrong += 1
    return wrong


def test_a_prefix_that_stays_is_never_missed() -> None:
    routes = _trie()
    routes.update(_net("1.2.3.4/32"), struct.pack("<Q", 7))
    stop, wrong = ctypes.c_uint64(0), []
    compile_native([_watch])
    reader = threading.Thread(target=lambda: wrong.append(_watch(routes.address, ctypes.addressof(stop))))
    reader.start()
    for _ in range(600):
        for net in ("1.0.0.0/8", "1.2.0.0/16", "1.2.3.0/24", "1.3.0.0/16", "1.2.3.5/32"):
            routes.update(_net(net), bytes(8))
        for net in ("1.2.0.0/16", "1.2.3.5/32", "1.0.0.0/8", "1.3.0.0/16", "1.2.3.0/24"):
            routes.delete(_net(net))
    stop.value = 1
    reader.join()
    assert wrong == [0]
    routes.close()
