"""Which stack slots may still be read: through calls, and without looking at what did not change."""

from engine.verifier.stacklive import Chain, StackLiveness, slots_text
from engine.verifier.state import MAIN_CALLSITE, Frame, State

_SITES = 50
_FUNCTION = _SITES + 1


class _Counted(StackLiveness):
    renewed = 0

    def _renew(self, chain: Chain, idx: int, lines: list[tuple[int, str]]) -> bool:
        self.renewed += 1
        return super()._renew(chain, idx, lines)


def _calls(log: list[str] | None = None) -> _Counted:
    """A program of calls of one function of two instructions and an exit, and an exit."""
    live = _Counted(lambda _: None, log.append if log is not None else None)
    followers = [[n + 1] for n in range(_SITES)] + [[], [_FUNCTION + 1], [_FUNCTION + 2], []]
    none = bytearray(len(followers))
    live.prepare(followers, [0, _FUNCTION], none, none, looping=False)
    return live


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
    live = _calls()
    inside = _state(7, _FUNCTION + 1)
    live.current = live.chain(inside.frames)
    live.read(_FUNCTION + 1, 0, -8, 0)
    live.read(_FUNCTION + 1, 1, -16, -8)
    assert live.alive(inside) == 0
    live.update()
    assert live.alive(inside) == _slot(0, 0) | _slot(1, 1)
    assert live.alive(_main(3)) == _slot(0, 0)
    assert live.alive(_main(8)) == 0


def test_slots_written_first_are_not_live() -> None:
    live = _calls()
    state = _state(7, _FUNCTION)
    live.current = live.chain(state.frames)
    live.write(_FUNCTION, _slot(1, 0))
    live.read(_FUNCTION + 1, 1, -8, 0)
    live.update()
    assert live.alive(state) == 0
    live.write(_FUNCTION, 0)
    live.update()
    assert live.alive(state) == _slot(1, 0)


def test_what_a_callee_writes_of_its_caller_is_not_live_before_the_call() -> None:
    live = _calls()
    live.current = live.chain(_main(9).frames)
    live.read(9, 0, -16, 0)
    live.current = live.chain(_state(7, _FUNCTION).frames)
    live.write(_FUNCTION, _slot(0, 0))
    live.update()
    assert live.alive(_main(8)) == _slot(0, 0) | _slot(0, 1)
    assert live.alive(_main(7)) == _slot(0, 1)
    live.write(_FUNCTION, 0)
    live.update()
    assert live.alive(_main(7)) == _slot(0, 0) | _slot(0, 1)


def test_only_what_changed_is_looked_at() -> None:
    live = _calls()
    for site in range(_SITES):
        live.current = live.chain(_state(site, _FUNCTION).frames)
        live.read(_FUNCTION, 1, -8, 0)
        live.update()
    assert live.renewed == _SITES
    live.current = live.chain(_state(3, _FUNCTION).frames)
    live.read(_FUNCTION, 1, -16, -8)
    live.renewed = 0
    live.update()
    assert live.alive(_state(3, _FUNCTION)) == _slot(1, 0) | _slot(1, 1)
    assert live.renewed == 1


def test_the_log_tells_what_changed() -> None:
    log: list[str] = []
    live = _calls(log)
    live.current = live.chain(_state(1, _FUNCTION).frames)
    live.read(_FUNCTION + 1, 0, -24, -16)
    live.write(_FUNCTION, _slot(1, 0))
    live.update()
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
