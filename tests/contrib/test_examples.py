"""The prebuilt examples are what their sources say."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.loader import parse_object

EXAMPLES = Path(__file__).parents[2] / "contrib" / "examples"
NAMES = ["count", "latency", "opensnoop"]


def test_every_source_has_its_object() -> None:
    assert sorted(path.name.removesuffix(".bpf.c") for path in EXAMPLES.glob("*.bpf.c")) == NAMES
    assert sorted(path.name.removesuffix(".bpf.o") for path in EXAMPLES.glob("*.bpf.o")) == NAMES


def test_objects_are_of_these_sources() -> None:
    lines = (line.split() for line in (EXAMPLES / "SHA256SUMS").read_text().splitlines())
    listed = {name: digest for digest, name in lines}
    sources = [*(path.name for path in EXAMPLES.glob("*.bpf.c")), "kprobe.h", "Makefile"]
    found = {name: hashlib.sha256((EXAMPLES / name).read_bytes()).hexdigest() for name in sources}
    assert listed == found, "sources changed: run make -C contrib/examples"


def _compiler_of(data: bytes) -> str:
    """The compiler that an object names in its debug information."""
    found = re.search(rb"[ -~]*clang version [ -~]+", data)
    return found[0].decode() if found else ""


def _need_clang() -> None:
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    if not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("libbpf-dev is not installed")
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True)
    here, there = version.stdout.splitlines()[0], _compiler_of((EXAMPLES / "count.bpf.o").read_bytes())
    if here != there:
        pytest.skip(f"objects were made by {there}, here is {here}")


def test_a_rebuild_gives_the_same_bytes(tmp_path: Path) -> None:
    _need_clang()
    elsewhere = tmp_path / "some" / "where" / "else"
    shutil.copytree(EXAMPLES, elsewhere, ignore=shutil.ignore_patterns("*.o", "SHA256SUMS"))
    subprocess.run(["make", "-s", "-C", str(elsewhere)], check=True)
    for path in [*EXAMPLES.glob("*.bpf.o"), EXAMPLES / "SHA256SUMS"]:
        assert path.read_bytes() == (elsewhere / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("name", "sections", "maps"),
    [
        ("count", {"count": "kprobe/do_syscall_64"}, ["hits"]),
        ("opensnoop", {"opensnoop": "kprobe/do_sys_openat2"}, ["opensnoo.rodata", "opensnoo.bss"]),
        (
            "latency",
            {"read_entry": "kprobe/vfs_read", "read_return": "kretprobe/vfs_read"},
            ["start", "histogram", "total"],
        ),
    ],
)
def test_what_is_in_them(name: str, sections: dict[str, str], maps: list[str]) -> None:
    spec = parse_object((EXAMPLES / f"{name}.bpf.o").read_bytes(), name)
    assert {prog.name: prog.secname.section for prog in spec.progs.values()} == sections
    assert list(spec.maps) == maps
    assert spec.license == "Dual BSD/GPL"
