"""engine.helpers.strings: strtol, strtoul and strncmp, alone and against the kernel."""

import ctypes
import errno
import random
from contextlib import ExitStack

import pytest

from engine.abi.bpf import FuncId
from engine.helpers.strings import strncmp, strtol, strtoul
from engine.jit.lang import Native
from tests import kernel_oracle
from tests.engine.helpers import kernel_helpers as kernel

_reason = kernel_oracle.kernel_unavailable()
against_kernel = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")


def _parse(function: Native, text: bytes, flags: int) -> tuple[int, int]:
    """(bytes used or errno, number)"""
    buffer, out = ctypes.create_string_buffer(text, len(text)), ctypes.c_int64(-1)
    used = function(0, ctypes.addressof(buffer), len(text), flags, ctypes.addressof(out))
    return used, out.value


@pytest.mark.parametrize(
    ("text", "flags", "used", "number"),
    [
        (b"42", 0, 2, 42),
        (b"  -42x", 10, 5, -42),
        (b"0x1F", 0, 4, 31),
        (b"0x1f", 16, 4, 31),
        (b"017", 0, 3, 15),
        (b"9223372036854775807", 10, 19, 2**63 - 1),
        (b"9223372036854775808", 10, -errno.ERANGE, 0),
        (b"-9223372036854775808", 10, 20, -(2**63)),
        (b"abc", 10, -errno.EINVAL, 0),
        (b"", 10, -errno.EINVAL, 0),
        (b"1", 7, -errno.EINVAL, 0),
        (b"1", 1 << 5, -errno.EINVAL, 0),
    ],
)
def test_signed_numbers(text: bytes, flags: int, used: int, number: int) -> None:
    assert _parse(strtol, text, flags) == (used, number)


def test_unsigned_numbers_take_no_sign() -> None:
    assert _parse(strtoul, b"18446744073709551615", 10) == (20, -1)
    assert _parse(strtoul, b"18446744073709551616", 10)[0] == -errno.ERANGE
    assert _parse(strtoul, b"-1", 10)[0] == -errno.EINVAL


def test_strncmp_stops_at_size_and_nul() -> None:
    def compare(a: bytes, b: bytes, size: int) -> int:
        x, y = ctypes.create_string_buffer(a, 16), ctypes.create_string_buffer(b, 16)
        return strncmp(0, ctypes.addressof(x), size, ctypes.addressof(y))

    assert compare(b"abc", b"abd", 2) == 0
    assert compare(b"abc", b"abd", 3) == -1
    assert compare(b"b", b"a", 8) == 1
    assert compare(b"ab\0x", b"ab\0y", 8) == 0
    assert compare(b"\xff", b"\x01", 1) == 1


@against_kernel
@pytest.mark.parametrize(("helper", "function"), [(FuncId.strtol, strtol), (FuncId.strtoul, strtoul)])
def test_random_numbers_agree_with_the_kernel(helper: FuncId, function: Native) -> None:
    rng = random.Random(int(helper))
    for _ in range(120):
        sign = rng.choice([b"", b"", b"-", b" ", b" -", b"- ", b"+", b"\t\n"])
        prefix = rng.choice([b"", b"", b"0", b"0x", b"0X", b"0x0"])
        digits = bytes(
            rng.choices(
                rng.choice([b"01234567", b"0123456789", b"0123456789abcdefABCDEF"]),
                k=rng.choice([0, 1, 5, 15, 16, 19, 20, 21]),
            )
        )
        text = sign + prefix + digits + rng.choice([b"", b"\0", b" ", b"g", b"\n", b"z9"]) or b"\0"
        flags = rng.choice([0, 8, 10, 16, 16, 10, 0, 7, 32])
        with ExitStack() as stack:
            result, number = kernel.value_map(stack, bytes(8)), kernel.value_map(stack, b"\xff" * 8)
            source = kernel.value_map(stack, text)
            code = kernel.load_address(1, source) + kernel.load_value(2, len(text))
            code += kernel.load_value(3, flags) + kernel.load_address(4, number) + kernel.call(helper)
            theirs = kernel.run(code, result)
            stored = int.from_bytes(kernel.content_of(number, 8), "little", signed=True)
        mine = _parse(function, text, flags)
        assert mine[0] == theirs, (text, flags)
        if theirs > 0:
            assert mine[1] == stored, (text, flags)
