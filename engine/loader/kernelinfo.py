"""What an object may ask of the kernel that it is loaded into."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from engine.btf import Btf
from engine.helpers.clock import HZ
from engine.kernel.btf import kernel_btf
from engine.kernel.functions import symbol_table

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["KERNEL_VERSION", "MODEL_CONFIG", "KernelInfo", "kernel_version", "modelled_kernel"]


def kernel_version(major: int, minor: int, patch: int = 0) -> int:
    """KERNEL_VERSION(a, b, c) of <linux/version.h>."""
    return major << 16 | minor << 8 | min(patch, 255)


KERNEL_VERSION = kernel_version(6, 1)
"""Version whose interface is modelled."""


MODEL_CONFIG: Mapping[str, str] = {
    "CONFIG_64BIT": "y",
    "CONFIG_ARCH_HAS_SYSCALL_WRAPPER": "y",
    "CONFIG_BPF": "y",
    "CONFIG_BPF_EVENTS": "y",
    "CONFIG_BPF_JIT": "y",
    "CONFIG_BPF_SYSCALL": "y",
    "CONFIG_DEBUG_INFO_BTF": "y",
    "CONFIG_FTRACE_SYSCALLS": "y",
    "CONFIG_HZ": str(HZ),
    "CONFIG_KPROBES": "y",
    "CONFIG_KPROBE_EVENTS": "y",
    "CONFIG_PERF_EVENTS": "y",
    "CONFIG_SMP": "y",
    "CONFIG_TRACEPOINTS": "y",
    "CONFIG_X86": "y",
    "CONFIG_X86_64": "y",
}
"""Configuration of the modelled kernel, as far as programs can tell."""


def _no_symbol(_: str) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class KernelInfo:
    """Types, symbols and configuration of a kernel.

    `symbol` gives the address of a kernel symbol, None if there is none. `config` has values as in
    /boot/config: `y`, `m`, `n`, a number, or text in double quotes.
    """

    btf: Btf | None = None
    symbol: Callable[[str], int | None] = _no_symbol
    config: Mapping[str, str] = field(default_factory=dict)
    version: int = KERNEL_VERSION
    nr_cpus: int = 1


@cache
def _addresses() -> dict[str, int]:
    return {symbol.name: symbol.address for symbol in symbol_table()}


@cache
def _types() -> Btf:
    return Btf(kernel_btf())


def modelled_kernel(machine: "Machine") -> KernelInfo:
    """The kernel that `machine` models."""
    return KernelInfo(_types(), _addresses().get, MODEL_CONFIG, nr_cpus=machine.nr_cpus)
