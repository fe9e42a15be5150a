"""Which stack slots may still be read from an instruction on, learned as the walk goes
(`kernel/bpf/liveness.c`).

Reads and whole-slot writes are noted for each instruction and each chain of calls that reaches it. When a
path or a function ends, what is new flows backwards: to the instructions before, and from a function's first
one to the call. Once every path from a remembered state was walked, its slots that do not matter are
forgotten, so that it covers more states.
"""

from collections.abc import Callable, Sequence

from engine.verifier.chains import Chain
from engine.verifier.stackflow import ControlFlow, Flow
from engine.verifier.state import INVALID_SLOT, Frame, State

__all__ = ["StackLiveness"]


class StackLiveness:
    """The chains of one program. `current` is the one that the walk is in."""

    def __init__(self) -> None:
        self._control = ControlFlow.of([], [], b"", ordered=False)
        self._starts: Sequence[int] = ()
        self._callbacks: Sequence[int] = ()
        self._roots: dict[int, Chain] = {}
        self.current = Chain(None, -1, 0)

    def prepare(self, control: ControlFlow, starts: Sequence[int], callbacks: Sequence[int]) -> None:
        """Take the program's control flow, starts of functions, and calls of callbacks."""
        self._control = control
        self._starts = starts
        self._callbacks = callbacks

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

    def update(self, steps: Callable[[int], None], say: Callable[[str], None] | None) -> None:
        """The path or the function ends: carry what is new backwards, from the innermost function to the
        outermost (`bpf_update_live_stack`). Arguments as for `Flow`."""
        chain: Chain | None = self.current
        while chain is not None:
            if chain.updated:
                Flow(self._control, steps, say).run(chain)
            chain = chain.parent

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
