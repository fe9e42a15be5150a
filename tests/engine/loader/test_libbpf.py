"""The same objects through libbpf (bpftool) into the machine's kernel: the same instructions must come out.

The kernel's tag of a program is a hash of its instructions without map descriptors, so equal tags mean equal
linking, CO-RE relocation and externs.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.btf import Btf
from engine.isa import LD_IMM64, Insn, PseudoSrc, encode
from engine.loader import KernelInfo, parse_object
from engine.loader.kernelinfo import kernel_version
from engine.loader.patch import prog_spec
from tests.engine.btf.pinned import bpffs, bpffs_unavailable
from tests.engine.loader.compiled import EXAMPLES, compile_c
from tests.engine.loader.embedded import tool_objects
from tests.engine.loader.sources import SOURCES

VMLINUX = Path("/sys/kernel/btf/vmlinux")


@pytest.fixture(scope="module")
def kernel() -> KernelInfo:
    """The kernel that runs this test."""
    if reason := bpffs_unavailable():
        pytest.skip(reason)
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is not installed")
    if not VMLINUX.exists():
        pytest.skip("this kernel has no BTF")
    numbers = os.uname().release.split("-")[0].split(".")
    version = kernel_version(*(int(number) for number in numbers))
    config = {"CONFIG_BPF": "y", "CONFIG_DEFAULT_HOSTNAME": '"(none)"'}
    return KernelInfo(Btf(VMLINUX.read_bytes()), config=config, version=version)


def _libbpf_tags(path: Path) -> dict[str, str] | None:
    """Tags by program of what libbpf loads; None if the kernel has none of it."""
    with bpffs() as directory:
        pins = directory / "pins"
        command = ["bpftool", "prog", "loadall", str(path), str(pins)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        tags = {}
        for pin in pins.iterdir():
            show = ["bpftool", "-j", "prog", "show", "pinned", str(pin)]
            shown = subprocess.run(show, capture_output=True, text=True, check=True)
            tags[pin.name] = json.loads(shown.stdout)["tag"]
        return tags


def _tags(insns: Sequence[Insn]) -> tuple[str, str]:
    """The tag as kernels compute it before 6.18 (SHA-1) and from then on (SHA-256)."""
    plain = list(insns)
    for at, insn in enumerate(plain):
        if insn.code == LD_IMM64 and insn.src in (PseudoSrc.MAP_FD, PseudoSrc.MAP_VALUE):
            plain[at : at + 2] = [Insn(insn.code, insn.dst, insn.src), Insn(0)]
    code = encode(plain)
    return hashlib.sha1(code).digest()[:8].hex(), hashlib.sha256(code).digest()[:8].hex()


def _compare(data: bytes, name: str, kernel: KernelInfo, directory: Path) -> int:
    path = directory / f"{name}.bpf.o"
    path.write_bytes(data)
    wanted = _libbpf_tags(path)
    if wanted is None:
        return 0
    spec = parse_object(data, name)
    for prog, tag in wanted.items():
        assert tag in _tags(prog_spec(spec.progs[prog], spec, [], kernel).insns), f"{name}: {prog}"
    return len(wanted)


@pytest.mark.parametrize("name", ["count", "latency", "opensnoop"])
def test_examples(name: str, kernel: KernelInfo, tmp_path: Path) -> None:
    assert _compare((EXAMPLES / f"{name}.bpf.o").read_bytes(), name, kernel, tmp_path)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_compiled(name: str, kernel: KernelInfo, tmp_path: Path) -> None:
    if not _compare(compile_c(SOURCES[name]), name, kernel, tmp_path):
        pytest.skip("this kernel does not load it")


def test_tools(kernel: KernelInfo, tmp_path: Path) -> None:
    objects = tool_objects()
    if not objects:
        pytest.skip("libbpf-tools is not installed")
    compared = sum(_compare(data, name, kernel, tmp_path) for name, data in objects.items())
    assert compared > 50
