"""Attached processes: ptrace on one thread, system calls to handlers.

Model. `Tracer` owns one thread, and only that thread calls ptrace and waits for tracees. It runs a native
loop without the GIL (`loop`, `stops`, `syscalls`, `resume`) over records in its own memory (`state`,
`threads`) and comes back to Python for requests of other threads only (`attach`). A tracee runs at full
speed while `Ctl.ARMED` is 0; else it stops at each system call and return, the run environment is filled
(`task`, `proc`) if somebody wants the event, and handlers run. `lifecycle` tells of births and ends,
`restart` keeps our interrupts invisible, `placement` keeps stops cheap, `doorbell` wakes the loop.

Promises. A tracee outlives us whatever ends us (no EXITKILL). No call waits for a tracee to stop. A hit
waits for nothing but the locks of what it writes to. Tracee memory, which may be a file on our own mount, is
read on the tracer thread only, without the GIL.

Locks: `Tracer` has one, for its queue and the life of its memory, held for moments; none is held by the
native loop itself.

Nobody in the process may wait for any child (`os.wait`, waitpid(-1)): it would steal stops.
"""

from engine.tracees.handlers import Handlers
from engine.tracees.tracer import Tracer

__all__ = ["Handlers", "Tracer"]
