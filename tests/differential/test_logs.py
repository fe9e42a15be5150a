"""Logs are the kernel's, line by line, at every level. Fixes in a release change them: one is compared."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.differential import campaigns
from tests.differential.verdicts import Agreement
from tests.kernel_oracle import kernel_unlike

_UNLIKE = kernel_unlike("6.18.44")
pytestmark = pytest.mark.skipif(bool(_UNLIKE), reason=_UNLIKE or "like it")
_LIBBPF_TOOLS = [
    Path("/usr/sbin") / name for name in ("opensnoop", "biolatency", "runqlat", "ksnoop", "filetop")
]


@pytest.mark.parametrize("level", [1, 2, 4])
@pytest.mark.parametrize(
    ("title", "run"),
    [
        ("generated", lambda level: campaigns.generated(2000, 60, level)),
        ("packets", lambda level: campaigns.packets(1000, 40, level)),
        ("call trees", lambda level: campaigns.call_trees(5000, 40, level)),
        ("loops", lambda level: campaigns.loops(3000, 60, level, callbacks=False)),
    ],
)
def test_generated(title: str, run: Callable[[int], Agreement], level: int) -> None:
    agreement = run(level)
    assert not agreement.other_logs, (title, agreement.other_logs)
    assert agreement.counts["accept"]
    assert agreement.counts["reject"]


def test_loops_by_callback() -> None:
    """Linux 6.18 ends some paths in them too early (test_callback_loops.py), so that its log is shorter."""
    agreement = campaigns.loops(3000, 60, 2)
    assert len(agreement.other_logs) <= 0.1 * agreement.total, agreement.other_logs


def test_objects_of_libbpf_tools() -> None:
    """With the lines of their sources."""
    present = [path for path in _LIBBPF_TOOLS if path.exists()]
    if not present:
        pytest.skip("libbpf-tools is not installed")
    for level in (1, 2):
        agreement = campaigns.objects(present, level)
        assert agreement.total
        assert not agreement.other_logs
