"""How many CPUs there can be: what sizes per-CPU map values here and in every client (libbpf, bpftool)."""

import os
from functools import cache

__all__ = ["parse_cpu_list", "possible_cpus"]

_POSSIBLE = "/sys/devices/system/cpu/possible"


def parse_cpu_list(text: str) -> set[int]:
    """The CPUs of a list as "0-3,5". ValueError for anything else."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


@cache
def possible_cpus() -> int:
    """CPUs of this machine, also those that are not plugged in; what affinity names where sysfs is hidden."""
    try:
        with open(_POSSIBLE, encoding="ascii") as file:
            return max(parse_cpu_list(file.read())) + 1
    except OSError:
        return max(os.cpu_count() or 1, max(os.sched_getaffinity(0)) + 1)
