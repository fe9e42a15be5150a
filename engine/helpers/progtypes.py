"""Sets of program types that share their helpers (bpf_tracing_func_proto and its neighbours)."""

from engine.abi.bpf import ProgType

__all__ = ["NETWORKING", "TRACING"]

TRACING = frozenset(
    {
        ProgType.KPROBE,
        ProgType.TRACEPOINT,
        ProgType.PERF_EVENT,
        ProgType.RAW_TRACEPOINT,
        ProgType.RAW_TRACEPOINT_WRITABLE,
        ProgType.TRACING,
    }
)
"""Types that see kernel and user memory of whatever they interrupt."""

NETWORKING = frozenset(
    {
        ProgType.SOCKET_FILTER,
        ProgType.SCHED_CLS,
        ProgType.SCHED_ACT,
        ProgType.XDP,
        ProgType.CGROUP_SKB,
        ProgType.CGROUP_SOCK,
        ProgType.LWT_IN,
        ProgType.LWT_OUT,
        ProgType.LWT_XMIT,
        ProgType.SOCK_OPS,
        ProgType.SK_SKB,
        ProgType.SK_MSG,
        ProgType.LWT_SEG6LOCAL,
        ProgType.SK_LOOKUP,
    }
)
"""Types that run on a packet or a socket."""
