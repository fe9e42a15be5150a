"""Births, new programs, new names and ends of threads, told as process events while somebody wants them.

A new thread may stop for the first time before its parent's stop tells of it. It is held then, so that its
birth is told before anything that it does; if the parent ends or is let go without telling, it is freed.
"""

from engine.clock import monotonic
from engine.env import TASK_COMM_LEN, Ctl, Env
from engine.jit.lang import local, memcpy, native, put8, put32, put64, u32, u64
from engine.probes.events import thread_exec, thread_exit, thread_fork, thread_killed, thread_renamed
from engine.tracees.proc import exec_name, read_identity, tracer_of
from engine.tracees.ptrace import Event, Request, Sig, Sys, UserRegs
from engine.tracees.resume import let_go, request, resume
from engine.tracees.state import Flag, Mode, Rec, St
from engine.tracees.task import describe, refresh
from engine.tracees.threads import find, insert, record
from engine.usermem import user_bytes

__all__ = [
    "after_prctl",
    "born",
    "ended",
    "events_wanted",
    "free_held",
    "hold_newborn",
    "leave",
    "new_program",
    "record_of",
]

_CSIGNAL = 0xFF
_VFORK_FLAGS = 0x4100
"""CLONE_VFORK | CLONE_VM."""
_PATH_MAX = 4096
_PR_SET_NAME = 15


@native(inline=True)
def events_wanted(st: int) -> int:
    """Whether process events fire anything."""
    return u64(u64(st + St.CTL) + Ctl.EVENTS)


@native
def _born_while_detaching(st: int, rec: int) -> int:
    """A new thread of a process that is being let go is let go as well."""
    read_identity(st, rec)
    leave = u64(st + St.STOPPING)
    for number in range(u64(st + St.TOP)):
        other = record(st, number)
        same = u32(other + Rec.TID) and u32(other + Rec.TGID) == u32(rec + Rec.TGID)
        if same and u32(other + Rec.FLAGS) & Flag.DETACH:
            leave = 1
    if leave:
        put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) | Flag.DETACH)
        put64(st + St.DETACHING, u64(st + St.DETACHING) + 1)
    return 0


@native
def record_of(st: int, tid: int) -> int:
    """The thread's record, made when it is first heard of; 0 when there is no room."""
    rec = find(st, tid)
    if rec == 0:
        rec = insert(st, tid)
        if rec and (u64(st + St.DETACHING) or u64(st + St.STOPPING)):
            _born_while_detaching(st, rec)
    return rec


@native
def hold_newborn(st: int, rec: int) -> int:
    """A thread stops for the first time; whether it is held until its birth has been told."""
    if u32(rec + Rec.MODE) != Mode.NEW or not events_wanted(st) or u32(rec + Rec.FLAGS) & Flag.DETACH:
        return 0
    put32(rec + Rec.MODE, Mode.HELD)
    put64(st + St.HELD, u64(st + St.HELD) + 1)
    return 1


@native
def _free(st: int, rec: int) -> int:
    """Let a held thread run."""
    put64(st + St.HELD, u64(st + St.HELD) - 1)
    return resume(st, rec, 0)


@native
def free_held(st: int) -> int:
    """A thread has ended or left that may have been about to tell of a birth: let all that are held run."""
    if u64(st + St.HELD):
        for number in range(u64(st + St.TOP)):
            rec = record(st, number)
            if u32(rec + Rec.TID) and u32(rec + Rec.MODE) == Mode.HELD:
                _free(st, rec)
    return 0


@native
def _clone_flags(st: int, rec: int, event: int) -> int:
    """Flags of the call that the thread is in, without the signal, as sched:task_newtask has them."""
    regs = st + St.UREGS
    if request(st, Request.GETREGS, u32(rec + Rec.TID), regs) < 0:
        return 0
    if u64(regs + UserRegs.ORIG_AX) == Sys.CLONE:
        return u64(regs + UserRegs.DI) & 0xFFFFFFFF & ~_CSIGNAL
    if u64(regs + UserRegs.ORIG_AX) == Sys.CLONE3:
        flags = local(16)
        put64(flags, 0)
        user_bytes(u64(st + St.ENV), u32(rec + Rec.TID), flags, u64(regs + UserRegs.DI), 8)
        return u64(flags)
    return _VFORK_FLAGS if event == Event.VFORK else 0


@native
def born(st: int, rec: int, event: int) -> int:
    """PTRACE_EVENT_FORK and its kin: the thread has made another."""
    message = st + St.EVENT_MESSAGE
    if request(st, Request.GETEVENTMSG, u32(rec + Rec.TID), message) < 0:
        return 0
    tid = u64(message)
    child = find(st, tid)
    if child == 0 and tracer_of(st, tid) == u64(st + St.TRACER):
        # Its own first stop is still to come, and is not to be held. (Or it has ended already, or left.)
        child = record_of(st, tid)
        if child:
            put32(child + Rec.MODE, Mode.CONT)
    if child == 0:
        return 0
    if events_wanted(st):
        now = monotonic()
        describe(st, rec, now)
        thread_fork(u64(st + St.ENV), refresh(st, child, now), _clone_flags(st, rec, event))
    return _free(st, child) if u32(child + Rec.MODE) == Mode.HELD else 0


@native
def renamed(st: int, rec: int) -> int:
    """After exec or PR_SET_NAME: read the name anew, and tell, also when it is the same (__set_task_comm)."""
    old = local(16)
    memcpy(old, rec + Rec.COMM, TASK_COMM_LEN)
    put64(rec + Rec.COMM_NS, 0)
    describe(st, rec, monotonic())
    return thread_renamed(u64(st + St.ENV), old)


@native
def after_prctl(st: int, rec: int) -> int:
    """With registers in St.UREGS: prctl(2) returns."""
    regs = st + St.UREGS
    if u64(regs + UserRegs.DI) == _PR_SET_NAME and u64(regs + UserRegs.AX) == 0:
        renamed(st, rec)
    return 0


@native
def new_program(st: int, rec: int, former: int) -> int:
    """PTRACE_EVENT_EXEC: the thread, `former` by its old id, runs a new program."""
    renamed(st, rec)
    tid = u32(rec + Rec.TID)
    path = local(_PATH_MAX)
    got = user_bytes(u64(st + St.ENV), tid, path, exec_name(st, tid), _PATH_MAX - 1)
    put8(path + (got if got > 0 else 0), 0)
    return thread_exec(u64(st + St.ENV), path, former)


@native
def ended(st: int, rec: int, code: int, alive: int) -> int:
    """The thread ends with wait status `code`: PTRACE_EVENT_EXIT (`alive`), or when it is gone without that.

    One that does not call exit or exit_group itself is killed, by a signal or by its process's end.
    """
    if u32(rec + Rec.FLAGS) & (Flag.ENDED | Flag.COMPAT) or not events_wanted(st):
        return 0
    put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) | Flag.ENDED)
    killed = code & 0x7F
    regs = st + St.UREGS
    if alive and request(st, Request.GETREGS, u32(rec + Rec.TID), regs) == 0:
        nr = u64(regs + UserRegs.ORIG_AX)
        if killed == 0 and nr != Sys.EXIT and nr != Sys.EXIT_GROUP:
            killed = Sig.KILL
    env = u64(st + St.ENV)
    describe(st, rec, monotonic())
    if not alive:
        put64(env + Env.MEM_TID, 0)
    if killed:
        thread_killed(env, killed)
    return thread_exit(env, code)


@native
def leave(st: int, rec: int, signal: int) -> int:
    """Let the thread go, and whoever waited for what it would have told."""
    let_go(st, rec, signal)
    return free_held(st)
