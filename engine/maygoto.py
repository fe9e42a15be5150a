"""How long `may_goto` stays in a loop: a quarter of a second for all loops of one activation of a function,
looked at every 65,535 turns (`bpf_check_timed_may_goto`, kernel/bpf/core.c)."""

from engine.clock import monotonic
from engine.jit.lang import native, put64, u64

__all__ = ["MAY_GOTO_NS", "MAY_GOTO_TURNS", "more_turns"]

MAY_GOTO_TURNS = 0xFFFF
MAY_GOTO_NS = 250_000_000


@native
def more_turns(since: int) -> int:
    """Turns until this is asked again; 0 when the time is over. `since` is the address of the time at which
    it was asked first, 0 until then."""
    now = monotonic()
    if u64(since) == 0:
        put64(since, now)
        return MAY_GOTO_TURNS
    if now - u64(since) >= MAY_GOTO_NS:
        return 0
    return MAY_GOTO_TURNS
