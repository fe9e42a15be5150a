"""Broken objects: a KernelError or an object, never anything else."""

import random
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import KernelError
from engine.loader import KernelInfo, parse_object
from engine.loader.patch import prog_spec
from tests.engine.loader.compiled import example

OBJECTS = [example(name) for name in ("count", "latency", "opensnoop")]
ODD = [0, 1, 2, 4, 0x7F, 0x80, 0xFE, 0xFF]
SETTINGS = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def load(data: bytes) -> None:
    """Everything that loading does before it touches the machine."""
    try:
        spec = parse_object(data, "fuzz")
        for prog in spec.progs.values():
            prog_spec(prog, spec, [], KernelInfo(spec.btf))
    except KernelError as error:
        assert error.errno > 0
        assert error.message


@SETTINGS
@given(st.binary(max_size=4096))
def test_random_bytes(data: bytes) -> None:
    load(data)
    load(b"\x7fELF\x02\x01\x01" + data)


@SETTINGS
@given(st.sampled_from(OBJECTS), st.floats(0, 1, exclude_max=True))
def test_truncated(data: bytes, share: float) -> None:
    load(data[: int(len(data) * share)])


@SETTINGS
@given(st.sampled_from(OBJECTS), st.randoms(use_true_random=False), st.integers(1, 32))
def test_changed_bytes(data: bytes, rnd: random.Random, changes: int) -> None:
    broken = bytearray(data)
    for _ in range(changes):
        at = rnd.randrange(len(broken) - 8)
        for offset in range(rnd.choice([1, 1, 2, 4, 8])):
            broken[at + offset] = rnd.choice(ODD) if rnd.random() < 0.7 else rnd.randrange(256)
    load(bytes(broken))


def _places(data: bytes) -> list[tuple[int, int]]:
    """Where section headers, and the sections that loaders read, are."""
    (shoff,) = struct.unpack_from("<Q", data, 40)
    (shnum,) = struct.unpack_from("<H", data, 60)
    rows = [struct.unpack_from("<IIQQQQ", data, shoff + index * 64) for index in range(shnum)]
    return [(shoff, shnum * 64), *((row[4], row[5]) for row in rows if row[5] and row[1] != 8)]


@SETTINGS
@given(st.sampled_from(OBJECTS), st.randoms(use_true_random=False))
def test_changed_words_of_tables(data: bytes, rnd: random.Random) -> None:
    broken = bytearray(data)
    start, size = rnd.choice(_places(data))
    for _ in range(rnd.choice([1, 2, 8])):
        at = start + rnd.randrange(max(1, size // 4)) * 4
        if at + 4 <= len(broken):
            value = rnd.choice(
                [0, 1, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, rnd.randrange(256), rnd.randrange(1 << 32)]
            )
            struct.pack_into("<I", broken, at, value)
    load(bytes(broken))
