"""Which registers are live, and that no order of blocks makes finding it out slow."""

from engine.abi.bpf import ProgType
from engine.isa import assemble
from engine.progspec import ProgSpec
from engine.verifier.cfg import check_cfg, check_subprogs
from engine.verifier.env import Env
from engine.verifier.liveness import compute_live_regs, live_regs_text, solve
from engine.verifier.log import QUIET, Log


def _live(text: str) -> list[str]:
    env = Env(ProgSpec(ProgType.KPROBE, assemble(text)), Log(QUIET))
    check_subprogs(env)
    check_cfg(env)
    compute_live_regs(env)
    return [live_regs_text(mask) for mask in env.live_regs]


def test_a_loop_keeps_its_counter_live() -> None:
    found = _live("r6 = 0\nr0 = 1\nloop:\nr6 += 1\nif r6 < 10 goto loop\nexit")
    assert found == ["..........", "......6...", "0.....6...", "0.....6...", "0........."]


class _Counted(list[list[int]]):
    """Counts how often somebody looks at an element."""

    looks = 0

    def __getitem__(self, index: int) -> list[int]:  # type: ignore[override]
        self.looks += 1
        return super().__getitem__(index)


def test_blocks_in_the_worst_order_are_looked_at_a_few_times() -> None:
    """Block n goes on to block n - 1, which stands before it; register 6 is read in the first."""
    count = 2000
    followers = _Counted([[], *([n - 1] for n in range(1, count))])
    predecessors = [[n + 1] if n + 1 < count else [] for n in range(count)]
    live = solve([(1 << 6, 0), *[(0, 0)] * (count - 1)], followers, predecessors)
    assert live == [1 << 6] * count
    assert followers.looks <= 3 * count
