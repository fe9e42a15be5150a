"""Maps and helpers that redirect packets, given to the kernel and to engine.syscall alike."""

import errno
import itertools
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.abi.bpf import AttachType, Cmd, FuncId, MapType, ProgType
from tests import kernel_oracle
from tests.engine.helpers.kernel_helpers import call, insn, load_value
from tests.engine.syscall.sides import Sides, address_of, both_sides, buffer

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

_KINDS = (MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.CPUMAP, MapType.XSKMAP)
_HOLDERS = {MapType.DEVMAP: AttachType.XDP_DEVMAP, MapType.CPUMAP: AttachType.XDP_CPUMAP}
_HOLDERS[MapType.DEVMAP_HASH] = AttachType.XDP_DEVMAP
_FRAGS = 1 << 5
_NO_INDEX = 0xFFFF_FFFF
_PASS = insn(0xB7, imm=2) + insn(0x95)

Pair = tuple[int, int]


@pytest.fixture
def sides() -> Iterator[Sides]:
    with both_sides() as both:
        yield both


def _map(sides: Sides, kind: MapType, value: int, entries: int = 4, *, key: int = 4, flags: int = 0) -> Pair:
    raw = struct.pack("<IIIII", kind, key, value, entries, flags).ljust(72, b"\0")
    return sides.open(0, Cmd.MAP_CREATE, raw), sides.open(1, Cmd.MAP_CREATE, raw)


def _load(
    sides: Sides,
    codes: bytes | tuple[bytes, bytes],
    attach: int = 0,
    *,
    kind: ProgType = ProgType.XDP,
    flags: int = 0,
) -> Pair:
    """Descriptors of a program on both sides, or what loading says."""
    fds = []
    for side, code in enumerate((codes, codes) if isinstance(codes, bytes) else codes):
        insns, licence = buffer(code), buffer(b"GPL\0")
        raw = struct.pack("<IIQQ", kind, len(code) // 8, address_of(insns), address_of(licence))
        raw = (raw.ljust(44, b"\0") + struct.pack("<I", flags)).ljust(68, b"\0") + struct.pack("<I", attach)
        fds.append(sides.open(side, Cmd.PROG_LOAD, raw.ljust(144, b"\0")))
    return fds[0], fds[1]


def _elem(
    sides: Sides, side: int, command: Cmd, fd: int, index: int | None, value: bytes, flags: int = 0
) -> tuple[int, bytes]:
    """One element command on one side: result, and the value's buffer afterwards."""
    key, room = None if index is None else buffer(struct.pack("<I", index)), buffer(value, 8)
    size = 16 if command == Cmd.MAP_DELETE_ELEM else 24 if command == Cmd.MAP_GET_NEXT_KEY else 32
    raw = struct.pack("<I4xQQQ", fd, address_of(key), address_of(room), flags)[:size]
    return sides.calls[side](command, buffer(raw)), room.raw


def _same_id(sides: Sides, side: int, found: bytes, prog: int) -> bytes:
    """A looked-up value with the id of `prog` written as 1."""
    info = buffer(bytes(8))
    assert sides.info(side, prog, info)[0] == 0
    ifindex, number = struct.unpack("<II", found)
    return struct.pack("<II", ifindex, int(number == struct.unpack_from("<I", info, 4)[0]) if number else 0)


@pytest.mark.parametrize("kind", [*_KINDS, MapType.HASH, MapType.ARRAY])
def test_creation(sides: Sides, kind: MapType) -> None:
    good = 0
    for key, value, entries in itertools.product((0, 4, 8), (0, 4, 6, 8, 12), (0, 1, 3, 100)):
        for flags in (0, *(1 << bit for bit in range(16)), 1 << 3 | 1 << 4, 1 << 7 | 1 << 8):
            if flags and (key, entries) != (4, 3):
                continue
            fds = _map(sides, kind, value, entries, key=key, flags=flags)
            assert min(fds[0], 0) == min(fds[1], 0), (key, value, entries, flags)
            if fds[0] >= 0:
                good += 1
                seen = []
                for side in (0, 1):
                    info = buffer(bytes(24))
                    assert sides.info(side, fds[side], info)[0] == 0
                    seen.append(info.raw[:4] + info.raw[8:])
                assert seen[0] == seen[1]
    assert good >= 4


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("size", [4, 8])
def test_elements(sides: Sides, kind: MapType, size: int) -> None:
    fds = _map(sides, kind, size)
    if kind == MapType.XSKMAP and size == 8:
        assert fds == (-errno.EINVAL, -errno.EINVAL)
        return
    rng, good = random.Random(int(kind) * size), 0
    commands = (Cmd.MAP_UPDATE_ELEM, Cmd.MAP_LOOKUP_ELEM, Cmd.MAP_DELETE_ELEM, Cmd.MAP_GET_NEXT_KEY)
    for _ in range(200):
        command, index = rng.choice(commands), rng.choice((0, 1, 2, 3, 4, 5, 1 << 20, _NO_INDEX))
        first = rng.choice(
            (9999, _NO_INDEX) if kind == MapType.XSKMAP else (1, 1, 1, 0, 16384, 16385, _NO_INDEX)
        )
        value = struct.pack("<II", first, rng.choice((0, 0, _NO_INDEX)))
        flags = rng.choice((0, 0, 0, 1, 2, 3, 8)) if command == Cmd.MAP_UPDATE_ELEM else 0
        if kind == MapType.DEVMAP_HASH and command == Cmd.MAP_GET_NEXT_KEY:
            continue
        answers = [_elem(sides, side, command, fds[side], index, value, flags) for side in (0, 1)]
        assert answers[0] == answers[1], (command.name, index, value, flags)
        good += answers[0][0] == 0
    assert good > 10


def test_what_is_no_socket(sides: Sides) -> None:
    fds = _map(sides, MapType.XSKMAP, 4)
    for side in (0, 1):
        value = struct.pack("<i", fds[side])
        assert _elem(sides, side, Cmd.MAP_UPDATE_ELEM, fds[side], 0, value)[0] == -errno.ENOTSOCK


def test_every_key_of_a_hash_of_devices(sides: Sides) -> None:
    fds = _map(sides, MapType.DEVMAP_HASH, 4, 8)
    for index in (7, 3, 1 << 30, 11):
        for side in (0, 1):
            _elem(sides, side, Cmd.MAP_UPDATE_ELEM, fds[side], index, struct.pack("<I", 1))
    seen: list[set[int]] = [set(), set()]
    for side in (0, 1):
        index = None
        while True:
            error, found = _elem(sides, side, Cmd.MAP_GET_NEXT_KEY, fds[side], index, b"")
            if error:
                assert error == -errno.ENOENT
                break
            index = struct.unpack_from("<I", found)[0]
            seen[side].add(index)
    assert seen[0] == seen[1] == {7, 3, 1 << 30, 11}


@pytest.mark.parametrize("kind", list(_HOLDERS))
def test_programs_in_values(sides: Sides, kind: MapType) -> None:
    fds, attach = _map(sides, kind, 8), _HOLDERS[kind]
    other = AttachType.XDP_CPUMAP if attach == AttachType.XDP_DEVMAP else AttachType.XDP_DEVMAP
    fitting = _load(sides, _PASS, attach)
    tried = [
        _load(sides, _PASS, other),
        _load(sides, _PASS),
        _load(sides, _PASS, kind=ProgType.KPROBE),
        fds,
        (9999, 9999),
        fitting,
        _load(sides, _PASS, attach, flags=_FRAGS),
        (0, 0),
    ]
    results = []
    for progs in tried:
        answers = []
        for side in (0, 1):
            value = struct.pack("<Ii", 1, progs[side])
            result = _elem(sides, side, Cmd.MAP_UPDATE_ELEM, fds[side], 1, value)[0]
            error, found = _elem(sides, side, Cmd.MAP_LOOKUP_ELEM, fds[side], 1, bytes(8))
            answers.append((result, error, _same_id(sides, side, found, fitting[side])))
        assert answers[0] == answers[1], progs
        results.append(answers[0][0])
    assert results[5:] == [0, results[0], 0]


def _redirects(fd: int, index: int, flags: int) -> bytes:
    lookup = insn(0x18, 1, 1, 0, fd) + insn(0) + load_value(2, index) + load_value(3, flags)
    return lookup + call(FuncId.redirect_map) + insn(0x95)


def _run(sides: Sides, fds: Pair) -> tuple[int, int]:
    """What a program returns on both sides; -1 where it does not run."""
    found = []
    for side in (0, 1):
        given = buffer(bytes(64))
        attr = buffer(
            struct.pack("<IIIIQQII", fds[side], 0, 64, 0, address_of(given), 0, 1, 0).ljust(80, b"\0")
        )
        error = sides.calls[side](Cmd.PROG_TEST_RUN, attr)
        found.append(struct.unpack_from("<I", attr, 4)[0] if not error else -1)
    return found[0], found[1]


@pytest.mark.parametrize("kind", _KINDS)
def test_what_redirect_map_answers(sides: Sides, kind: MapType) -> None:
    maps, seen = _map(sides, kind, 4), set()
    for side in (0, 1):
        _elem(sides, side, Cmd.MAP_UPDATE_ELEM, maps[side], 1, struct.pack("<I", 1))
    for index in (0, 1, 4, 1 << 32 | 1):
        for flags in (0, 1, 2, 3, 4, 5, 8, 10, 16, 18, 24, 26, 32, 1 << 32):
            codes = _redirects(maps[0], index, flags), _redirects(maps[1], index, flags)
            answers = _run(sides, _load(sides, codes))
            assert answers[0] == answers[1] >= 0, (index, flags)
            seen.add(answers[0])
    assert seen == ({0, 1, 2, 3} if kind == MapType.XSKMAP else {0, 1, 2, 3, 4})


@pytest.mark.parametrize("kind", [ProgType.XDP, ProgType.SCHED_CLS, ProgType.SCHED_ACT])
def test_what_redirect_answers(sides: Sides, kind: ProgType) -> None:
    seen = set()
    for ifindex, flags in itertools.product((0, 1, 99), (0, 1, 2, 3, 8, 1 << 16, 1 << 32)):
        code = load_value(1, ifindex) + load_value(2, flags) + call(FuncId.redirect) + insn(0x95)
        answers = _run(sides, _load(sides, code, kind=kind))
        assert answers[0] == answers[1] >= 0, (ifindex, flags)
        seen.add(answers[0])
    assert len(seen) == 2


_READ = insn(0x61, 0, 0, 0)
_AFTER_LOOKUP = {
    "read": _READ,
    "far": insn(0x61, 0, 0, 4),
    "byte": insn(0x71, 0, 0, 0),
    "long": insn(0x79, 0, 0, 0),
    "write": insn(0x62, 0, 0, 0, 5),
    "atomic": insn(0xB7, 2) + insn(0xC3, 0, 2, 0, 0),
    "moved": insn(0x07, 0, 0, 0, 4) + insn(0x61, 0, 0, -4),
    "spilled": insn(0x7B, 10, 0, -16) + insn(0x79, 0, 10, -16) + _READ,
    "passed": insn(0xBF, 1, 0) + insn(0xB7, 2, imm=0) + call(FuncId.redirect),
    "compared": insn(0x15, 0, 0, 1) + _READ,
}


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("size", [4, 8])
def test_what_programs_may_do_with_values(sides: Sides, kind: MapType, size: int) -> None:
    maps = _map(sides, kind, size)
    if maps[0] < 0:
        assert maps[0] == maps[1]
        return
    for side in (0, 1):
        _elem(sides, side, Cmd.MAP_UPDATE_ELEM, maps[side], 0, struct.pack("<II", 1, 0))
    for name, use in _AFTER_LOOKUP.items():
        rest = use + insn(0xB7, imm=3) * (name == "write") + insn(0x95)
        codes = [
            insn(0x62, 10, 0, -4)
            + (insn(0x18, 1, 1, 0, fd) + insn(0))
            + (insn(0xBF, 2, 10) + insn(0x07, 2, 0, 0, -4) + call(FuncId.map_lookup_elem))
            + (insn(0x55, 0, 0, 1) + insn(0x95) + rest)
            for fd in maps
        ]
        fds = _load(sides, (codes[0], codes[1]))
        assert min(fds[0], 0) == min(fds[1], 0), name
        if fds[0] >= 0:
            answers = _run(sides, fds)
            assert answers[0] == answers[1], name


@pytest.mark.parametrize("kind", [*_KINDS, MapType.PROG_ARRAY])
def test_maps_take_programs_like_the_first_that_used_them(sides: Sides, kind: MapType) -> None:
    maps, results = _map(sides, kind, 4), []
    for prog, flags in ((ProgType.XDP, 0), (ProgType.XDP, _FRAGS), (ProgType.KPROBE, 0), (ProgType.XDP, 0)):
        codes = [insn(0x18, 1, 1, 0, fd) + insn(0) + _PASS for fd in maps]
        fds = _load(sides, (codes[0], codes[1]), kind=prog, flags=flags)
        assert min(fds[0], 0) == min(fds[1], 0), (prog, flags)
        results.append(min(fds[0], 0))
    assert results[0] == results[3] == 0


@pytest.mark.skipif(
    any(
        Path(f"/proc/sys/net/{version}/conf/lo/forwarding").read_text() != "0\n"
        for version in ("ipv4", "ipv6")
    ),
    reason="the loopback of this machine forwards",
)
@pytest.mark.parametrize("kind", [ProgType.XDP, ProgType.SCHED_CLS])
def test_what_fib_lookup_answers(sides: Sides, kind: ProgType) -> None:
    seen = set()
    sizes, ifindexes, families = (
        (64, 60, 72),
        (0, 1, 99999),
        (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX),
    )
    for size, ifindex, family in itertools.product(sizes, ifindexes, families):
        for flags in (0, 1, 63, 64, 1 << 32):
            code = b"".join(insn(0x7A, 10, 0, -8 * word) for word in range(1, 10))
            code += insn(0x72, 10, 0, -72, family) + insn(0x62, 10, 0, -64, ifindex)
            code += insn(0xBF, 2, 10) + insn(0x07, 2, 0, 0, -72) + load_value(3, size) + load_value(4, flags)
            answers = _run(sides, _load(sides, code + call(FuncId.fib_lookup) + insn(0x95), kind=kind))
            assert answers[0] == answers[1], (size, ifindex, family, flags)
            seen.add(answers[0])
    assert len(seen) == 4
