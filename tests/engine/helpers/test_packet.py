"""engine.helpers.packet against the kernel, with a packet given to BPF_PROG_TEST_RUN."""

import ctypes
import os
import random
import struct
from contextlib import ExitStack

import pytest

from engine.abi.bpf import FuncId, ProgType
from engine.abi.ctx import SkBuff, XdpMd
from engine.helpers.checksums import l3_csum_replace, l4_csum_replace
from engine.helpers.packet import (
    csum_diff,
    skb_load_bytes,
    skb_pull_data,
    skb_store_bytes,
    xdp_get_buff_len,
    xdp_load_bytes,
    xdp_store_bytes,
)
from engine.jit.lang import Native
from tests import kernel_oracle
from tests.engine.helpers import kernel_helpers as kernel

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

PACKET = bytes(range(100))


class Context:
    """A packet and a context of ours."""

    def __init__(self, kind: ProgType) -> None:
        self.packet = ctypes.create_string_buffer(PACKET, len(PACKET))
        layout = XdpMd if kind == ProgType.XDP else SkBuff
        self._context = ctypes.create_string_buffer(int(layout.NATIVE_SIZE))
        start = ctypes.addressof(self.packet)
        end = start + len(PACKET)
        struct.pack_into("<QQ", self._context, layout.NATIVE_DATA, start, end)
        if kind == ProgType.XDP:
            struct.pack_into("<Q", self._context, XdpMd.NATIVE_BUFF_END, end)
        self.address = ctypes.addressof(self._context)


def _kernel(kind: ProgType, code: bytes, result_fd: int) -> tuple[int, bytes]:
    """Run a helper call with r1 the context: its answer and the packet afterwards."""
    store = kernel.insn(0xBF, 6, 0) + kernel.load_address(1, result_fd) + kernel.insn(0x7B, 1, 6, 0)
    verdict = kernel_oracle.load(code + store + kernel.insn(0xB7) + kernel.insn(0x95), kind, keep=True)
    assert verdict.accepted, verdict.log[-500:]
    error, _, _, packet = kernel_oracle.test_run(verdict.fd, PACKET)
    os.close(verdict.fd)
    assert error == 0
    return int(struct.unpack("<q", kernel.content_of(result_fd, 8))[0]), packet


_LOADS = [(skb_load_bytes, ProgType.SCHED_CLS), (xdp_load_bytes, ProgType.XDP)]
_STORES = [(skb_store_bytes, ProgType.SCHED_CLS), (xdp_store_bytes, ProgType.XDP)]
_PLACES = [(0, 8), (92, 8), (93, 8), (99, 1), (100, 1), (101, 1), (2**31 - 1, 4), (2**31, 4), (2**32 - 1, 4)]


@pytest.mark.parametrize(("function", "kind"), _LOADS)
@pytest.mark.parametrize(("offset", "size"), _PLACES)
def test_loads(function: Native, kind: ProgType, offset: int, size: int) -> None:
    with ExitStack() as stack:
        result, out = kernel.value_map(stack, bytes(8)), kernel.value_map(stack, b"\xee" * 16)
        code = kernel.load_value(2, offset) + kernel.load_address(3, out) + kernel.load_value(4, size)
        theirs, _ = _kernel(kind, code + kernel.call(FuncId[function.__name__]), result)
        content = kernel.content_of(out, 16)
    mine = ctypes.create_string_buffer(b"\xee" * 16, 16)
    assert function(0, Context(kind).address, offset, ctypes.addressof(mine), size) == theirs
    assert mine.raw == content


@pytest.mark.parametrize(("function", "kind"), _STORES)
@pytest.mark.parametrize(("offset", "size"), _PLACES)
def test_stores(function: Native, kind: ProgType, offset: int, size: int) -> None:
    with ExitStack() as stack:
        result, source = kernel.value_map(stack, bytes(8)), kernel.value_map(stack, b"\xaa" * 16)
        code = kernel.load_value(2, offset) + kernel.load_address(3, source) + kernel.load_value(4, size)
        code += kernel.load_value(5, 0)
        theirs, packet = _kernel(kind, code + kernel.call(FuncId[function.__name__]), result)
    context, mine = Context(kind), ctypes.create_string_buffer(b"\xaa" * 16, 16)
    args = (0, context.address, offset, ctypes.addressof(mine), size)
    assert function(*args, *([0] if function is skb_store_bytes else [])) == theirs
    assert context.packet.raw == packet


def test_flags_and_lengths() -> None:
    context = Context(ProgType.SCHED_CLS)
    assert skb_store_bytes(0, context.address, 0, context.address, 1, 4) == -22
    assert skb_pull_data(0, context.address, 100) == 0
    assert skb_pull_data(0, context.address, 101) == -12
    assert xdp_get_buff_len(0, Context(ProgType.XDP).address) == 100


def test_checksum_differences() -> None:
    rng = random.Random(3)
    for _ in range(40):
        sizes = [rng.choice([0, 4, 8, 20, 64, 6, 3]) for _ in range(2)]
        old, new = (rng.randbytes(size) for size in sizes)
        seed = rng.choice([0, 1, 0xFFFF, 0xFFFFFFFF, rng.getrandbits(32), rng.getrandbits(64)])
        with ExitStack() as stack:
            result = kernel.value_map(stack, bytes(8))
            code = b""
            for i, data in enumerate((old, new)):
                if data:
                    code += kernel.load_address(1 + 2 * i, kernel.value_map(stack, data))
                else:
                    code += kernel.load_value(1 + 2 * i, 0)
                code += kernel.load_value(2 + 2 * i, len(data))
            code += kernel.load_value(5, seed) + kernel.call(FuncId.csum_diff)
            theirs, _ = _kernel(ProgType.SCHED_CLS, code, result)
        a, b = (ctypes.create_string_buffer(data, max(1, len(data))) for data in (old, new))
        mine = csum_diff(0, ctypes.addressof(a), len(old), ctypes.addressof(b), len(new), seed)
        assert mine == theirs, (old, new, seed)


@pytest.mark.parametrize("function", [l3_csum_replace, l4_csum_replace])
def test_corrected_checksums(function: Native) -> None:
    rng = random.Random(5)
    for number in range(150):
        offset = rng.choice([0, 2, 16, 24, 24, 24, 98, 99, 100, 25, 0x10000, 2**32 + 24])
        size = rng.choice([0, 2, 2, 4, 4, 3])
        old = rng.choice([0, rng.getrandbits(16), rng.getrandbits(32), rng.getrandbits(64)])
        new = rng.choice([0, old, rng.getrandbits(16), rng.getrandbits(32), rng.getrandbits(64)])
        flags = size | rng.choice([0, 0, 0x10, 0x20, 0x60, 0x100])
        with ExitStack() as stack:
            result = kernel.value_map(stack, bytes(8))
            code = b"".join(
                kernel.load_value(2 + i, value) for i, value in enumerate((offset, old, new, flags))
            )
            theirs, packet = _kernel(
                ProgType.SCHED_CLS, code + kernel.call(FuncId[function.__name__]), result
            )
        context = Context(ProgType.SCHED_CLS)
        assert function(0, context.address, offset, old, new, flags) == theirs, number
        assert context.packet.raw == packet, (number, offset, old, new, flags)


@pytest.mark.parametrize("function", [l3_csum_replace, l4_csum_replace])
def test_the_two_zeros_of_checksums(function: Native) -> None:
    packet = b"\xff\xff" + PACKET[2:]
    with ExitStack() as stack:
        result = kernel.value_map(stack, bytes(8))
        fill = kernel.insn(0x61, 2, 1, 76) + kernel.insn(0x61, 3, 1, 80) + kernel.insn(0xBF, 4, 2)
        fill += kernel.insn(0x07, 4, imm=2) + kernel.insn(0x2D, 4, 3, 1) + kernel.insn(0x6A, 2, 0, 0, 0xFFFF)
        code = b"".join(kernel.load_value(2 + i, value) for i, value in enumerate((0, 0xFFFF, 0, 2)))
        theirs = _kernel(ProgType.SCHED_CLS, fill + code + kernel.call(FuncId[function.__name__]), result)
    context = Context(ProgType.SCHED_CLS)
    ctypes.memmove(context.packet, packet, len(packet))
    assert (function(0, context.address, 0, 0xFFFF, 0, 2), context.packet.raw) == theirs


def test_a_checksum_of_zero_is_none() -> None:
    for flags, wanted in ((0x22, 0), (0x62, 0xFFFF - 7), (0x02, 0xFFFF - 7)):
        context = Context(ProgType.SCHED_CLS)
        ctypes.memset(context.packet, 0, 2)
        assert l4_csum_replace(0, context.address, 0, 0, 7, flags) == 0
        assert struct.unpack_from("<H", context.packet)[0] == wanted
