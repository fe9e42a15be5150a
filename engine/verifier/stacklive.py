"""Which stack slots may still be read from an instruction on, learned as the walk goes
(`kernel/bpf/liveness.c`).

Reads and whole-slot writes are noted for each instruction and each chain of calls that reaches it. When a
path or a function ends, what is new flows backwards: to the instructions before, and from a function's first
one to the call. Once every path from a remembered state was walked, its slots that do not matter are
forgotten, so that it covers more states. A set of slots is an integer with bit 64 * frame + slot.
"""

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

from engine.verifier.graph import postorder
from engine.verifier.state import INVALID_SLOT, Frame, State

__all__ = ["Chain", "StackLiveness", "slots_text"]

_FRAME = (1 << 64) - 1
_TOLD = 256


def slots_text(mask: int) -> str:
    """Slots of one frame as the log shows them: `-8,-24`."""
    return ",".join(str(-8 * (i + 1)) for i in range(64) if mask >> i & 1)


class Chain:
    """What is known of one function reached through one chain of calls.

    reads, writes: slots that an instruction reads on some visit, writes on every visit. live: slots that
    may be read at it or later. written: slots that it or what follows writes in any case. changed:
    instructions for which there is news. updated: whether any of it may matter. dropped: whether a visit
    wrote less than those before.
    """

    __slots__ = (
        "changed",
        "children",
        "depth",
        "dropped",
        "live",
        "parent",
        "reads",
        "site",
        "start",
        "updated",
        "writes",
        "written",
    )

    def __init__(self, parent: "Chain | None", site: int, start: int) -> None:
        self.parent = parent
        self.site = site
        self.start = start
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.children: dict[tuple[int, int], Chain] = {}
        self.reads: dict[int, int] = {}
        self.writes: dict[int, int] = {}
        self.live: dict[int, int] = {}
        self.written: dict[int, int] = {}
        self.changed: set[int] = set()
        self.updated = self.dropped = False

    def read(self, idx: int, mask: int) -> None:
        """Instruction `idx` may read these slots."""
        known = self.reads.get(idx, 0)
        if mask & ~known:
            self.reads[idx] = known | mask
            self.changed.add(idx)
            if mask & ~known & ~self.live.get(idx, 0):
                self.updated = True

    def write(self, idx: int, mask: int) -> None:
        """Instruction `idx` wrote exactly these slots on one visit."""
        known = self.writes.get(idx)
        if known is not None:
            mask &= known
            self.dropped |= mask != known
        self.writes[idx] = mask
        if mask != (known or 0):
            self.changed.add(idx)
            self.updated = True

    @property
    def name(self) -> str:
        """The calls that lead to the function, and where it begins, as the log shows them: `(5,12)`."""
        sites = [self.start]
        chain = self
        while chain.parent is not None:
            sites.append(chain.site)
            chain = chain.parent
        return f"({','.join(map(str, reversed(sites)))})"


class StackLiveness:
    """The chains of one program. `current` is the one that the walk is in.

    `steps` is told how many instructions were looked at, and may raise; `say` takes lines for the log.
    """

    def __init__(self, steps: Callable[[int], None], say: Callable[[str], None] | None = None) -> None:
        self._steps = steps
        self._say = say
        self._followers: Sequence[list[int]] = ()
        self.predecessors: list[list[int]] = []
        self._starts: Sequence[int] = ()
        self._callbacks: Sequence[int] = ()
        self._noted: Sequence[int] = ()
        self._order: Sequence[int] = ()
        self._place: Sequence[int] = ()
        self._roots: dict[int, Chain] = {}
        self.current = Chain(None, -1, 0)

    def prepare(
        self,
        followers: Sequence[list[int]],
        starts: Sequence[int],
        callbacks: Sequence[int],
        noted: Sequence[int],
        *,
        looping: bool,
    ) -> None:
        """Take the program's control flow: successors of each instruction, starts of functions, calls of
        callbacks, instructions of which the log tells even when they do not use the stack, and whether any
        jumps back (if none does, what is live does not depend on the order in which it is found; the log
        does)."""
        self._followers = followers
        self._starts = starts
        self._callbacks = callbacks
        self._noted = noted
        self.predecessors = [[] for _ in followers]
        for idx, targets in enumerate(followers):
            for target in targets:
                self.predecessors[target].append(idx)
        count = len(followers)
        if looping or self._say is not None:
            self._order = postorder(followers, starts)
            self._place = [-1] * count
            for place, idx in enumerate(self._order):
                self._place[idx] = place
        else:
            self._order = self._place = range(count - 1, -1, -1)

    def chain(self, frames: list[Frame]) -> Chain:
        """The chain that these frames are."""
        first = frames[0]
        chain = self._roots.get(first.subprog)
        if chain is None:
            chain = self._roots[first.subprog] = Chain(None, -1, self._starts[first.subprog])
        for frame in frames[1:]:
            key = (frame.callsite, frame.subprog)
            child = chain.children.get(key)
            if child is None:
                child = chain.children[key] = Chain(chain, frame.callsite, self._starts[frame.subprog])
            chain = child
        return chain

    def read(self, idx: int, frame: int, low: int, end: int) -> None:
        """Instruction `idx` may read fp+low .. fp+end of `frame`."""
        first, last = -end // 8, (-low - 1) // 8
        self.current.read(idx, ((1 << (last - first + 1)) - 1) << (64 * frame + first))

    def write(self, idx: int, mask: int) -> None:
        """Instruction `idx` wrote exactly these whole slots on this visit."""
        self.current.write(idx, mask)

    def update(self) -> None:
        """The path or the function ends: carry what is new backwards, from the innermost function to the
        outermost (`bpf_update_live_stack`)."""
        chain: Chain | None = self.current
        while chain is not None:
            if chain.updated:
                self._flow(chain)
                chain.updated = chain.dropped = False
            chain = chain.parent

    def _flow(self, chain: Chain) -> None:
        """Bring `live` and `written` of a function up to date, and tell its caller (`update_instance`).

        Linux goes over the whole function in postorder until nothing changes. Here each round looks, in the
        same order, at what changed only; hence the same number of rounds.
        """
        if chain.dropped:
            chain.written.clear()
            chain.changed.update(idx for idx, mask in chain.writes.items() if mask)
        place, rounds = self._place, 0
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

    def _round(self, chain: Chain, todo: list[int]) -> tuple[bool, list[int]]:
        """One pass over the places that may change; whether any did, and the places for the next."""
        order, place, predecessors = self._order, self._place, self.predecessors
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
        followers = self._followers[idx]
        if not followers:
            return False
        after, written = 0, -1
        for follower in followers:
            after |= chain.live.get(follower, 0)
            written &= chain.written.get(follower, 0)
        writes = chain.writes.get(idx, 0)
        live = (after & ~writes) | chain.reads.get(idx, 0)
        written |= writes
        old_live, old_written = chain.live.get(idx, 0), chain.written.get(idx, 0)
        if live == old_live and written == old_written:
            return False
        chain.live[idx] = live
        chain.written[idx] = written
        if self._say is not None:
            self._note(chain, idx, (("live", old_live, live), ("written", old_written, written)), lines)
        return True

    def _note(
        self, chain: Chain, idx: int, news: Sequence[tuple[str, int, int]], lines: list[tuple[int, str]]
    ) -> None:
        """Lines for the log, with the number of the frame, by which they are sorted (`log_mask_change`)."""
        used = chain.reads.get(idx, 0) | chain.writes.get(idx, 0)
        told = idx == chain.start or bool(self._noted[idx])
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

    def alive(self, state: State) -> int:
        """Slots of a state, of all its frames, that may still be read."""
        frames = state.frames
        chain = self.chain(frames)
        found = chain.live.get(state.insn_idx, 0)
        for depth in range(len(frames) - 1, 0, -1):
            site = frames[depth].callsite
            assert chain.parent is not None
            chain = chain.parent
            resume = site if self._callbacks[site] else site + 1
            found |= chain.live.get(resume, 0)
        return found

    def clean(self, state: State) -> None:
        """Forget the slots of a state that no path from it read."""
        alive = self.alive(state)
        for number, frame in enumerate(state.frames):
            mask = alive >> 64 * number
            for i, slot in enumerate(frame.stack):
                if not mask >> i & 1 and slot is not INVALID_SLOT:
                    frame.stack[i] = INVALID_SLOT
