"""tracefs: everything under /sys/kernel/tracing, as a tree of `engine.kernfs` nodes. No FUSE.

Model: an event (`event`) is an id, fields and a native descriptor. What makes its hits (`kprobe`) stages a
record natively and hands it to `event_hit`, which asks triggers and filter and writes it to the ring of the
hit's CPU (`ring`). Records are compact and binary; `output` makes text of them when `trace` or `trace_pipe`
is read. `tracefs` holds the tables of files; each file's rules are in the module that its row names.

Owners: `Context` owns buffer, saved names, options and error log; `Events` lists events; `KprobeEvents` owns
probes. Locks, in order: `Context.lock` (event_mutex), the machine's lock, a ring's spin lock. No lock is held
over a read that waits.
"""

from tracefs.tracefs import Tracefs

__all__ = ["Tracefs"]
