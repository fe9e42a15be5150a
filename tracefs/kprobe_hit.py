"""A kprobe event's handlers: registers and memory of the hit become a record.

probe   u64 event | u64 address | u32 number of arguments | u32 bytes of the fixed part | u64 argument table
"""

from enum import IntEnum

from engine.env import Env
from engine.jit.lang import native, put64, u32, u64
from tracefs.event_hit import Desc, event_commit, event_header, event_wanted
from tracefs.fetch import fetch_args
from tracefs.ring_layout import BUF_PAGE_SIZE

__all__ = ["ProbeDesc", "kprobe_hit", "kretprobe_hit"]

_LIMIT = BUF_PAGE_SIZE - 16
"""Most bytes of a record: one that fills a sub-buffer."""


class ProbeDesc(IntEnum):
    """Offsets in a probe's native descriptor."""

    EVENT = 0
    ADDRESS = 8
    NR_ARGS = 16
    FIXED = 20
    ARGS = 24
    SIZE = 32


@native
def finish(env: int, regs: int, probe: int, event: int, record: int) -> int:
    """Header, arguments, ring."""
    event_header(env, record, u32(event + Desc.TYPE))
    args = u64(probe + ProbeDesc.ARGS)
    length = fetch_args(
        env, regs, args, u32(probe + ProbeDesc.NR_ARGS), record, u32(probe + ProbeDesc.FIXED), _LIMIT
    )
    return event_commit(env, event, record, length)


@native
def kprobe_hit(env: int, regs: int, probe: int) -> int:
    """Handler of `p` probes (`kprobe_trace_func`)."""
    event = u64(probe + ProbeDesc.EVENT)
    if event_wanted(event) == 0:
        return 0
    record = u64(env + Env.SCRATCH)
    put64(record + 8, u64(probe + ProbeDesc.ADDRESS))
    return finish(env, regs, probe, event, record)


@native
def kretprobe_hit(env: int, regs: int, probe: int) -> int:
    """Handler of `r` probes (`kretprobe_trace_func`)."""
    event = u64(probe + ProbeDesc.EVENT)
    if event_wanted(event) == 0:
        return 0
    record = u64(env + Env.SCRATCH)
    put64(record + 8, u64(probe + ProbeDesc.ADDRESS))
    put64(record + 16, u64(env + Env.RET_IP))
    return finish(env, regs, probe, event, record)
