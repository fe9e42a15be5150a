"""What a verifier log says of relocations that the kernel could not meet."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.loader import LoadError, load_object
from engine.machine import Machine
from tests.engine.btf.pinned import bpffs, bpffs_unavailable
from tests.engine.loader.compiled import compile_c

TYPES = """
    struct task_struct { int pid; int nope[4]; struct { int inner; } s; unsigned b : 3; }
        __attribute__((preserve_access_index));
    enum no_such_enum { NO_A = 5, NO_B };
    extern int nope_kfunc(int) __ksym __weak;
"""
TASK = "struct task_struct *t = (void *)bpf_get_current_task();"
BODIES = {
    "return BPF_CORE_READ(t, nope[2]);": "<byte_off> [7] struct task_struct.nope[2] (0:1:2 @ offset 12)",
    "return BPF_CORE_READ(t, s.inner);": "<byte_off> [7] struct task_struct.s.inner (0:2:0 @ offset 20)",
    "return bpf_core_field_offset(t->b);": "<byte_off> [7] struct task_struct.b (0:3 @ offset 24)",
    "return t ? bpf_core_enum_value(enum no_such_enum, NO_B) : 0;": "enum no_such_enum::NO_B = 6",
}


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine of its own for each test."""
    made = Machine()
    yield made
    made.close()


def compiled(body: str) -> bytes:
    """A program with that body."""
    return compile_c(f'{TYPES} SEC("kprobe/a") int prog(struct pt_regs *ctx) {{ {TASK} {body} }}')


@pytest.mark.parametrize(("body", "asked"), BODIES.items())
def test_relocations(machine: Machine, body: str, asked: str) -> None:
    with pytest.raises(LoadError) as caught:
        load_object(compiled(body), machine)
    wanted = re.sub(r"\[\d+\]", "[N]", asked, count=1)
    lines = [re.sub(r"\[\d+\]", "[N]", line, count=1) for line in caught.value.log.splitlines()]
    found = next(line for line in lines if line.startswith("failed to resolve CO-RE relocation"))
    assert found.endswith(wanted)
    assert "<invalid CO-RE relocation>" in caught.value.log
    assert "failed to resolve CO-RE relocation" in caught.value.message
    assert "unknown#" not in caught.value.log


def test_kernel_functions(machine: Machine) -> None:
    with pytest.raises(LoadError, match="kfunc 'nope_kfunc' is referenced but wasn't resolved") as caught:
        load_object(compiled("return t ? nope_kfunc(2) : 0;"), machine)
    assert "<invalid kfunc call>" in caught.value.log


@pytest.mark.parametrize("body", BODIES)
def test_libbpf_says_the_same(machine: Machine, body: str, tmp_path: Path) -> None:
    if reason := bpffs_unavailable():
        pytest.skip(reason)
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is not installed")
    (tmp_path / "x.bpf.o").write_bytes(compiled(body))
    with bpffs() as directory:
        command = ["bpftool", "prog", "loadall", str(tmp_path / "x.bpf.o"), str(directory / "x")]
        theirs = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    with pytest.raises(LoadError) as caught:
        load_object(compiled(body), machine)
    line = next(line for line in caught.value.log.splitlines() if line.startswith("failed to resolve"))
    assert line in theirs.splitlines()
