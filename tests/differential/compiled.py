"""The programs of `features/`, one feature of BPF each, as clang makes objects of them."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["feature_objects", "no_compiler"]

_SOURCES = Path(__file__).parent / "features"


def no_compiler() -> str:
    """Why nothing can be compiled; empty when it can."""
    if shutil.which("clang") is None:
        return "needs clang"
    return "" if Path("/usr/include/bpf/bpf_helpers.h").exists() else "needs libbpf-dev"


def _includes() -> Iterator[str]:
    for folder in sorted(Path("/usr/include").glob("*-linux-gnu")):
        yield f"-I{folder}"


@cache
def feature_objects() -> dict[str, bytes]:
    """The object of each source, by its name."""
    found = {}
    with TemporaryDirectory() as folder:
        for source in sorted(_SOURCES.glob("*.bpf.c")):
            target = Path(folder) / source.with_suffix(".o").name
            options = ["-O2", "-g", "-w", "-target", "bpf", "-mcpu=v3", *_includes()]
            subprocess.run(["clang", *options, "-c", str(source), "-o", str(target)], check=True)
            found[source.name.removesuffix(".bpf.c")] = target.read_bytes()
    return found
