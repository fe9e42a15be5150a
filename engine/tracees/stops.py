"""What each kind of ptrace stop means, and what is done about it.

system call   entry or exit; only what somebody wants is looked at further
signal        passed on as it is (the kernel keeps its siginfo)
STOP          our interrupt, a new thread's first stop, a group stop, or the end of one
EXEC          a new program; a thread that was not the leader has taken the leader's id
FORK ...      a new thread, which reports itself too, perhaps before this
EXIT          the thread is about to end; only while that is an event
"""

from engine.env import Ctl
from engine.jit.lang import (
    atomic_add64,
    c_call,
    call,
    load_acquire64,
    memcpy,
    native,
    put32,
    put64,
    u8,
    u32,
    u64,
    ult,
)
from engine.kernel.tasks import task_renumber
from engine.tracees.lifecycle import (
    after_prctl,
    born,
    ended,
    events_wanted,
    free_held,
    hold_newborn,
    new_program,
    record_of,
)
from engine.tracees.ptrace import (
    AUDIT_ARCH_X86_64,
    SYSCALL_STOP,
    USER32_CS,
    Event,
    Info,
    InfoOp,
    Request,
    Sig,
    Sys,
    UserRegs,
)
from engine.tracees.restart import in_bitmap, restart, restart_if_ignored
from engine.tracees.resume import let_go, listen, request, resume
from engine.tracees.state import REC_SIZE, Flag, Mode, Phase, Rec, St
from engine.tracees.task import describe, forget_identity, monotonic, refresh
from engine.tracees.threads import find, forget_task, remove

__all__ = ["on_status"]

_SYSCALL_LIMIT = 512
_HIT = 1 << 16
_WORTH_IT = _HIT * 2 // 5
"""Share of wanted calls from which reading all registers first is cheaper (measured: 1.6 against 1.0 us)."""
_GROUP_STOPS = sum(1 << signal for signal in (Sig.STOP, Sig.TSTP, Sig.TTIN, Sig.TTOU))


@native
def _load_regs(st: int, rec: int) -> int:
    """Read all registers into St.UREGS; 0 or a negative errno."""
    return request(st, Request.GETREGS, u32(rec + Rec.TID), st + St.UREGS)


@native
def _leave(st: int, rec: int, signal: int) -> int:
    """Let the thread go, and whoever waited for what it would have told."""
    let_go(st, rec, signal)
    return free_held(st)


@native
def _note_width(st: int, rec: int) -> int:
    """With registers in St.UREGS: a thread in 32-bit code is left alone from now on."""
    flags = u32(rec + Rec.FLAGS) & ~Flag.COMPAT
    if u64(st + St.UREGS + UserRegs.CS) == USER32_CS:
        flags |= Flag.COMPAT
    put32(rec + Rec.FLAGS, flags)
    return 0


@native
def _fire_entry(st: int, rec: int) -> int:
    """With registers in St.UREGS: call ENTER and remember whether the return is wanted too."""
    describe(st, rec, monotonic())
    atomic_add64(st + St.EVENTS, 1)
    if call(u64(st + St.ENTER), u64(st + St.ENV), st + St.UREGS):
        put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) | Flag.WANT_EXIT)
    return 0


@native
def _fire_exit(st: int, rec: int, nr: int) -> int:
    """With registers in St.UREGS: call EXIT."""
    regs = st + St.UREGS
    describe(st, rec, monotonic())
    # rt_sigreturn and execve have replaced it; handlers go by the number that was entered.
    if nr < _SYSCALL_LIMIT:
        put64(regs + UserRegs.ORIG_AX, nr)
    atomic_add64(st + St.EVENTS, 1)
    return call(u64(st + St.EXIT), u64(st + St.ENV), regs, u64(regs + UserRegs.AX))


@native
def _on_exit(st: int, rec: int, interrupted: int) -> int:
    """The system call entered before returns."""
    nr = u32(rec + Rec.NR)
    flags = u32(rec + Rec.FLAGS)
    put32(rec + Rec.PHASE, Phase.ENTRY)
    if in_bitmap(st + St.IDENTITY, nr):
        forget_identity(rec)
        if nr == Sys.PRCTL and events_wanted(st) and _load_regs(st, rec) == 0:
            after_prctl(st, rec)
    if (interrupted or flags & Flag.WANT_EXIT) and _load_regs(st, rec) == 0:
        put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) & ~Flag.WANT_EXIT)
        if interrupted:
            restart(st, u32(rec + Rec.TID))
        if flags & Flag.WANT_EXIT:
            _fire_exit(st, rec, nr)
        if flags & Flag.DETACH:
            return _leave(st, rec, 0)
    return resume(st, rec, 0)


@native
def _ask(st: int, rec: int) -> int:
    """Fill St.INFO; its InfoOp, or a negative errno."""
    info = st + St.INFO
    got = c_call("syscall", Sys.PTRACE, Request.GET_SYSCALL_INFO, u32(rec + Rec.TID), Info.SIZE, info)
    return u8(info) if got >= 0 else -1


@native
def _entered_by_registers(st: int, rec: int) -> int:
    """At an entry, all registers read: the number if it is an x86-64 call, -1 if not, -2 if it is not sure.

    The SYSCALL instruction leaves the address after it in %rcx and the flags in %r11; INT 80h does not.
    """
    regs = st + St.UREGS
    if _load_regs(st, rec) < 0:
        return -1
    flags = u64(regs + UserRegs.FLAGS)
    if u64(regs + UserRegs.CX) == u64(regs + UserRegs.IP) and u64(regs + UserRegs.R11) == flags:
        return u64(regs + UserRegs.ORIG_AX)
    return -2


@native
def _entered_by_info(st: int) -> int:
    """At an entry, with St.INFO filled: the number if it is an x86-64 call, else -1."""
    info = st + St.INFO
    return u64(info + Info.NR) if u32(info + Info.ARCH) == AUDIT_ARCH_X86_64 else -1


@native
def _on_entry(st: int, rec: int, nr: int, loaded: int) -> int:
    """System call `nr` (any word) is entered; `loaded`: its registers are in St.UREGS."""
    put32(rec + Rec.PHASE, Phase.EXIT)
    put32(rec + Rec.NR, nr if ult(nr, _SYSCALL_LIMIT) else _SYSCALL_LIMIT)
    wanted = 0
    if nr != -1:
        wanted = call(u64(st + St.WANTED), u64(st + St.ENV), nr)
    hits = u64(st + St.HITS)
    put64(st + St.HITS, hits - (hits >> 5) + (_HIT >> 5 if wanted else 0))
    if wanted:
        if not loaded and _load_regs(st, rec) < 0:
            return 0
        _fire_entry(st, rec)
    return resume(st, rec, 0)


@native
def _on_syscall(st: int, rec: int, interrupted: int) -> int:
    """A system-call stop. The common turn: one request to look, one to go on.

    Registers cost more than the mere number, but less than both: they are read at once where they will
    probably be wanted.
    """
    phase = u32(rec + Rec.PHASE)
    if phase == Phase.EXIT:
        return _on_exit(st, rec, interrupted)
    if phase == Phase.ENTRY and u64(st + St.HITS) > _WORTH_IT:
        nr = _entered_by_registers(st, rec)
        if nr != -2:
            return _on_entry(st, rec, nr, 1)
    op = _ask(st, rec)
    if op == InfoOp.ENTRY:
        return _on_entry(st, rec, _entered_by_info(st), 0)
    # The return of a call that was entered unobserved, or of a new thread from the call that made it.
    wanted = 0
    if op == InfoOp.EXIT and u32(st + St.INFO + Info.ARCH) == AUDIT_ARCH_X86_64:
        wanted = load_acquire64(u64(st + St.CTL) + Ctl.EXIT_SITES)
    if (interrupted or wanted) and _load_regs(st, rec) == 0:
        if interrupted:
            restart(st, u32(rec + Rec.TID))
        if wanted:
            _fire_exit(st, rec, _SYSCALL_LIMIT)
    return resume(st, rec, 0)


@native
def _on_signal(st: int, rec: int, signal: int, continued: int) -> int:
    """A signal is about to be delivered."""
    put32(rec + Rec.PHASE, Phase.ASK)
    if not continued and _load_regs(st, rec) == 0:
        restart_if_ignored(st, u32(rec + Rec.TID), signal)
    if u32(rec + Rec.FLAGS) & Flag.DETACH:
        return _leave(st, rec, signal)
    return resume(st, rec, signal)


@native
def _on_stop_event(st: int, rec: int, signal: int) -> int:
    """PTRACE_EVENT_STOP."""
    grouped = (_GROUP_STOPS >> signal) & 1
    put32(rec + Rec.PHASE, Phase.ASK)
    if not grouped and _load_regs(st, rec) == 0:
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
        return _leave(st, rec, 0)
    return listen(st, rec) if grouped else resume(st, rec, 0)


@native
def _take_over(st: int, rec: int, former_tid: int) -> int:
    """A thread that was not the leader, `former_tid`, has executed a program and is the leader now."""
    former = find(st, former_tid)
    if former:
        forget_task(st, rec)
        memcpy(rec + Rec.TGID, former + Rec.TGID, REC_SIZE - Rec.TGID)
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
    if _load_regs(st, rec) == 0:
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
        return request(st, Request.CONT, tid, 0 if event or signal == SYSCALL_STOP else signal)
    # Any stop uses up an interrupt.
    flags = u32(rec + Rec.FLAGS)
    interrupted = flags & Flag.INTERRUPTED
    put32(rec + Rec.FLAGS, flags & ~(Flag.INTERRUPTED | Flag.CONTINUED))
    if signal == SYSCALL_STOP:
        return _on_syscall(st, rec, interrupted)
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
