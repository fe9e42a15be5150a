"""BPF_PROG_TEST_RUN with odd attributes and packets, given to the kernel and to engine.syscall alike."""

import errno
import random
import struct
from collections.abc import Iterator

import pytest

from engine.abi.bpf import Cmd, FuncId, ProgType
from engine.interruption import interruptible
from tests import kernel_oracle
from tests.engine.helpers.kernel_helpers import call, insn, load_value
from tests.engine.syscall.sides import Sides, address_of, both_sides, buffer

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

_EXIT = insn(0x95)
_SLEEPABLE = 1 << 4


def _ret(value: int) -> bytes:
    return insn(0xB7, imm=value) + _EXIT


def _field(offset: int) -> bytes:
    return insn(0x61, 0, 1, offset) + _EXIT


def _difference(high: int, low: int) -> bytes:
    return insn(0x61, 2, 1, low) + insn(0x61, 0, 1, high) + insn(0x1F, 0, 2) + _EXIT


def _writing(data: int, end: int) -> bytes:
    """Puts a byte behind 14 bytes of packet, if it is there."""
    head = insn(0x61, 2, 1, data) + insn(0x61, 3, 1, end) + insn(0xBF, 4, 2) + insn(0x07, 4, 0, 0, 15)
    return head + insn(0x2D, 4, 3, 1) + insn(0x72, 2, 0, 14, 0x5A) + _ret(1)


_CB = insn(0x62, 1, 0, 48, 77) + _ret(0)
_WORD = insn(0x79, 0, 1, 8) + insn(0x7A, 1, 0, 8, 5) + _EXIT
_PROGRAMS = {
    "filter": (ProgType.SOCKET_FILTER, [_ret(1), _CB, *map(_field, (0, 4, 16, 40, 48))]),
    "classifier": (ProgType.SCHED_CLS, [_CB, _writing(76, 80), *map(_field, (4, 8, 32, 36, 40, 160))]),
    "action": (ProgType.SCHED_ACT, [_writing(76, 80), _field(16), _field(164)]),
    "cgroup": (ProgType.CGROUP_SKB, [_ret(1), _CB, _ret(0)]),
    "xdp": (ProgType.XDP, [_ret(2), _writing(0, 4), _field(12), _difference(4, 0), _difference(0, 8)]),
    "raw": (ProgType.RAW_TRACEPOINT, [_ret(3), insn(0x79, 0, 1, 40) + _EXIT]),
    "syscall": (ProgType.SYSCALL, [_ret(4), _WORD]),
    "kprobe": (ProgType.KPROBE, [_ret(0)]),
}
_SIZES = [0, 13, 14, 15, 33, 34, 53, 54, 64, 100, 3500, 3520, 3521, 3712, 3713, 4096, 9000, 80000]
_TYPES = [b"\x08\0", b"\x86\xdd", b"\0\1", b"\x81\0"]
_ADDRESSES = [bytes(6), b"\xff" * 6, b"\1" + bytes(5), b"\2" + bytes(5)]
_DELTAS = [-400, -217, -216, -212, -100, -50, -8, -6, 0, 4, 8, 50, 51, 100, 304, 320, 3000]


@pytest.fixture
def sides() -> Iterator[Sides]:
    with both_sides() as both:
        yield both


def _load(sides: Sides, kind: ProgType, code: bytes) -> tuple[int, int]:
    insns, licence = buffer(code), buffer(b"GPL\0")
    raw = struct.pack("<IIQQ", kind, len(code) // 8, address_of(insns), address_of(licence))
    flags = _SLEEPABLE if kind == ProgType.SYSCALL else 0
    raw = (raw.ljust(44, b"\0") + struct.pack("<I", flags)).ljust(144, b"\0")
    fds = sides.open(0, Cmd.PROG_LOAD, raw), sides.open(1, Cmd.PROG_LOAD, raw)
    assert min(fds) > 0, (kind.name, code.hex(), fds)
    return fds


class Attempt:
    """One call, drawn at random: the same bytes for both sides."""

    def __init__(self, rng: random.Random, kind: ProgType) -> None:
        plain = kind in (ProgType.RAW_TRACEPOINT, ProgType.SYSCALL) and rng.random() < 0.7
        size = 0 if plain else rng.choice(_SIZES)
        packet = rng.choice(_ADDRESSES) + bytes(6) + rng.choice(_TYPES) + rng.randbytes(size)
        self.data = packet[:size]
        self.ctx = self._context(rng, kind, size)
        self.room = 0 if plain else rng.choice([0, 4, 14, 64, 8192])
        self.ctx_room = 0 if plain else rng.choice([0, 0, 4, 64, 400])
        self.repeat = 0 if plain else rng.choice([0, 1, 3])
        self.rest = struct.pack(
            "<III", rng.choice([0] * 8 + [1, 8]), rng.choice([0] * 8 + [99]), rng.choice([0] * 8 + [1])
        )
        self.length, self.tail = (
            rng.choice([80] * 8 + [64, 40, 20]),
            rng.choice([b""] * 8 + [bytes(8), b"\1"]),
        )
        self.wrong = rng.choice([""] * 10 + ["ctx size", "data_out", "ctx_out"])

    def __repr__(self) -> str:
        return f"{len(self.data)} {self.ctx.hex()} {self.room} {self.ctx_room} {self.rest.hex()} {self.wrong}"

    @staticmethod
    def _context(rng: random.Random, kind: ProgType, size: int) -> bytes:
        ctx = bytearray(rng.choice([0, 0, 4, 24, 64, 96, 192, 200, 300]))
        if kind in (ProgType.RAW_TRACEPOINT, ProgType.SYSCALL):
            return rng.randbytes(len(ctx))
        for _ in range(rng.choice([0, 0, 1, 2])):
            at = rng.randrange(max(1, len(ctx) // 4)) * 4
            # Which other devices there are depends on the machine.
            if at + 4 <= len(ctx) and not (at == 40 or (kind == ProgType.XDP and at == 12)):
                struct.pack_into("<I", ctx, at, rng.choice([1, 5, 64, size, 0xFFFF_FFFF]))
        if kind == ProgType.XDP and len(ctx) >= 12 and rng.random() < 0.7:
            end = rng.choice([size, size, size // 2, size + 1])
            struct.pack_into("<III", ctx, 0, rng.choice([0, 4, 32, 34, 216, 220]), end, 0)
        return bytes(ctx)

    def run(self, sides: Sides, side: int, fd: int) -> tuple[object, ...]:
        """Everything that can be seen afterwards, but for the time."""
        given, out = buffer(self.data + bytes(1)), buffer(b"\xee" * 9000)
        ctx, ctx_out = buffer(self.ctx + bytes(8)), buffer(b"\xee" * 512)
        raw = struct.pack(
            "<IIIIQQIIIIQQ",
            fd,
            9,
            len(self.data),
            self.room,
            address_of(given) if self.data else 0,
            address_of(out) if self.room and self.wrong != "data_out" else 0,
            self.repeat,
            0,
            8 if self.wrong == "ctx size" else len(self.ctx),
            self.ctx_room,
            address_of(ctx) if self.ctx else 0,
            address_of(ctx_out) if self.ctx_room and self.wrong != "ctx_out" else 0,
        )
        attr = buffer((raw + self.rest + bytes(4))[: self.length] + self.tail)
        result = sides.calls[side](Cmd.PROG_TEST_RUN, attr)
        seen = attr.raw.ljust(80, b"\0")
        numbers = [struct.unpack_from("<I", seen, at)[0] for at in (4, 12, 44)]
        return result, numbers, out.raw, ctx.raw, ctx_out.raw


@pytest.mark.parametrize("name", list(_PROGRAMS))
def test_odd_runs(sides: Sides, name: str) -> None:
    kind, codes = _PROGRAMS[name]
    rng = random.Random(name)
    for code in codes:
        fds = _load(sides, kind, code)
        for number in range(60):
            attempt = Attempt(rng, kind)
            answers = [attempt.run(sides, side, fds[side]) for side in (0, 1)]
            assert answers[0] == answers[1], (code.hex(), number, attempt)


@pytest.mark.parametrize("size", [60, 3520, 3521, 4000, 9000])
def test_frames_of_several_buffers(sides: Sides, size: int) -> None:
    packet = random.Random(size).randbytes(size)
    to = insn(0xBF, 3, 10) + insn(0x07, 3, 0, 0, -8)
    codes = [call(FuncId.xdp_get_buff_len) + _EXIT]
    for offset in (0, 52, 3510, 3516, 3520, size - 8, size - 7):
        load = to + load_value(2, offset) + load_value(4, 8) + call(FuncId.xdp_load_bytes)
        codes.append(load + insn(0x55, 0, 0, 1) + insn(0x61, 0, 10, -8) + _EXIT)
        fill = insn(0x7A, 10, 0, -8, 0x01020304)
        codes.append(
            to + fill + load_value(2, offset) + load_value(4, 8) + call(FuncId.xdp_store_bytes) + _EXIT
        )
    for code in codes:
        fds, answers = _load(sides, ProgType.XDP, code), []
        for side in (0, 1):
            given, out = buffer(packet), buffer(bytes(16384))
            raw = struct.pack("<IIIIQQII", fds[side], 0, size, 0, address_of(given), address_of(out), 1, 0)
            attr = buffer(raw.ljust(80, b"\0"))
            result = sides.calls[side](Cmd.PROG_TEST_RUN, attr)
            answers.append((result, struct.unpack_from("<I", attr, 4)[0], out.raw))
        assert answers[0] == answers[1], code.hex()
        assert answers[0][0] == 0


@pytest.mark.parametrize("helper", [FuncId.xdp_adjust_head, FuncId.xdp_adjust_meta, FuncId.xdp_adjust_tail])
@pytest.mark.parametrize("deltas", [(d,) for d in _DELTAS] + [(-32, 8), (40, -60), (-8, -8), (-300, -300)])
def test_moved_ends_of_frames(sides: Sides, helper: FuncId, deltas: tuple[int, ...]) -> None:
    code = insn(0xBF, 6, 1) + insn(0xB7, 7)
    for delta in deltas:
        code += (
            insn(0xBF, 1, 6)
            + insn(0xB7, 2, imm=delta)
            + call(helper)
            + insn(0x67, 7, imm=10)
            + insn(0x0F, 7, 0)
        )
    code += insn(0xBF, 0, 7) + _EXIT
    fds = _load(sides, ProgType.XDP, code)
    for size, meta, linear in ((64, 0, 64), (64, 8, 64), (3520, 0, 3520), (5000, 0, 5000), (400, 16, 300)):
        answers = []
        for side in (0, 1):
            given, out, ctx_out = buffer(bytes(range(250)) * 20), buffer(bytes(16384)), buffer(bytes(24))
            ctx = buffer(struct.pack("<III", meta, linear, 0))
            places = (address_of(given), address_of(out), 1, 0, 12, 24, address_of(ctx), address_of(ctx_out))
            attr = buffer(struct.pack("<IIIIQQIIIIQQ", fds[side], 0, size, 0, *places).ljust(80, b"\0"))
            result = sides.calls[side](Cmd.PROG_TEST_RUN, attr)
            numbers = struct.unpack_from("<I", attr, 4), struct.unpack_from("<I", attr, 12)
            answers.append((result, numbers, out.raw, ctx_out.raw))
        assert answers[0] == answers[1], (size, meta, linear)
        assert answers[0][0] == 0


def test_whoever_waits_for_many_runs_may_give_up(sides: Sides) -> None:
    fd = _load(sides, ProgType.XDP, _ret(2))[1]
    given = buffer(bytes(64))
    raw = struct.pack("<IIIIQQII", fd, 0, 64, 0, address_of(given), 0, 0xFFFF_FFFF, 0).ljust(80, b"\0")
    with interruptible(lambda: True):
        assert sides.engine(Cmd.PROG_TEST_RUN, buffer(raw)) == -errno.EINTR
