"""The native header of a loaded program: what runners, helpers and generated code know of it.

+0 FN  +8 RUN_CNT  +16 RUN_TIME_NS  +24 MISSED  +32 ID  +36 TYPE                        64 bytes
"""

from enum import IntEnum

__all__ = ["PROG_HDR_SIZE", "ProgHdr"]

PROG_HDR_SIZE = 64


class ProgHdr(IntEnum):
    """Offsets in a program's header."""

    FN = 0
    """u64, fn(ctx, env) -> r0."""
    RUN_CNT = 8
    RUN_TIME_NS = 16
    """u64, nanoseconds in the program, counted while `Ctl.STATS_ENABLED`."""
    MISSED = 24
    """u64, runs that did not happen because one was under way."""
    ID = 32
    TYPE = 36
    """u32, its program type; what it tail-calls is of the same."""
