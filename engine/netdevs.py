"""The network devices of the modelled kernel: the loopback alone."""

__all__ = ["LOOPBACK_IFINDEX"]

LOOPBACK_IFINDEX = 1
"""Number of `lo` in every network namespace (include/net/net_namespace.h)."""
