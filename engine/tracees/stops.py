"""What each kind of ptrace stop means, and what is done about it.

system call   entry or exit; only what somebody wants is looked at further
signal        passed on as it is (the kernel keeps its siginfo)
STOP          our interrupt, a new thread's first stop, a group stop, or the end of one
EXEC          a new program; a thread that was not the leader has taken the leader's id
FORK ...      a new thread, which reports itself too, perhaps before this
EXIT          the thread is about to end; only while that is an event
"""

from engine.clock import monotonic
from engine.jit.lang import (
    atomic_add64,
    memcpy,
    native,
    put32,
    put64,
    u32,
    u64,
)
from engine.kernel.tasks import task_renumber
from engine.tracees.lifecycle import (
    born,
    ended,
    events_wanted,
    free_held,
    hold_newborn,
    leave,
    new_program,
    record_of,
)
from engine.tracees.ptrace import (
    SYSCALL_STOP,
    USER32_CS,
    Event,
    Request,
    Sig,
    UserRegs,
)
from engine.tracees.restart import restart, restart_if_ignored
from engine.tracees.resume import listen, load_regs, request, resume
from engine.tracees.state import REC_SIZE, Flag, Mode, Phase, Rec, St
from engine.tracees.syscalls import on_syscall
from engine.tracees.task import forget_identity, refresh
from engine.tracees.threads import find, forget_task, remove
from engine.usermem import forget_memory

__all__ = ["on_status"]

_GROUP_STOPS = sum(1 << signal for signal in (Sig.STOP, Sig.TSTP, Sig.TTIN, Sig.TTOU))


@native
def _note_width(st: int, rec: int) -> int:
    """With registers in St.UREGS: a thread in 32-bit code is left alone from now on."""
    flags = u32(rec + Rec.FLAGS) & ~Flag.COMPAT
    if u64(st + St.UREGS + UserRegs.CS) == USER32_CS:
        flags |= Flag.COMPAT
    put32(rec + Rec.FLAGS, flags)
    return 0


@native
def _on_signal(st: int, rec: int, signal: int, continued: int) -> int:
    """A signal is about to be delivered."""
    put32(rec + Rec.PHASE, Phase.ASK)
    if not continued and load_regs(st, rec) == 0:
        restart_if_ignored(st, u32(rec + Rec.TID), signal)
    if u32(rec + Rec.FLAGS) & Flag.DETACH:
        return leave(st, rec, signal)
    return resume(st, rec, signal)


@native
def _on_stop_event(st: int, rec: int, signal: int) -> int:
    """PTRACE_EVENT_STOP."""
    grouped = (_GROUP_STOPS >> signal) & 1
    put32(rec + Rec.PHASE, Phase.ASK)
    if not grouped and load_regs(st, rec) == 0:
        if u32(rec + Rec.MODE) == Mode.LISTEN:
            put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) | Flag.CONTINUED)
        else:
            restart(st, u32(rec + Rec.TID))
        _note_width(st, rec)
        forget_identity(rec)
        if events_wanted(st):
            # So that the name from before is known when it changes.
            refresh(st, rec, monotonic())
            if hold_newborn(st, rec):
                return 0
    if u32(rec + Rec.FLAGS) & Flag.DETACH:
        return leave(st, rec, 0)
    return listen(st, rec) if grouped else resume(st, rec, 0)


@native
def _take_over(st: int, rec: int, former_tid: int) -> int:
    """A thread that was not the leader, `former_tid`, has executed a program and is the leader now."""
    former = find(st, former_tid)
    if former:
        forget_task(st, rec)
        leaving = u32(rec + Rec.FLAGS) & Flag.DETACH
        memcpy(rec + Rec.TGID, former + Rec.TGID, REC_SIZE - Rec.TGID)
        if leaving:
            put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) | Flag.DETACH)
        elif u32(rec + Rec.FLAGS) & Flag.DETACH:
            put64(st + St.DETACHING, u64(st + St.DETACHING) + 1)
        put64(former + Rec.TASK, 0)
        remove(st, former_tid)
        if u64(rec + Rec.TASK):
            task_renumber(u64(rec + Rec.TASK), u32(rec + Rec.TID), u32(rec + Rec.TID))
    return 0


@native
def _on_exec(st: int, rec: int) -> int:
    """PTRACE_EVENT_EXEC, reported under the leader's id whoever called execve."""
    message = st + St.EVENT_MESSAGE
    tid = u32(rec + Rec.TID)
    if request(st, Request.GETEVENTMSG, tid, message) < 0:
        return 0
    former = u64(message)
    if former != tid:
        _take_over(st, rec, former)
    forget_identity(rec)
    forget_memory(u64(st + St.ENV), tid)
    if load_regs(st, rec) == 0:
        _note_width(st, rec)
    if events_wanted(st) and not u32(rec + Rec.FLAGS) & Flag.COMPAT:
        new_program(st, rec, former)
    return resume(st, rec, 0)


@native
def _on_end(st: int, rec: int) -> int:
    """PTRACE_EVENT_EXIT."""
    message = st + St.EVENT_MESSAGE
    if request(st, Request.GETEVENTMSG, u32(rec + Rec.TID), message) == 0:
        ended(st, rec, u64(message), 1)
    return resume(st, rec, 0)


@native
def _on_gone(st: int, tid: int, status: int) -> int:
    """The thread has ended."""
    atomic_add64(st + St.EXITS, 1)
    rec = find(st, tid)
    if rec:
        ended(st, rec, status, 0)
    remove(st, tid)
    return free_held(st)


@native
def on_status(st: int, tid: int, status: int) -> int:
    """Deal with one result of wait4: thread `tid` has stopped or ended with `status`."""
    atomic_add64(st + St.STOPS, 1)
    if (status & 0xFF) != 0x7F:
        return _on_gone(st, tid, status)
    signal = (status >> 8) & 0xFF
    event = (status >> 16) & 0xFFFF
    rec = record_of(st, tid)
    if rec == 0:
        return request(st, Request.DETACH, tid, 0 if event or signal == SYSCALL_STOP else signal)
    # Any stop uses up an interrupt.
    flags = u32(rec + Rec.FLAGS)
    interrupted = flags & Flag.INTERRUPTED
    put32(rec + Rec.FLAGS, flags & ~(Flag.INTERRUPTED | Flag.CONTINUED))
    if signal == SYSCALL_STOP:
        return on_syscall(st, rec, interrupted)
    if event == Event.NONE:
        return _on_signal(st, rec, signal, flags & Flag.CONTINUED)
    if event == Event.STOP:
        return _on_stop_event(st, rec, signal)
    if event == Event.EXEC:
        return _on_exec(st, rec)
    if event == Event.EXIT:
        return _on_end(st, rec)
    born(st, rec, event)
    return resume(st, rec, 0)
