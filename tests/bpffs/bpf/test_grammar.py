"""bpftool's words for maps."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpffs.bpf.grammar import Command, parse_command, parse_map
from engine.abi.bpf import MapType, UpdateFlag
from engine.errors import KernelError
from engine.maps import Map, MapSpec, create_map
from engine.progs import Prog


class NoNames:
    """Knows one map and no program."""

    def __init__(self) -> None:
        self.map = create_map(MapSpec(MapType.ARRAY, 4, 8, 4))

    def find_map(self, word: str, name: str) -> Map:
        if (word, name) != ("name", "inner"):
            raise KernelError(errno.ENOENT)
        return self.map

    def find_prog(self, word: str, name: str) -> Prog:
        raise KernelError(errno.ENOENT)


NAMES = NoNames()


def map_of(kind: MapType = MapType.HASH, key: int = 4, value: int = 8) -> Map:
    return create_map(MapSpec(kind, key, value, 4))


def test_a_map_is_described() -> None:
    spec = parse_map("type hash key 4 value 0x8 entries 1024 flags 1\n", "hits", NAMES)
    assert spec == MapSpec(MapType.HASH, 4, 8, 1024, 1, "hits")
    assert parse_map("type lru_hash key 4 value 8 entries 1 name other", "hits", NAMES).name == "other"


@pytest.mark.parametrize(
    "line", ["", "type", "type nosuch", "type hash key", "key x", "type hash colour 4", "key 0x"]
)
def test_what_is_no_map_is_einval(line: str) -> None:
    with pytest.raises(KernelError) as raised:
        parse_map(line, "m", NAMES)
    assert raised.value.errno == errno.EINVAL


def test_bytes_numbers_and_flags() -> None:
    target = map_of()
    expected = Command("update", b"\x01\0\0\0", b"\x09" + bytes(7), UpdateFlag.ANY)
    for line in (
        "update key 1 0 0 0 value 9 0 0 0 0 0 0 0",
        "update key 0x1 0 00 0 value 011 0 0 0 0 0 0 0",
        "update key hex 01 00 00 00 value hex 09 00 00 00 00 00 00 00 any",
        "update key 1 value 9",
    ):
        assert parse_command(line, target, NAMES) == expected
    assert parse_command("update key 1 value 9 noexist", target, NAMES).flags == UpdateFlag.NOEXIST
    assert parse_command("update key 1 value -1 exist", target, NAMES).value == b"\xff" * 8
    assert parse_command("delete key 7 0 0 0", target, NAMES) == Command("delete", b"\x07\0\0\0")


def test_a_map_without_keys_takes_none() -> None:
    command = parse_command("update value 7 0 0 0", create_map(MapSpec(MapType.BLOOM_FILTER, 0, 4, 4)), NAMES)
    assert command == Command("update", b"", b"\x07\0\0\0")


def test_maps_in_maps_are_referred_to() -> None:
    words = "key 4 value 4 entries 2 inner_map name inner"
    for kind in ("array_of_maps", "hash_of_maps"):
        target = create_map(parse_map(f"type {kind} {words}", "outer", NAMES))
        parse_command("update key 1 0 0 0 value name inner", target, NAMES).apply(target)
        assert target.lookup(b"\x01\0\0\0") == b"\0" * 4


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("update key 1 value 1 2 3 4", errno.EINVAL),
        ("update key 1 value pinned", errno.EINVAL),
        ("update key 1 value name other", errno.ENOENT),
        ("update key 1 value name inner more", errno.EINVAL),
    ],
)
def test_bad_references(line: str, number: int) -> None:
    target = create_map(
        parse_map("type array_of_maps key 4 value 4 entries 2 inner_map name inner", "o", NAMES)
    )
    with pytest.raises(KernelError) as raised:
        parse_command(line, target, NAMES)
    assert raised.value.errno == number


def test_a_value_goes_to_every_cpu() -> None:
    target = map_of(MapType.PERCPU_ARRAY, 4, 4)
    command = parse_command("update key 0 value 1 2 3 4", target, NAMES)
    slot = b"\x01\x02\x03\x04\0\0\0\0"
    assert command.value == slot * (target.user_value_size // 8)
    command.apply(target)
    assert target.lookup(bytes(4)) == command.value


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nosuch",
        "update",
        "update key",
        "update key 1",
        "update key 1 value",
        "update key 1 2 value 1",
        "update key 1 0 0 256 value 1",
        "update key 1 0 0 -1 value 1",
        "update key 1 value 1 any any",
        "update key 1 value 1 maybe",
        "update value 1 key 1",
        "delete key 4294967296",
        "delete key 1 value 1",
        "freeze now",
        "update key hex 1g 0 0 0 value 1",
    ],
)
def test_what_is_no_command_is_einval(line: str) -> None:
    with pytest.raises(KernelError) as raised:
        parse_command(line, map_of(), NAMES)
    assert raised.value.errno == errno.EINVAL


def test_commands_change_the_map() -> None:
    target = map_of()
    for line in ("update key 1 value 5", "update key 2 value 6", "delete key 1"):
        parse_command(line, target, NAMES).apply(target)
    assert dict(target.items()) == {b"\x02\0\0\0": b"\x06" + bytes(7)}
    parse_command("freeze", target, NAMES).apply(target)
    with pytest.raises(KernelError) as raised:
        parse_command("delete key 2", target, NAMES).apply(target)
    assert raised.value.errno == errno.EPERM


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=8, max_size=8))
def test_any_bytes_come_through(key: bytes, value: bytes) -> None:
    words = " ".join(str(byte) for byte in key), " ".join(f"{byte:02x}" for byte in value)
    command = parse_command(f"update key {words[0]} value hex {words[1]}", map_of(), NAMES)
    assert (command.key, command.value) == (key, value)


@given(st.text(max_size=60))
def test_any_text_is_a_command_or_einval(text: str) -> None:
    try:
        parse_command(text, map_of(), NAMES)
        parse_map(text, "m", NAMES)
    except KernelError as error:
        assert error.errno == errno.EINVAL
