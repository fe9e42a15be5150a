"""Which stack slots may still be read from an instruction on, learned as the walk goes
(`kernel/bpf/liveness.c`).

Reads and whole-slot writes are noted for each instruction and each chain of calls that reaches it. Data
flow over the
noted reads tells which slots matter at a point. Once every path from a remembered state was walked, its
slots that do
not matter are forgotten, so that it covers more states. A set of slots is an integer with bit 64 * frame +
slot.
"""

from engine.verifier.state import INVALID_SLOT, Frame, State

__all__ = ["Chain", "StackLiveness"]


class Chain:
    """What is known of one function reached through one chain of calls.

    reads, writes: slots that an instruction reads on some visit, writes on every visit. live: slots that
    may be read at it or later. changed: instructions from which news has to be carried backwards. stale:
    chains called from here in which something changed. called: slots that what an instruction calls may read.
    """

    __slots__ = (
        "called",
        "changed",
        "children",
        "depth",
        "live",
        "parent",
        "reads",
        "site",
        "stale",
        "start",
        "writes",
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
        self.changed: set[int] = set()
        self.stale: set[Chain] = set()
        self.called: dict[int, int] = {}

    def change(self, idx: int) -> None:
        """There is news at an instruction; those who called this chain have to hear of it."""
        chain = self
        while chain.parent is not None and chain not in chain.parent.stale:
            chain.parent.stale.add(chain)
            chain = chain.parent
        self.changed.add(idx)


class StackLiveness:
    """The chains of one program. `current` is the one that the walk is in."""

    def __init__(self) -> None:
        self._followers: list[list[int]] = []
        self.predecessors: list[list[int]] = []
        self._starts: list[int] = []
        self._callbacks: bytearray = bytearray()
        self._roots: dict[int, Chain] = {}
        self.current = Chain(None, -1, 0)

    def prepare(self, followers: list[list[int]], starts: list[int], callbacks: bytearray) -> None:
        """Take the program's control flow: successors of each instruction, starts of functions, calls of
        callbacks."""
        self._followers = followers
        self._starts = starts
        self._callbacks = callbacks
        self.predecessors = [[] for _ in followers]
        for idx, targets in enumerate(followers):
            for target in targets:
                self.predecessors[target].append(idx)

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
        mask = ((1 << (last - first + 1)) - 1) << (64 * frame + first)
        chain = self.current
        known = chain.reads.get(idx, 0)
        if mask & ~known:
            chain.reads[idx] = known | mask
            chain.change(idx)

    def write(self, idx: int, mask: int) -> None:
        """Instruction `idx` wrote exactly these whole slots on this visit."""
        chain = self.current
        known = chain.writes.get(idx)
        if known is None:
            chain.writes[idx] = mask
        elif known & ~mask:
            chain.writes[idx] = known & mask
            chain.change(idx)

    def settle(self, chain: Chain) -> None:
        """Carry what is new backwards, within the chain and from those that it calls."""
        outer, called = (1 << 64 * (chain.depth + 1)) - 1, chain.called
        for child in chain.stale:
            before = child.live.get(child.start, 0)
            self.settle(child)
            after = child.live.get(child.start, 0)
            if after != before:
                called[child.site] = called.get(child.site, 0) | after & outer
                chain.changed.add(child.site)
        chain.stale.clear()
        work, live = list(chain.changed), chain.live
        chain.changed.clear()
        while work:
            idx = work.pop()
            flowing = self._after(chain, idx)
            now = (
                chain.reads.get(idx, 0)
                | called.get(idx, 0)
                | (flowing & ~chain.writes.get(idx, 0))
                | live.get(idx, 0)
            )
            if now != live.get(idx, 0):
                live[idx] = now
                work += self.predecessors[idx]

    def _after(self, chain: Chain, idx: int) -> int:
        """Slots that matter after `idx`."""
        found = 0
        for follower in self._followers[idx]:
            found |= chain.live.get(follower, 0)
        return found

    def alive(self, state: State) -> int:
        """Slots of a state, of all its frames, that may still be read."""
        frames = state.frames
        chain = self.chain(frames)
        root = chain
        while root.parent is not None:
            root = root.parent
        self.settle(root)
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
