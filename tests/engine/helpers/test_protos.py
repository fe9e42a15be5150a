"""Prototypes of helpers against the kernel: which program types may call them, and under which licence."""

import pytest

from engine.abi.bpf import FuncId, ProgType
from engine.helpers import HELPERS
from tests import kernel_oracle
from tests.engine.helpers.kernel_helpers import call, insn

_reason = kernel_oracle.kernel_unavailable()
pytestmark = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")

_TYPES = [
    ProgType.SOCKET_FILTER,
    ProgType.KPROBE,
    ProgType.TRACEPOINT,
    ProgType.RAW_TRACEPOINT,
    ProgType.PERF_EVENT,
    ProgType.XDP,
    ProgType.SCHED_CLS,
    ProgType.CGROUP_SKB,
]
_UNKNOWN = ("unknown func", "cannot use helper", "invalid func")


def _exit() -> bytes:
    return insn(0xB7) + insn(0x95)


@pytest.mark.parametrize("number", sorted(HELPERS))
def test_program_types_agree(number: int) -> None:
    proto = HELPERS[number].proto
    for kind in _TYPES:
        log = kernel_oracle.load(call(FuncId(number)) + _exit(), kind, log_level=1).log
        theirs = not any(text in log for text in _UNKNOWN)
        mine = proto.progs is None or kind in proto.progs
        assert mine == theirs, (proto.name, kind.name)


@pytest.mark.parametrize("number", sorted(n for n, h in HELPERS.items() if h.proto.attach is None))
def test_licences_agree(number: int) -> None:
    proto = HELPERS[number].proto
    kind = min(proto.progs) if proto.progs else ProgType.SOCKET_FILTER
    log = kernel_oracle.load(call(FuncId(number)) + _exit(), kind, license="MIT", log_level=1).log
    assert proto.gpl_only == ("GPL-restricted" in log), proto.name


@pytest.mark.parametrize("number", sorted(HELPERS))
def test_names_are_the_kernels(number: int) -> None:
    assert HELPERS[number].proto.name == f"bpf_{FuncId(number).name}"
