"""Which stack slots may still be read: through calls, and without looking at what did not change."""

from engine.verifier.stacklive import Chain, StackLiveness
from engine.verifier.state import MAIN_CALLSITE, Frame, State

_SITES = 50
_FUNCTION = _SITES + 1


class _Counted(StackLiveness):
    settled = 0

    def settle(self, chain: Chain) -> None:
        self.settled += 1
        super().settle(chain)


def _calls() -> _Counted:
    """A program of calls of one function of two instructions, and an exit."""
    live = _Counted()
    followers = [[n + 1] for n in range(_SITES)] + [[], [_FUNCTION + 1], []]
    live.prepare(followers, [0, _FUNCTION], bytearray(len(followers)))
    return live


def _state(site: int, insn_idx: int) -> State:
    state = State([Frame(MAIN_CALLSITE, 0, 0), Frame(site, 1, 1)])
    state.insn_idx = insn_idx
    return state


def _slot(frame: int, spi: int) -> int:
    return 1 << (64 * frame + spi)


def test_what_a_callee_reads_of_its_caller_is_live_before_the_call() -> None:
    live = _calls()
    inside = _state(7, _FUNCTION + 1)
    live.current = live.chain(inside.frames)
    live.read(_FUNCTION + 1, 0, -8, 0)
    live.read(_FUNCTION + 1, 1, -16, -8)
    assert live.alive(inside) == _slot(0, 0) | _slot(1, 1)
    before, after = State([Frame(MAIN_CALLSITE, 0, 0)]), State([Frame(MAIN_CALLSITE, 0, 0)])
    before.insn_idx, after.insn_idx = 3, 8
    assert live.alive(before) == _slot(0, 0)
    assert live.alive(after) == 0


def test_slots_written_first_are_not_live() -> None:
    live = _calls()
    state = _state(7, _FUNCTION)
    live.current = live.chain(state.frames)
    live.write(_FUNCTION, _slot(1, 0))
    live.read(_FUNCTION + 1, 1, -8, 0)
    assert live.alive(state) == 0
    live.write(_FUNCTION, 0)
    assert live.alive(state) == _slot(1, 0)


def test_only_what_changed_is_looked_at() -> None:
    live = _calls()
    for site in range(_SITES):
        live.current = live.chain(_state(site, _FUNCTION).frames)
        live.read(_FUNCTION, 1, -8, 0)
    live.alive(_state(0, _FUNCTION))
    assert live.settled == 1 + _SITES
    live.current = live.chain(_state(3, _FUNCTION).frames)
    live.read(_FUNCTION, 1, -16, -8)
    live.settled = 0
    assert live.alive(_state(3, _FUNCTION)) == _slot(1, 0) | _slot(1, 1)
    assert live.settled == 2
