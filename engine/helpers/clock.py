"""Time helpers (kernel/bpf/helpers.c)."""

from engine.abi.bpf import FuncId
from engine.helpers.progtypes import NETWORKING
from engine.helpers.proto import Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import c_call, local, native, u64, udiv

__all__ = [
    "HZ",
    "jiffies64",
    "ktime_get_boot_ns",
    "ktime_get_coarse_ns",
    "ktime_get_ns",
    "ktime_get_tai_ns",
]

HZ = 250
"""Ticks a second of the modelled kernel (CONFIG_HZ)."""
_NS_PER_S = 1_000_000_000
_NS_PER_TICK = _NS_PER_S // HZ
_INITIAL_JIFFIES = 2**32 - 300 * HZ
"""Where jiffies start, so that wrapping bugs show in five minutes (include/linux/jiffies.h)."""
_MONOTONIC = 1
_MONOTONIC_COARSE = 6
_BOOTTIME = 7
_TAI = 11


@native(inline=True)
def _clock_ns(clock: int) -> int:
    """Nanoseconds of a clock of clock_gettime(2)."""
    time = local(16)
    c_call("clock_gettime", clock, time)
    return u64(time) * _NS_PER_S + u64(time + 8)


@helper(Proto(FuncId.ktime_get_ns, "bpf_ktime_get_ns", Ret.INTEGER))
@native(inline=True)
def ktime_get_ns(env: int) -> int:
    """Nanoseconds since boot, without time asleep."""
    return _clock_ns(_MONOTONIC)


@helper(Proto(FuncId.ktime_get_boot_ns, "bpf_ktime_get_boot_ns", Ret.INTEGER))
@native(inline=True)
def ktime_get_boot_ns(env: int) -> int:
    """Nanoseconds since boot, with time asleep."""
    return _clock_ns(_BOOTTIME)


@helper(Proto(FuncId.ktime_get_coarse_ns, "bpf_ktime_get_coarse_ns", Ret.INTEGER, progs=NETWORKING))
@native(inline=True)
def ktime_get_coarse_ns(env: int) -> int:
    """Nanoseconds since boot at the last tick."""
    return _clock_ns(_MONOTONIC_COARSE)


@helper(Proto(FuncId.ktime_get_tai_ns, "bpf_ktime_get_tai_ns", Ret.INTEGER))
@native(inline=True)
def ktime_get_tai_ns(env: int) -> int:
    """Nanoseconds of International Atomic Time."""
    return _clock_ns(_TAI)


@helper(Proto(FuncId.jiffies64, "bpf_jiffies64", Ret.INTEGER))
@native(inline=True)
def jiffies64(env: int) -> int:
    """Ticks since boot, from INITIAL_JIFFIES."""
    return _INITIAL_JIFFIES + udiv(_clock_ns(_MONOTONIC_COARSE), _NS_PER_TICK)
