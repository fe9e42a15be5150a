"""Programs of a compiler about functions, callbacks, references and maps in maps; against the kernel too."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.differential.objects import Outcome, compare_object
from tests.kernel_oracle import kernel_unavailable

_SOURCE = Path(__file__).parent / "sources" / "functions.bpf.c"
_UNAVAILABLE = kernel_unavailable()
pytestmark = [
    pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang"),
    pytest.mark.skipif(bool(_UNAVAILABLE), reason=_UNAVAILABLE or "kernel available"),
]


def _includes() -> Iterator[str]:
    for folder in sorted(Path("/usr/include").glob("*-linux-gnu")):
        yield f"-I{folder}"


@cache
def _outcomes() -> list[Outcome]:
    with TemporaryDirectory() as folder:
        target = Path(folder) / "functions.bpf.o"
        command = ["clang", "-O2", "-g", "-w", "-target", "bpf", *_includes(), "-c", str(_SOURCE)]
        subprocess.run([*command, "-o", str(target)], check=True)
        return list(compare_object(target.read_bytes(), "functions"))


def test_verdicts() -> None:
    for outcome in _outcomes():
        assert outcome.prog.startswith("reject") == bool(outcome.engine), outcome
        assert outcome.kernel == outcome.engine, outcome


def test_the_same_instructions_are_walked() -> None:
    assert {o.prog: o.engine_insns for o in _outcomes()} == {o.prog: o.kernel_insns for o in _outcomes()}


def test_the_same_reason_is_given() -> None:
    for outcome in _outcomes():
        if outcome.kernel:
            ours, reference = (
                log.strip().split("\n")[-2] for log in (outcome.engine_log, outcome.kernel_log)
            )
            if "state:" not in reference:
                assert ours == reference
