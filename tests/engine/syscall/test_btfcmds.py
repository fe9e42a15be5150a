"""Type information through bpf(2), given to the kernel and to engine.syscall alike."""

import errno
import struct
from collections.abc import Iterator

import pytest

from engine.abi.bpf import Cmd, MapType, ProgType
from engine.btf import Btf
from engine.btf.build import BtfBuilder
from engine.btf.ext import CoreKind
from engine.btf.types import Encoding, Linkage, Member, Param
from engine.isa import assemble, encode
from engine.kernel.btf import kernel_btf
from tests import kernel_oracle
from tests.engine.syscall.sides import Sides, address_of, both_sides, buffer

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")


@pytest.fixture
def sides() -> Iterator[Sides]:
    with both_sides() as both:
        yield both


def _blob() -> tuple[bytes, dict[str, int]]:
    b = BtfBuilder()
    number = b.integer("int", 4, Encoding.SIGNED)
    pair = b.struct("pair", 8, [Member("a", number, 0), Member("b", number, 32)])
    proto = b.func_proto(number, [Param("ctx", b.pointer(0))])
    ids = {"int": number, "pair": pair}
    for name in ("main", "sub"):
        ids[name] = b.func(name, proto, Linkage.STATIC)
    return b.encode(), ids


def _load_attr(data: bytes, log: bytes = b"", level: int = 0) -> tuple[bytes, list[object]]:
    blob, room = buffer(data), buffer(log) if log else None
    raw = struct.pack("<QQIIII", address_of(blob), address_of(room), len(data), len(log), level, 0)
    return raw, [blob, room]


def _load(sides: Sides) -> tuple[int, int]:
    raw, keep = _load_attr(_blob()[0])
    fds = sides.open(0, Cmd.BTF_LOAD, raw), sides.open(1, Cmd.BTF_LOAD, raw)
    assert min(fds) > 0, keep
    return fds


def test_loading(sides: Sides) -> None:
    good = _blob()[0]
    kinds = [
        good,
        good[1::-1] + good[2:],
        good[:2] + b"\2" + good[3:],
        good[:-1],
        good[:20],
        b"",
        good[:3] + b"\1" + good[4:],
        good[:24] + b"\0" * 12 + good[36:],
    ]
    for data in kinds:
        for size, level in ((0, 0), (4096, 1), (4096, 0), (16, 1), (0, 1), (4096, 16), (40, 9)):
            answers = []
            for side in (0, 1):
                room = buffer(b"\xee" * size) if size else None
                blob = buffer(data, max(1, len(data)))
                raw = struct.pack("<QQIIII", address_of(blob), address_of(room), len(data), size, level, 0)
                attr = buffer(raw)
                result = sides.open(side, Cmd.BTF_LOAD, attr)
                whole = struct.unpack_from("<I", attr, 28)[0]
                answers.append((min(result, 0), whole, room.raw if room is not None else b""))
            assert answers[0] == answers[1], (
                data[:40].hex(),
                size,
                level,
                answers[0][2][:200],
                answers[1][2][:200],
            )


def test_attributes(sides: Sides) -> None:
    raw, keep = _load_attr(_blob()[0])
    for attr in (raw[:28], raw, raw + bytes(8), raw + struct.pack("<II", 1, 0), raw.ljust(60, b"\0") + b"\1"):
        answers = [min(sides.open(side, Cmd.BTF_LOAD, attr), 0) for side in (0, 1)]
        assert answers[0] == answers[1], (attr.hex(), keep)
    for attr in (struct.pack("<II", 2**31 - 1, 0), struct.pack("<III", 0, 0, 1)):
        assert sides.calls[0](Cmd.BTF_GET_NEXT_ID, buffer(attr)) == sides.engine(
            Cmd.BTF_GET_NEXT_ID, buffer(attr)
        )
    for attr in (struct.pack("<I", 2**31 - 2), struct.pack("<III", 2**31 - 2, 0, 1)):
        answers = [call(Cmd.BTF_GET_FD_BY_ID, buffer(attr)) for call in sides.calls]
        assert answers[0] == answers[1] < 0


def test_information(sides: Sides) -> None:
    fds, size = _load(sides), len(_blob()[0])
    for length, blob_room, name_room in ((32, 4096, 16), (32, 10, 0), (32, 0, 1), (16, 4096, 0), (40, 0, 0)):
        answers = []
        for side in (0, 1):
            blob, name = buffer(b"\xee" * 4096), buffer(b"\xee" * 16)
            places = (address_of(blob) if blob_room else 0, address_of(name) if name_room else 0)
            info = buffer(struct.pack("<QIIQII", places[0], blob_room, 0, places[1], name_room, 9), 64)
            result = sides.info(side, fds[side], info, length)
            fields = struct.unpack_from("<QIIQII", info)
            answers.append((result, blob.raw, name.raw, fields[1], fields[4:], bool(fields[2])))
        assert answers[0] == answers[1], (length, blob_room, name_room)
        assert answers[0][3] == size


def test_the_kernels_own_types_come_first(sides: Sides) -> None:
    for side in (0, 1):
        attr = buffer(struct.pack("<II", 0, 0))
        assert sides.calls[side](Cmd.BTF_GET_NEXT_ID, attr) == 0
        number = struct.unpack_from("<I", attr, 4)[0]
        fd = sides.open(side, Cmd.BTF_GET_FD_BY_ID, struct.pack("<I", number))
        name = buffer(bytes(16))
        info = buffer(struct.pack("<QIIQII", 0, 0, 0, address_of(name), 16, 0))
        assert sides.info(side, fd, info) == (0, 32)
        assert (name.value, struct.unpack_from("<I", info, 28)) == (b"vmlinux", (1,))
        # No map or program may have types of the kernel.
        raw = struct.pack("<IIIII", MapType.ARRAY, 4, 8, 1, 0).ljust(48, b"\0") + struct.pack(
            "<III", fd, 1, 1
        )
        assert sides.open(side, Cmd.MAP_CREATE, raw.ljust(72, b"\0")) == -errno.EACCES


def test_maps_with_types(sides: Sides) -> None:
    fds, ids = _load(sides), _blob()[1]
    plain = [
        sides.open(side, Cmd.MAP_CREATE, struct.pack("<IIIII", MapType.ARRAY, 4, 8, 1, 0)) for side in (0, 1)
    ]
    for key, value in (
        (ids["int"], ids["pair"]),
        (0, ids["pair"]),
        (ids["int"], 0),
        (ids["pair"], 1),
        (1, 99),
    ):
        for which in ("types", "map", "none"):
            answers = []
            for side in (0, 1):
                fd = {"types": fds[side], "map": plain[side], "none": -1}[which]
                raw = struct.pack("<IIIII", MapType.ARRAY, 4, 8, 1, 0).ljust(48, b"\0")
                raw = (raw + struct.pack("<iII", fd, key, value)).ljust(72, b"\0")
                made = sides.open(side, Cmd.MAP_CREATE, raw)
                info = buffer(bytes(88))
                if made >= 0:
                    assert sides.info(side, made, info) == (0, 88)
                fields = struct.unpack_from("<III", info, 64)
                answers.append((min(made, 0), bool(fields[0]), fields[1:]))
            assert answers[0] == answers[1], (key, value, which)


def test_programs_with_types(sides: Sides) -> None:
    fds, ids = _load(sides), _blob()[1]
    code = encode(assemble("r1 = 1\ncall pc+1\nexit\nr0 = r1\nexit"))
    funcs = struct.pack("<IIII", 0, ids["main"], 3, ids["sub"])
    lines = struct.pack("<IIIIIIII", 0, 1, 5, 1 << 10 | 2, 3, 5, 1, 2 << 10 | 3)
    answers = []
    for side in (0, 1):
        insns, licence, funcs_in, lines_in = buffer(code), buffer(b"GPL\0"), buffer(funcs), buffer(lines)
        raw = struct.pack(
            "<IIQQ", ProgType.SOCKET_FILTER, len(code) // 8, address_of(insns), address_of(licence)
        ).ljust(72, b"\0")
        raw += struct.pack("<IIQIIQI", fds[side], 8, address_of(funcs_in), 2, 16, address_of(lines_in), 2)
        prog = sides.open(side, Cmd.PROG_LOAD, raw.ljust(144, b"\0"))
        assert prog > 0
        funcs_out, lines_out, tags = buffer(b"\xee" * 32), buffer(b"\xee" * 64), buffer(bytes(64))
        for rooms in ((0, 0, 0, 0), (2, 2, 8, 16), (1, 1, 8, 16), (9, 9, 8, 16), (2, 2, 4, 16), (0, 0, 8, 0)):
            info = buffer(bytes(232))
            struct.pack_into("<IQII", info, 132, rooms[2], address_of(funcs_out), rooms[0], rooms[1])
            struct.pack_into("<Q", info, 152, address_of(lines_out))
            struct.pack_into("<I4xIQ", info, 172, rooms[3], 0, address_of(tags))
            result = sides.info(side, prog, info)
            numbers = struct.unpack_from("<II", info, 144)
            sizes = [struct.unpack_from("<I", info, at)[0] for at in (132, 172, 176)]
            typed = bool(struct.unpack_from("<I", info, 128)[0])
            answers.append((result, numbers, sizes, typed, funcs_out.raw, lines_out.raw))
    half = len(answers) // 2
    for number in range(half):
        assert answers[number] == answers[half + number], number
    assert answers[1][1] == (2, 2)


def test_infos_of_every_length(sides: Sides) -> None:
    raw = struct.pack("<IIIII16x16s", MapType.ARRAY, 4, 8, 1, 0, b"").ljust(72, b"\0")
    fds = [sides.open(side, Cmd.MAP_CREATE, raw) for side in (0, 1)]
    for length, tail in ((0, 0), (4, 0), (30, 0), (88, 0), (200, 0), (200, 1), (4096, 0), (4097, 0)):
        answers = []
        for side in (0, 1):
            info = buffer(bytes(199) + bytes([tail]), 8192)
            result, written = sides.info(side, fds[side], info, length)
            answers.append((result, min(written, 88), info.raw[:4], info.raw[8:64]))
        assert answers[0] == answers[1], (length, tail)


def test_longer_records(sides: Sides) -> None:
    fds, ids = _load(sides), _blob()[1]
    code = encode(assemble("r0 = 0\nexit"))
    insns, licence = buffer(code), buffer(b"GPL\0")
    head = struct.pack("<IIQQ", ProgType.SOCKET_FILTER, 2, address_of(insns), address_of(licence)).ljust(
        72, b"\0"
    )
    for size, tail in ((12, 0), (12, 1), (252, 0), (252, 1), (256, 0), (7, 0)):
        for func in (True, False):
            row = struct.pack("<II", 0, ids["main"]) if func else struct.pack("<IIII", 0, 1, 5, 1 << 10)
            records = buffer(row.ljust(255, b"\0") + b"\0"), buffer(struct.pack("<II", 0, ids["main"]))
            if tail:
                records[0][size - 1] = b"\1"
            answers = []
            for side in (0, 1):
                mine = struct.pack("<IQI", size, address_of(records[0]), 1)
                plain = struct.pack("<IQI", 8, address_of(records[1]), 1)
                raw = head + struct.pack("<I", fds[side]) + (mine if func else plain + mine)
                attr = buffer(raw.ljust(144, b"\0"))
                result = sides.open(side, Cmd.PROG_LOAD, attr)
                answers.append((min(result, 0), attr.raw[76:80], attr.raw[92:96]))
            assert answers[0] == answers[1], (size, tail, func)


def _relocated(sides: Sides, kind: CoreKind, access: str, insn_off: int = 0) -> list[int]:
    """Results of `r0 = 0` with one relocation of a task's pid, by the kernel and by the engine."""
    b = BtfBuilder()
    number = b.integer("int", 4, Encoding.SIGNED)
    task = b.struct("task_struct", 4, [Member("pid", number, 0)])
    main = b.func("main", b.func_proto(number, [Param("ctx", b.pointer(0))]), Linkage.STATIC)
    blob = bytearray(b.encode())
    text_at, text_len = struct.unpack_from("<II", blob, 16)
    text = access.encode() + b"\0"
    struct.pack_into("<I", blob, 20, text_len + len(text))
    load, keep = _load_attr(bytes(blob) + text)
    code = encode(assemble("r0 = 0\nexit"))
    found = []
    for side in (0, 1):
        types = sides.open(side, Cmd.BTF_LOAD, load)
        insns, licence = buffer(code), buffer(b"GPL\0")
        funcs, relos = (
            buffer(struct.pack("<II", 0, main)),
            buffer(struct.pack("<IIII", insn_off, task, text_len, kind)),
        )
        head = struct.pack("<IIQQ", ProgType.SOCKET_FILTER, 2, address_of(insns), address_of(licence))
        raw = head.ljust(72, b"\0") + struct.pack("<IIQI", types, 8, address_of(funcs), 1)
        raw = raw.ljust(116, b"\0") + struct.pack("<I8xQI", 1, address_of(relos), 16)
        prog = sides.open(side, Cmd.PROG_LOAD, raw.ljust(144, b"\0"))
        if prog < 0:
            found.append(prog)
            continue
        packet = buffer(bytes(64))
        attr = buffer(struct.pack("<IIIIQ", prog, 0, 64, 0, address_of(packet)).ljust(80, b"\0"))
        assert sides.calls[side](Cmd.PROG_TEST_RUN, attr) == 0, (text_at, keep)
        found.append(struct.unpack_from("<I", attr, 4)[0])
    return found


def test_relocations_that_are_left_to_the_kernel(sides: Sides) -> None:
    offsets = _relocated(sides, CoreKind.FIELD_BYTE_OFFSET, "0:0")
    assert offsets[1] == Btf(kernel_btf()).member(Btf(kernel_btf()).find("task_struct") or 0, "pid")[0] // 8
    assert offsets[0] > 0
    # The instruction does not hold what the compiler must have put there.
    assert _relocated(sides, CoreKind.FIELD_EXISTS, "0:0") == [-errno.EINVAL] * 2
    for access, insn_off in (("0:1", 0), ("0:0", 4), ("0:0", 80), ("x", 0)):
        theirs, ours = _relocated(sides, CoreKind.FIELD_BYTE_OFFSET, access, insn_off)
        assert theirs == ours < 0, (access, insn_off)
