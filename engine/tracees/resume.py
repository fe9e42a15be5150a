"""Letting a stopped tracee go on: at full speed or to the next system call, with its signal, or for good.

ESRCH from any request means that the thread is dying or was killed while stopped: its exit status will come
through wait, so nothing else is to be done.
"""

from engine.env import Ctl
from engine.jit.lang import atomic_add64, c_call, errno_, load_acquire64, native, put32, u32, u64
from engine.tracees.ptrace import EXIT_OPTIONS, OPTIONS, Errno, Request, Sys
from engine.tracees.state import Flag, Mode, Phase, Rec, St
from engine.tracees.threads import record, remove

__all__ = ["interrupt", "interrupt_running", "let_go", "listen", "load_regs", "request", "resume"]


@native
def request(st: int, op: int, tid: int, data: int) -> int:
    """ptrace(op, tid, 0, data); 0 or a negative errno, counted unless it is ESRCH."""
    if c_call("syscall", Sys.PTRACE, op, tid, 0, data) >= 0:
        return 0
    error = errno_()
    if error != Errno.ESRCH:
        atomic_add64(st + St.ERRORS, 1)
    return -error


@native
def interrupt(st: int, rec: int) -> int:
    """Ask the thread to stop when it can; never waits. 0 or -ESRCH."""
    if u32(rec + Rec.FLAGS) & Flag.INTERRUPTED:
        return 0
    error = request(st, Request.INTERRUPT, u32(rec + Rec.TID), 0)
    if error == 0:
        put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) | Flag.INTERRUPTED)
        atomic_add64(st + St.INTERRUPTS, 1)
    return error


@native
def _follow_exits(st: int, rec: int) -> int:
    """Have the stopped thread report its end as long as process events are wanted."""
    events = u64(u64(st + St.CTL) + Ctl.EVENTS) != 0
    flags = u32(rec + Rec.FLAGS)
    if events == (flags & Flag.TELLS_EXIT != 0):
        return 0
    put32(rec + Rec.FLAGS, flags ^ Flag.TELLS_EXIT)
    return request(st, Request.SETOPTIONS, u32(rec + Rec.TID), EXIT_OPTIONS if events else OPTIONS)


@native
def load_regs(st: int, rec: int) -> int:
    """Read all registers into St.UREGS; 0 or a negative errno."""
    return request(st, Request.GETREGS, u32(rec + Rec.TID), st + St.UREGS)


@native
def resume(st: int, rec: int, signal: int) -> int:
    """Let the thread run on, delivering `signal` (0: none), to the next system call if anything is armed."""
    _follow_exits(st, rec)
    op = Request.CONT
    mode = Mode.CONT
    if (
        load_acquire64(u64(st + St.CTL) + Ctl.ARMED)
        and (u32(rec + Rec.FLAGS) & (Flag.COMPAT | Flag.DETACH)) == 0
    ):
        op = Request.SYSCALL
        mode = Mode.SYSCALL
    else:
        put32(rec + Rec.PHASE, Phase.ASK)
    put32(rec + Rec.MODE, mode)
    error = request(st, op, u32(rec + Rec.TID), signal)
    if error == 0 and u32(rec + Rec.FLAGS) & Flag.DETACH:
        # This was no place to let it go (see `let_go`), and any stop uses up the interrupt that was sent.
        interrupt(st, rec)
    return error


@native
def listen(st: int, rec: int) -> int:
    """Leave the thread in its group stop, as without us; SIGCONT brings it back."""
    put32(rec + Rec.MODE, Mode.LISTEN)
    return request(st, Request.LISTEN, u32(rec + Rec.TID), 0)


@native
def let_go(st: int, rec: int, signal: int) -> int:
    """Stop tracing the stopped thread, delivering `signal`. In a group stop it stays there, else it runs on.

    Not before or in a system call: detaching leaves the thread with TIF_SIGPENDING, so that the call would
    fail with EINTR (kernel/ptrace.c, __ptrace_unlink).
    """
    tid = u32(rec + Rec.TID)
    if request(st, Request.DETACH, tid, signal) == 0:
        remove(st, tid)
    return 0


@native
def interrupt_running(st: int) -> int:
    """Something was armed: bring threads that run at full speed to a stop, from which they go on observed."""
    armed = load_acquire64(u64(st + St.CTL) + Ctl.ARMED)
    events = u64(u64(st + St.CTL) + Ctl.EVENTS)
    for number in range(u64(st + St.TOP)):
        rec = record(st, number)
        fast = u32(rec + Rec.TID) and u32(rec + Rec.MODE) == Mode.CONT
        silent = events and not u32(rec + Rec.FLAGS) & Flag.TELLS_EXIT
        if fast and (armed or silent) and not u32(rec + Rec.FLAGS) & Flag.COMPAT:
            interrupt(st, rec)
    return 0
