"""What an object may ask of the kernel that it is loaded into."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.btf import Btf

__all__ = ["KERNEL_VERSION", "KernelInfo", "kernel_version"]


def kernel_version(major: int, minor: int, patch: int = 0) -> int:
    """KERNEL_VERSION(a, b, c) of <linux/version.h>."""
    return major << 16 | minor << 8 | min(patch, 255)


KERNEL_VERSION = kernel_version(6, 1)
"""Version whose interface is modelled."""


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
