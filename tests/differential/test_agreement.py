"""Short runs of the campaigns: the engine accepts nothing that the machine's kernel refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.differential import campaigns
from tests.differential.compiled import no_compiler
from tests.differential.verdicts import Agreement
from tests.kernel_oracle import kernel_unlike

_UNLIKE = kernel_unlike("6.18")
pytestmark = pytest.mark.skipif(bool(_UNLIKE), reason=_UNLIKE or "like it")
_LIBBPF_TOOLS = [Path("/usr/sbin") / name for name in ("opensnoop", "biolatency", "runqlat", "ksnoop")]


@pytest.mark.parametrize(
    ("title", "run", "strict"),
    [
        ("generated", lambda: campaigns.generated(1, 300), 0.02),
        ("packets", lambda: campaigns.packets(1, 200), 0.02),
        ("helper calls", lambda: campaigns.helper_calls(1, 300), 0.05),
        ("opcodes", lambda: campaigns.opcodes(1, 2), 0.02),
        ("contexts", lambda: campaigns.contexts(4), 0.02),
        ("call trees", lambda: campaigns.call_trees(1, 200), 0.0),
        ("loops", lambda: campaigns.loops(6000100, 200), 0.02),
        ("kernel objects", lambda: campaigns.typed(1, 200), 0.02),
    ],
)
def test_generated(title: str, run: Callable[[], Agreement], strict: float) -> None:
    agreement = run()
    assert not agreement.counts["laxer"], agreement.table(title)
    assert agreement.counts["stricter"] <= strict * sum(agreement.counts.values()), agreement.table(title)
    assert agreement.counts["accept"]
    assert agreement.counts["reject"]


@pytest.mark.skipif(bool(no_compiler()), reason=no_compiler() or "clang is there")
def test_features_and_what_is_near_them() -> None:
    agreement = campaigns.features()
    assert agreement.counts["accept"] >= 40
    assert not agreement.differing, agreement.table("features")
    agreement = campaigns.mutants(1, 5)
    assert agreement.counts["reject"] > 100
    assert not agreement.counts["laxer"], agreement.table("features, changed")
    assert agreement.counts["stricter"] < 5, agreement.table("features, changed")


def test_objects_of_libbpf_tools() -> None:
    present = [path for path in _LIBBPF_TOOLS if path.exists()]
    if not present:
        pytest.skip("libbpf-tools is not installed")
    agreement = campaigns.objects(present)
    assert agreement.counts["accept"]
    assert not agreement.differing, agreement.table("objects")
