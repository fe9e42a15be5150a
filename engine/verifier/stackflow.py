"""Liveness of stack slots, carried backwards through one function (`update_instance` of Linux)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from engine.verifier.chains import Chain
from engine.verifier.graph import postorder

__all__ = ["ControlFlow", "Flow", "slots_text"]

_FRAME = (1 << 64) - 1
_TOLD = 256


def slots_text(mask: int) -> str:
    """Slots of one frame as the log shows them: `-8,-24`."""
    return ",".join(str(-8 * (i + 1)) for i in range(64) if mask >> i & 1)


@dataclass(frozen=True, slots=True)
class ControlFlow:
    """A program as data flow sees it: what may follow each instruction and come before it; instructions in
    postorder and the place of each; those of which the log tells even when they do not use the stack."""

    followers: list[list[int]]
    predecessors: list[list[int]]
    order: Sequence[int]
    place: Sequence[int]
    noted: Sequence[int]

    @classmethod
    def of(
        cls, followers: list[list[int]], starts: Sequence[int], noted: Sequence[int], *, ordered: bool
    ) -> "ControlFlow":
        """The flow of functions that begin at `starts`. Without jumps back any order that has what follows
        first gives the same; `ordered` asks for Linux's, which the log shows."""
        predecessors: list[list[int]] = [[] for _ in followers]
        for idx, targets in enumerate(followers):
            for target in targets:
                predecessors[target].append(idx)
        count = len(followers)
        if not ordered:
            reverse = range(count - 1, -1, -1)
            return cls(followers, predecessors, reverse, reverse, noted)
        order, place = postorder(followers, starts), [-1] * count
        for at, idx in enumerate(order):
            place[idx] = at
        return cls(followers, predecessors, order, place, noted)


class Flow:
    """An update. `steps` is told how many instructions were looked at, and may raise; `say` takes lines for
    the log."""

    def __init__(
        self, control: ControlFlow, steps: Callable[[int], None], say: Callable[[str], None] | None
    ) -> None:
        self._control = control
        self._steps = steps
        self._say = say

    def run(self, chain: Chain) -> None:
        """Bring `live` and `written` of a function up to date, and tell its caller.

        Linux goes over the whole function in postorder until nothing changes. Here each round looks, in the
        same order, at what changed only; hence the same number of rounds.
        """
        if chain.dropped and self._tells(chain):
            chain.written.clear()
            chain.changed.update(idx for idx, mask in chain.writes.items() if mask)
        place, rounds = self._control.place, 0
        todo = [place[idx] for idx in chain.changed]
        chain.changed.clear()
        changed = True
        while changed:
            rounds += 1
            changed, todo = self._round(chain, todo)
        if self._say is not None:
            self._say(f"{chain.name} live stack update done in {rounds} iterations")
        if chain.parent is not None:
            outer = (1 << 64 * chain.depth) - 1
            chain.parent.read(chain.site, chain.live.get(chain.start, 0) & outer)
            chain.parent.write(chain.site, chain.written.get(chain.start, 0) & outer)
        chain.updated = chain.dropped = False

    def _round(self, chain: Chain, todo: list[int]) -> tuple[bool, list[int]]:
        """One pass over the places that may change; whether any did, and the places for the next."""
        control = self._control
        order, place, predecessors = control.order, control.place, control.predecessors
        again: set[int] = set()
        waiting = set(todo)
        heapify(todo)
        changed = False
        looked = 0
        lines: list[tuple[int, str]] = []
        while todo:
            here = heappop(todo)
            if here not in waiting:
                continue
            waiting.discard(here)
            looked += 1
            if looked == _TOLD:
                self._steps(looked)
                looked = 0
            idx = order[here]
            if not self._renew(chain, idx, lines):
                continue
            changed = True
            for before in predecessors[idx]:
                where = place[before]
                if where <= here:
                    again.add(where)
                elif where not in waiting:
                    waiting.add(where)
                    heappush(todo, where)
        self._steps(looked)
        if self._say is not None:
            for _, line in sorted(lines, key=lambda entry: entry[0]):
                self._say(line)
        return changed, list(again)

    def _renew(self, chain: Chain, idx: int, lines: list[tuple[int, str]]) -> bool:
        """What is live before an instruction, and written from it on, by what is after it; whether that is
        new (`update_insn`)."""
        followers = self._control.followers[idx]
        if not followers:
            return False
        after, known = 0, chain.live
        for follower in followers:
            after |= known.get(follower, 0)
        writes = chain.writes.get(idx, 0)
        live = (after & ~writes) | chain.reads.get(idx, 0)
        old_live = known.get(idx, 0)
        if not self._tells(chain):
            known[idx] = live
            return live != old_live
        written = -1
        for follower in followers:
            written &= chain.written.get(follower, 0)
        written |= writes
        old_written = chain.written.get(idx, 0)
        if live == old_live and written == old_written:
            return False
        known[idx] = live
        chain.written[idx] = written
        if self._say is not None:
            self._note(chain, idx, (("live", old_live, live), ("written", old_written, written)), lines)
        return True

    def _tells(self, chain: Chain) -> bool:
        """Whether anybody, a caller or the log, is told what a function writes."""
        return chain.parent is not None or self._say is not None

    def _note(
        self, chain: Chain, idx: int, news: Sequence[tuple[str, int, int]], lines: list[tuple[int, str]]
    ) -> None:
        """Lines for the log, with the number of the frame, by which they are sorted (`log_mask_change`)."""
        used = chain.reads.get(idx, 0) | chain.writes.get(idx, 0)
        told = idx == chain.start or bool(self._control.noted[idx])
        for frame in range(chain.depth + 1):
            if not told and not used >> 64 * frame & _FRAME:
                continue
            for what, old, new in news:
                more, less = (m >> 64 * frame & _FRAME for m in (new & ~old, old & ~new))
                if more or less:
                    line = f"{chain.name} frame {frame} insn {idx} "
                    line += f"+{what} {slots_text(more)} " if more else ""
                    line += f"-{what} {slots_text(less)}" if less else ""
                    lines.append((frame, line))
