"""Perf events: what perf_event_open(2) makes (kernel/events/core.c).

`ring` writes records into a mapped ring, natively; `event` is the object behind a descriptor. An event that
is software and BPF_OUTPUT takes what programs give to bpf_perf_event_output.

Locks: an event's own, for its state; a ring's spin lock, for a few instructions.
"""

from engine.perf.event import BpfOutputEvent, PerfEvent, PerfEventAttr

__all__ = ["BpfOutputEvent", "PerfEvent", "PerfEventAttr"]
