"""engine.helpers.printk and clock: texts reach whoever prints, times are the machine's."""

import ctypes
import errno
import time
from collections.abc import Iterator

import pytest

from engine.env import Ctl, poke64
from engine.helpers.clock import HZ, jiffies64, ktime_get_boot_ns, ktime_get_coarse_ns, ktime_get_ns
from engine.helpers.printk import trace_printk, trace_vprintk
from engine.jit.lang import memcpy, native, put64, u64
from engine.machine import Machine


@native
def _capture(priv: int, env: int, text: int, size: int) -> int:
    """Keep a text: a u64 of its length and its bytes, after the u64 that counts calls."""
    put64(priv, u64(priv) + 1)
    put64(priv + 8, size)
    memcpy(priv + 16, text, size)
    return 0


class Printed:
    """A machine whose printk ends up in a buffer."""

    def __init__(self, machine: Machine) -> None:
        self._buffer = ctypes.create_string_buffer(4096)
        self.env = machine.new_env()
        poke64(machine.ctl + Ctl.PRINTK_PRIV, ctypes.addressof(self._buffer))
        poke64(machine.ctl + Ctl.PRINTK_FN, _capture.address)

    @property
    def calls(self) -> int:
        return int.from_bytes(self._buffer.raw[:8], "little")

    @property
    def text(self) -> bytes:
        size = int.from_bytes(self._buffer.raw[8:16], "little")
        return self._buffer.raw[16 : 16 + size]

    def printk(self, fmt: bytes, *args: int, size: int | None = None) -> int:
        buffer = ctypes.create_string_buffer(fmt)
        padded = [*args, 0, 0, 0][:3]
        return trace_printk(
            self.env, ctypes.addressof(buffer), len(buffer) if size is None else size, *padded
        )

    def vprintk(self, fmt: bytes, *args: int) -> int:
        buffer, array = ctypes.create_string_buffer(fmt), (ctypes.c_uint64 * max(1, len(args)))(*args)
        where = ctypes.addressof(array) if args else 0
        return trace_vprintk(self.env, ctypes.addressof(buffer), len(buffer), where, 8 * len(args))


@pytest.fixture
def printed() -> Iterator[Printed]:
    machine = Machine()
    yield Printed(machine)
    machine.close()


def test_a_text_and_its_length(printed: Printed) -> None:
    assert printed.printk(b"pid %d name %s\n", 7, 0) == 12
    assert printed.text == b"pid 7 name \n"
    assert printed.printk(b"%d %u %lx", 1, 2, 3) == 5
    assert printed.text == b"1 2 3"
    assert printed.calls == 2


def test_twelve_arguments_at_most(printed: Printed) -> None:
    assert printed.vprintk(b"%d" * 12, *range(12)) == 14
    assert printed.text == b"01234567891011"
    assert printed.vprintk(b"%d" * 13, *range(13)) == -errno.EINVAL
    assert printed.vprintk(b"no arguments") == 12
    assert printed.calls == 2


def test_what_is_refused_prints_nothing(printed: Printed) -> None:
    assert printed.printk(b"%d%d%d%d") == -errno.EINVAL
    assert printed.printk(b"%q", 1) == -errno.EINVAL
    assert printed.printk(b"no end", size=6) == -errno.EINVAL
    assert printed.calls == 0


def test_a_long_text_is_cut(printed: Printed) -> None:
    assert printed.printk(b"%2000d", 5) == 2000
    assert printed.text == b" " * 1023


def test_clocks() -> None:
    for helper, clock in ((ktime_get_ns, time.CLOCK_MONOTONIC), (ktime_get_boot_ns, time.CLOCK_BOOTTIME)):
        before, now, after = time.clock_gettime_ns(clock), helper(0), time.clock_gettime_ns(clock)
        assert before <= now <= after
    assert ktime_get_coarse_ns(0) <= ktime_get_ns(0)
    first = jiffies64(0)
    assert first >= 2**32 - 300 * HZ
    assert jiffies64(0) >= first
