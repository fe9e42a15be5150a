"""Programs through bpf(2): loading, running, information, given to the kernel and to engine.syscall alike."""

import ctypes
import errno
import os
import random
import struct
from collections.abc import Callable, Iterator

import pytest

from engine.abi.bpf import AttachType, Cmd, FuncId, MapType, ProgType
from engine.btf import Btf, Kind
from engine.errors import KernelError
from engine.isa import assemble, encode
from engine.kernel.btf import kernel_btf
from engine.machine import Machine
from engine.syscall import BpfCaller, bpf
from tests import kernel_oracle
from tests.engine.helpers.kernel_helpers import call, insn, load_address, load_value

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

Call = Callable[[Cmd, ctypes.Array[ctypes.c_char]], int]
EXIT = insn(0xB7) + insn(0x95)


class Sides:
    """The kernel and the engine behind the same call."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._caller = BpfCaller()
        self._opened: list[int] = []

    def calls(self) -> list[Call]:
        return [kernel_oracle.bpf, self.engine]

    def engine(self, command: Cmd, attr: ctypes.Array[ctypes.c_char]) -> int:
        try:
            return bpf(self._machine, self._caller, command, ctypes.addressof(attr), len(attr))
        except KernelError as error:
            return -error.errno

    def keep(self, side: int, fd: int) -> int:
        """Remember a descriptor of the kernel to close."""
        if side == 0 and fd >= 0:
            self._opened.append(fd)
        return fd

    def close(self) -> None:
        for fd in self._opened:
            os.close(fd)


@pytest.fixture
def sides() -> Iterator[Sides]:
    machine = Machine()
    both = Sides(machine)
    yield both
    both.close()
    machine.close()


def _load(
    function: Call,
    code: bytes,
    kind: int,
    *,
    level: int = 0,
    log: ctypes.Array[ctypes.c_char] | None = None,
    name: bytes = b"",
) -> tuple[int, int]:
    """(descriptor or errno, log_true_size)"""
    insns, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    raw = struct.pack(
        "<IIQQIIQII16s",
        kind,
        len(code) // 8,
        ctypes.addressof(insns),
        ctypes.addressof(licence),
        level,
        len(log) if log is not None else 0,
        ctypes.addressof(log) if log is not None else 0,
        0,
        0,
        name,
    ).ljust(144, b"\0")
    attr = ctypes.create_string_buffer(raw, len(raw))
    result = function(Cmd.PROG_LOAD, attr)
    return result, struct.unpack_from("<I", attr, 140)[0]


class Run:
    """One BPF_PROG_TEST_RUN."""

    def __init__(
        self, function: Call, fd: int, data: bytes, ctx: bytes = b"", room: int = 0, repeat: int = 1
    ) -> None:
        din, cin = (
            ctypes.create_string_buffer(data, max(1, len(data))),
            ctypes.create_string_buffer(ctx, max(1, len(ctx))),
        )
        dout = ctypes.create_string_buffer(b"\xee" * 4096, 4096)
        raw = struct.pack(
            "<IIIIQQIIIIQQIIII",
            fd,
            0,
            len(data),
            room,
            ctypes.addressof(din) if data else 0,
            ctypes.addressof(dout) if room else 0,
            repeat,
            0,
            len(ctx),
            0,
            ctypes.addressof(cin) if ctx else 0,
            0,
            0,
            0,
            0,
            0,
        )
        attr = ctypes.create_string_buffer(raw, 80)
        self.result = function(Cmd.PROG_TEST_RUN, attr)
        self.retval, self.size_out = (
            struct.unpack_from("<I", attr, 4)[0],
            struct.unpack_from("<I", attr, 12)[0],
        )
        self.data = dout.raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.retval)

    def __repr__(self) -> str:
        return f"Run({self.result}, {self.retval:#x}, {self.size_out}, {self.data[:80].hex()})"


def _both(sides: Sides, code: bytes, kind: int, data: bytes, **options: int) -> Run:
    """Load and run in both; the answers must agree."""
    answers = []
    for side, function in enumerate(sides.calls()):
        fd, _ = _load(function, code, kind)
        assert sides.keep(side, fd) >= 0
        answers.append(Run(function, fd, data, room=4096, **options))
    assert answers[0] == answers[1]
    return answers[1]


@pytest.mark.parametrize(
    "kind", [ProgType.SOCKET_FILTER, ProgType.SCHED_CLS, ProgType.XDP, ProgType.CGROUP_SKB]
)
@pytest.mark.parametrize("size", [0, 1, 13, 14, 15, 60, 1500, 3520, 3521, 3712, 3713])
def test_packets_of_every_size(sides: Sides, kind: ProgType, size: int) -> None:
    _both(
        sides,
        insn(0xB7, imm=1) + insn(0x95),
        kind,
        bytes(range(256)) * (size // 256) + bytes(range(size % 256)),
    )


@pytest.mark.parametrize("offset", [0, 4, 8, 16, 32, 40, 48, 64, 68])
@pytest.mark.parametrize("kind", [ProgType.SOCKET_FILTER, ProgType.SCHED_CLS])
def test_fields_of_the_context(sides: Sides, kind: ProgType, offset: int) -> None:
    packet = bytes(range(12)) + b"\x08\x00" + bytes(range(100))
    assert _both(sides, insn(0x61, 0, 1, offset) + insn(0x95), kind, packet).result == 0


def test_what_a_filter_loads(sides: Sides) -> None:
    packet = bytes(range(200))
    for offset in (0, 1, 100, 170, 190, -1):
        out = insn(0xBF, 3, 10) + insn(0x07, 3, 0, 0, -16) + load_value(2, offset) + load_value(4, 16)
        code = out + call(FuncId.skb_load_bytes) + insn(0x55, 0, 0, 1) + insn(0x61, 0, 10, -16) + insn(0x95)
        _both(sides, code, ProgType.SOCKET_FILTER, packet)
        legacy = insn(0xBF, 6, 1) + insn(0x20, imm=offset) + insn(0x95)
        if offset >= 0:
            _both(sides, legacy, ProgType.SOCKET_FILTER, packet)


def test_what_a_classifier_writes(sides: Sides) -> None:
    head = insn(0x61, 2, 1, 76) + insn(0x61, 3, 1, 80) + insn(0xBF, 4, 2) + insn(0x07, 4, 0, 0, 40)
    body = insn(0x2D, 4, 3, 2) + insn(0x7A, 2, 0, 8, 0x01020304) + insn(0x62, 2, 0, 30, -2)
    run = _both(sides, head + body + EXIT, ProgType.SCHED_CLS, bytes(64))
    assert run.data[8:12] == b"\4\3\2\1"


def test_raw_tracepoints_take_arguments(sides: Sides) -> None:
    code = insn(0x79, 0, 1, 0) + insn(0x79, 2, 1, 8) + insn(0x0F, 0, 2) + insn(0x95)
    for ctx in (b"", struct.pack("<Q", 1), struct.pack("<QQ", 40, 2), bytes(96), bytes(104)):
        answers = []
        for side, function in enumerate(sides.calls()):
            fd, _ = _load(function, code, ProgType.RAW_TRACEPOINT)
            answers.append(Run(function, sides.keep(side, fd), b"", ctx, repeat=0))
        assert answers[0] == answers[1]


def test_tracepoints_have_no_test_run(sides: Sides) -> None:
    answers = []
    for side, function in enumerate(sides.calls()):
        fd, _ = _load(function, EXIT, ProgType.TRACEPOINT)
        answers.append(Run(function, sides.keep(side, fd), bytes(64)).result)
    assert answers == [-524, -524]


def test_a_short_buffer_gets_what_fits(sides: Sides) -> None:
    answers = []
    for side, function in enumerate(sides.calls()):
        fd, _ = _load(function, EXIT, ProgType.XDP)
        answers.append(Run(function, sides.keep(side, fd), bytes(range(64)), room=10))
    assert answers[0] == answers[1]
    assert answers[0].result == -errno.ENOSPC


_LOGGED = {
    "accepted": "r6 = 1\nif r1 == 0 goto +1\nr6 = 3\nr0 = 0\nexit",
    "refused": "r6 = 1\nr0 = *(u64 *)(r10 +8)\nexit",
    "refused at once": "r0 = 0\nr0 = 1",
}


@pytest.mark.parametrize("text", _LOGGED.values(), ids=_LOGGED.keys())
@pytest.mark.skipif(not os.uname().release.startswith("6.18"), reason="the log is that of Linux 6.18")
def test_logs_and_their_room(sides: Sides, text: str) -> None:
    code = encode(assemble(text))
    for level in (0, 1, 2, 3, 8, 9, 10, 16):
        for room in (0, 1, 2, 10, 97, 98, 99, 150, 200, 300, 4096):
            answers = []
            for side, function in enumerate(sides.calls()):
                log = ctypes.create_string_buffer(room) if room else None
                result, true_size = _load(function, code, ProgType.SOCKET_FILTER, level=level, log=log)
                sides.keep(side, result)
                answers.append((min(result, 0), true_size, log.value if log is not None else b""))
            assert answers[0] == answers[1], (level, room)


def test_tracing_programs_are_loaded_for_functions_of_the_model(sides: Sides) -> None:
    kernel = Btf(kernel_btf())
    target = kernel.find("do_sys_openat2", Kind.FUNC)
    assert target is not None
    insns, licence = ctypes.create_string_buffer(EXIT, len(EXIT)), ctypes.create_string_buffer(b"GPL")
    raw = struct.pack("<IIQQ", ProgType.TRACING, 2, ctypes.addressof(insns), ctypes.addressof(licence))
    raw = raw.ljust(68, b"\0") + struct.pack("<I", AttachType.TRACE_FENTRY)
    raw = raw.ljust(108, b"\0") + struct.pack("<I", target)
    assert sides.engine(Cmd.PROG_LOAD, ctypes.create_string_buffer(raw, 144)) > 0


def test_what_cannot_be_loaded(sides: Sides) -> None:
    cases = [
        (b"", ProgType.SOCKET_FILTER, b""),
        (EXIT, 99, b""),
        (EXIT, ProgType.UNSPEC, b""),
        (EXIT, ProgType.XDP, b"bad name"),
        (load_address(1, 9999) + EXIT, ProgType.XDP, b""),
        (EXIT[:8], ProgType.XDP, b""),
    ]
    for code, kind, name in cases:
        answers = [_load(function, code, kind, name=name)[0] for function in sides.calls()]
        assert answers[0] == answers[1] < 0, (code, kind, name)


def test_programs_use_maps_by_descriptor_and_tell_about_themselves(sides: Sides) -> None:
    rng = random.Random(1)
    infos = []
    for side, function in enumerate(sides.calls()):
        raw = struct.pack("<IIIII", MapType.ARRAY, 4, 8, 1, 0)
        used = sides.keep(side, function(Cmd.MAP_CREATE, ctypes.create_string_buffer(raw, len(raw))))
        code = load_address(2, used) + insn(0x7A, 2, 0, 0, 77) + insn(0x79, 0, 2) + insn(0x95)
        fd, _ = _load(function, code, ProgType.XDP, name=b"counts")
        assert Run(function, sides.keep(side, fd), rng.randbytes(64)).retval == 77
        ids, info = ctypes.create_string_buffer(4), ctypes.create_string_buffer(232)
        struct.pack_into("<IQ", info, 52, 1, ctypes.addressof(ids))
        attr = ctypes.create_string_buffer(struct.pack("<IIQ", fd, 232, ctypes.addressof(info)), 16)
        assert function(Cmd.OBJ_GET_INFO_BY_FD, attr) == 0
        kind, number, tag, _jited, xlated = struct.unpack_from("<II8sII", info)
        assert number > 0
        assert struct.unpack("<I", ids.raw)[0] > 0
        name = info.raw[64:80]
        infos.append((kind, len(tag), xlated, struct.unpack_from("<I", info, 52), name, info.raw[84]))
        map_info = ctypes.create_string_buffer(88)
        attr = ctypes.create_string_buffer(struct.pack("<IIQ", used, 88, ctypes.addressof(map_info)), 16)
        assert function(Cmd.OBJ_GET_INFO_BY_FD, attr) == 0
        infos.append((map_info.raw[:4], map_info.raw[8:40]))
    assert infos[:2] == infos[2:]


_ODD = [
    (0, 0),
    (0, 99),
    (4, 0),
    (4, 1_000_001),
    (8, 8),
    (16, 8),
    (24, 16),
    (28, 4096),
    *((44, 1 << bit) for bit in (0, 1, 2, 3, 5, 6, 7, 8, 10, 13, 20)),
    (64, 1),
    (64, 9999),
    *((68, attach) for attach in (1, 2, 23, 24, 37, 99)),
    (72, 9999),
    (88, 1),
    (104, 1),
    (108, 1),
    (108, 99_999_999),
    (112, 9999),
]


@pytest.mark.parametrize(("at", "value"), _ODD)
def test_odd_attributes(sides: Sides, at: int, value: int) -> None:
    insns, licence = ctypes.create_string_buffer(EXIT, len(EXIT)), ctypes.create_string_buffer(b"GPL")
    for kind in (
        ProgType.SOCKET_FILTER,
        ProgType.KPROBE,
        ProgType.SCHED_CLS,
        ProgType.XDP,
        ProgType.CGROUP_SKB,
    ):
        raw = struct.pack("<IIQQ", kind, 2, ctypes.addressof(insns), ctypes.addressof(licence)).ljust(
            144, b"\0"
        )
        attr = ctypes.create_string_buffer(raw, 168)
        if at in (8, 16):
            struct.pack_into("<Q", attr, at, value)
        else:
            # Descriptor 0 is somebody's: name one that is nobody's.
            struct.pack_into("<I", attr, 72, 9998 if at in (88, 104) else 0)
            struct.pack_into("<I", attr, at, value)
        answers = [function(Cmd.PROG_LOAD, attr) for function in sides.calls()]
        sides.keep(0, answers[0])
        assert min(answers[0], 0) == min(answers[1], 0), kind.name
