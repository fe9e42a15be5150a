"""The running kernel as the loader asks for it: types, symbols, configuration."""

import gzip
import os
from functools import cache
from pathlib import Path

from engine.btf import Btf
from engine.loader.kernelinfo import KernelInfo, kernel_version

__all__ = ["host_kernel"]


@cache
def host_kernel() -> KernelInfo:
    """The running kernel: its BTF, symbols and configuration."""
    btf: Btf | None = None
    vmlinux = Path("/sys/kernel/btf/vmlinux")
    if vmlinux.exists():
        btf = Btf(vmlinux.read_bytes())
    symbols: dict[str, int] = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, _, name, *_ = line.split()
        symbols.setdefault(name, int(address, 16))
    config: dict[str, str] = {}
    packed = Path("/proc/config.gz")
    if packed.exists():
        for line in gzip.decompress(packed.read_bytes()).decode().splitlines():
            if line.startswith("CONFIG_"):
                key, _, value = line.partition("=")
                config[key] = value
    major, minor, patch = (os.uname().release.split("-")[0] + ".0").split(".")[:3]
    return KernelInfo(
        btf, symbols.get, config, kernel_version(int(major), int(minor), int(patch)), os.cpu_count() or 1
    )
