"""BPF objects compiled in the test, where clang and libbpf's headers are installed."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

__all__ = ["EXAMPLES", "compile_c", "example"]

EXAMPLES = Path(__file__).parents[3] / "contrib" / "examples"
_PRELUDE = """
#include "kprobe.h"
#include <bpf/bpf_core_read.h>
#ifndef __hidden
#define __hidden __attribute__((visibility("hidden")))
#endif
char LICENSE[] SEC("license") = "GPL";
"""


def example(name: str) -> bytes:
    """A prebuilt object of contrib/examples."""
    return (EXAMPLES / f"{name}.bpf.o").read_bytes()


def compile_c(source: str, *options: str) -> bytes:
    """The object of a C source that starts with the examples' header. Skips the test without a compiler."""
    if shutil.which("clang") is None or not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("clang or libbpf-dev is not installed")
    return _compile(_PRELUDE + source, options)


@cache
def _compile(source: str, options: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "test.bpf.c"
        path.write_text(source)
        flags = ["-O2", "-g", "-target", "bpf", "-D__TARGET_ARCH_x86", f"-I{EXAMPLES}", *options]
        command = ["clang", *flags, "-c", str(path), "-o", str(path.with_suffix(".o"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return path.with_suffix(".o").read_bytes()
