"""Helpers: what a program can call. One module per topic, one decorated native function per helper.

A helper takes the runner's environment and the program's r1 to r5, and gives r0. Its prototype stands above
it: the verifier checks arguments by it, the JIT inlines or calls the function, the interpreter calls it.

Pointers are host addresses. What a program reads through `probe_read` may be anything: see `memory`.
Nothing here takes a lock that is held while a file operation waits.
"""

from engine.helpers import (
    cgroup,
    checksums,
    clock,
    frames,
    loops,
    maps,
    memory,
    misc,
    packet,
    perf,
    printk,
    redirect,
    ring,
    routes,
    signals,
    stacks,
    storage,
    strings,
    task,
    traced,
)
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import HELPERS, Helper, helper

__all__ = [
    "HELPERS",
    "Arg",
    "Helper",
    "Proto",
    "Ret",
    "cgroup",
    "checksums",
    "clock",
    "frames",
    "helper",
    "loops",
    "maps",
    "memory",
    "misc",
    "packet",
    "perf",
    "printk",
    "redirect",
    "ring",
    "routes",
    "signals",
    "stacks",
    "storage",
    "strings",
    "task",
    "traced",
]
