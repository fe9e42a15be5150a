"""Verdicts and logs on the corpus: as recorded from Linux 6.18, and line by line against the machine's
kernel."""

import errno
import os

import pytest

from engine.isa import encode
from engine.progspec import ProgSpec
from engine.verifier import VerifierError, verify
from tests.engine.verifier.corpus import MAPS, Case, cases, normalise
from tests.kernel_oracle import create_map, kernel_unavailable, load

_CASES = list(cases())
_UNAVAILABLE = kernel_unavailable()


def _ours(case: Case, fds: dict[str, int], level: int) -> tuple[str, str]:
    spec = ProgSpec(case.type, case.insns(fds), license="GPL", maps={fds[name]: MAPS[name] for name in MAPS})
    try:
        return "OK", verify(spec, log_level=level).log
    except VerifierError as refusal:
        return errno.errorcode[refusal.errno], refusal.log


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.text.replace("\n", "; ")[:60])
def test_verdict_is_the_recorded_one(case: Case) -> None:
    verdict, log = _ours(case, {"A": 3, "H": 4}, 1)
    assert verdict == case.verdict
    if case.message:
        assert log.strip().split("\n")[-2] == case.message


@pytest.mark.skipif(bool(_UNAVAILABLE), reason=_UNAVAILABLE or "kernel available")
def test_logs_are_the_kernels() -> None:
    if not os.uname().release.startswith("6.18"):
        pytest.skip("the notation of the log is that of 6.18, this kernel is " + os.uname().release)
    fds = {
        name: create_map(fake.type, fake.key_size, fake.value_size, fake.max_entries)
        for name, fake in MAPS.items()
    }
    try:
        for case in _CASES:
            reference = load(encode(case.insns(fds)), case.type)
            verdict, log = _ours(case, fds, 2)
            assert verdict == reference.errname, case.text
            assert normalise(log) == normalise(reference.log), case.text
    finally:
        for fd in fds.values():
            os.close(fd)
