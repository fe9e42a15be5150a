"""Which stack slots may still be read: through calls, and without looking at what did not change."""

from collections.abc import Callable

from engine.verifier.stackflow import ControlFlow, slots_text
from engine.verifier.stacklive import StackLiveness
from engine.verifier.state import MAIN_CALLSITE, Frame, State

_SITES = 50
_FUNCTION = _SITES + 1


class _Program(StackLiveness):
    """Calls of a function of two instructions and an exit, and an exit. Counts instructions looked at."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        super().__init__()
        followers = [[n + 1] for n in range(_SITES)] + [[], [_FUNCTION + 1], [_FUNCTION + 2], []]
        none, starts = bytearray(len(followers)), [0, _FUNCTION]
        self.prepare(ControlFlow.of(followers, starts, none, ordered=say is not None), starts, none)
        self.looked_at = 0
        self._told = say

    def settle(self) -> None:
        self.update(self._look, self._told)

    def _look(self, steps: int) -> None:
        self.looked_at += steps


def _state(site: int, insn_idx: int) -> State:
    state = State([Frame(MAIN_CALLSITE, 0, 0), Frame(site, 1, 1)])
    state.insn_idx = insn_idx
    return state


def _main(insn_idx: int) -> State:
    state = State([Frame(MAIN_CALLSITE, 0, 0)])
    state.insn_idx = insn_idx
    return state


def _slot(frame: int, spi: int) -> int:
    return 1 << (64 * frame + spi)


def test_what_a_callee_reads_of_its_caller_is_live_before_the_call() -> None:
    live = _Program()
    inside = _state(7, _FUNCTION + 1)
    live.current = live.chain(inside.frames)
    live.read(_FUNCTION + 1, 0, -8, 0)
    live.read(_FUNCTION + 1, 1, -16, -8)
    assert live.alive(inside) == 0
    live.settle()
    assert live.alive(inside) == _slot(0, 0) | _slot(1, 1)
    assert live.alive(_main(3)) == _slot(0, 0)
    assert live.alive(_main(8)) == 0


def test_slots_written_first_are_not_live() -> None:
    live = _Program()
    state = _state(7, _FUNCTION)
    live.current = live.chain(state.frames)
    live.write(_FUNCTION, _slot(1, 0))
    live.read(_FUNCTION + 1, 1, -8, 0)
    live.settle()
    assert live.alive(state) == 0
    live.write(_FUNCTION, 0)
    live.settle()
    assert live.alive(state) == _slot(1, 0)


def test_what_a_callee_writes_of_its_caller_is_not_live_before_the_call() -> None:
    live = _Program()
    live.current = live.chain(_main(9).frames)
    live.read(9, 0, -16, 0)
    live.current = live.chain(_state(7, _FUNCTION).frames)
    live.write(_FUNCTION, _slot(0, 0))
    live.settle()
    assert live.alive(_main(8)) == _slot(0, 0) | _slot(0, 1)
    assert live.alive(_main(7)) == _slot(0, 1)
    live.write(_FUNCTION, 0)
    live.settle()
    assert live.alive(_main(7)) == _slot(0, 0) | _slot(0, 1)


def test_only_what_changed_is_looked_at() -> None:
    live = _Program()
    for site in range(_SITES):
        live.current = live.chain(_state(site, _FUNCTION).frames)
        live.read(_FUNCTION, 1, -8, 0)
        live.settle()
    assert live.looked_at == _SITES
    live.current = live.chain(_state(3, _FUNCTION).frames)
    live.read(_FUNCTION, 1, -16, -8)
    live.looked_at = 0
    live.settle()
    assert live.alive(_state(3, _FUNCTION)) == _slot(1, 0) | _slot(1, 1)
    assert live.looked_at == 1


def test_the_log_tells_what_changed() -> None:
    log: list[str] = []
    live = _Program(log.append)
    live.current = live.chain(_state(1, _FUNCTION).frames)
    live.read(_FUNCTION + 1, 0, -24, -16)
    live.write(_FUNCTION, _slot(1, 0))
    live.settle()
    assert log == [
        f"(1,{_FUNCTION}) frame 0 insn {_FUNCTION + 1} +live -24 ",
        f"(1,{_FUNCTION}) frame 0 insn {_FUNCTION} +live -24 ",
        f"(1,{_FUNCTION}) frame 1 insn {_FUNCTION} +written -8 ",
        f"(1,{_FUNCTION}) live stack update done in 2 iterations",
        "(0) frame 0 insn 1 +live -24 ",
        "(0) frame 0 insn 0 +live -24 ",
        "(0) live stack update done in 2 iterations",
    ]


def test_slots_as_text() -> None:
    assert slots_text(0b101) == "-8,-24"
    assert slots_text(1 << 63) == "-512"
