"""Who a stop is about: fills the run environment from the thread's record, which it keeps fresh.

A name is read anew after exec, prctl and 10 ms; ids after a system call that may change them; the CPU every
millisecond, from the thread's rseq area, where the kernel writes it on each return to user mode.
"""

from engine.env import TASK_COMM_LEN, Ctl, Env
from engine.jit.lang import (
    atomic_add64,
    c_call,
    local,
    memcpy,
    native,
    put32,
    put64,
    u32,
    u64,
    ult,
)
from engine.kernel.tasks import task_new, task_set_comm, task_set_creds, task_set_leader, task_set_parent
from engine.tracees.proc import Stat, read_comm, read_identity, stat_field
from engine.tracees.ptrace import Request, Sys
from engine.tracees.state import COMM_NS, CPU_NS, SLOW_CPU_NS, Flag, Rec, St
from engine.tracees.threads import find
from engine.usermem import user_bytes

__all__ = ["current_cpu", "describe", "forget_identity", "refresh"]

_TICK_NS = 10_000_000
"""Nanoseconds of USER_HZ, in which /proc/PID/stat counts (100 a second on x86)."""
_NO_RSEQ = 1
_RSEQ_CPU_ID = 4
"""Offset of cpu_id in struct rseq."""
_RSEQ_CONFIG_SIZE = 24


@native
def forget_identity(rec: int) -> int:
    """The thread may have become somebody else, or have another name or rseq area."""
    put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) & ~Flag.KNOWN)
    put64(rec + Rec.COMM_NS, 0)
    put64(rec + Rec.CPU_NS, 0)
    put64(rec + Rec.RSEQ, 0)
    return 0


@native
def _find_rseq(st: int, rec: int) -> int:
    """Ask where the thread's struct rseq is."""
    config = st + St.RSEQ_CONFIG
    tid = u32(rec + Rec.TID)
    put64(config, 0)
    c_call("syscall", Sys.PTRACE, Request.GET_RSEQ_CONFIGURATION, tid, _RSEQ_CONFIG_SIZE, config)
    put64(rec + Rec.RSEQ, u64(config) if u64(config) else _NO_RSEQ)
    return 0


@native
def _rseq_cpu(st: int, rec: int) -> int:
    """The CPU in the thread's rseq area, as any word; -1 when it has none or cannot be read."""
    if u64(rec + Rec.RSEQ) == 0:
        _find_rseq(st, rec)
    if u64(rec + Rec.RSEQ) == _NO_RSEQ:
        return -1
    cpu = local(16)
    got = user_bytes(u64(st + St.ENV), u32(rec + Rec.TID), cpu, u64(rec + Rec.RSEQ) + _RSEQ_CPU_ID, 4)
    return u32(cpu) if got == 4 else -1


@native
def current_cpu(st: int, rec: int, now: int) -> int:
    """The CPU that the stopped thread runs on, below NR_CPUS; as of the last millisecond."""
    if now < u64(rec + Rec.CPU_NS):
        return u32(rec + Rec.CPU)
    cpus = u32(u64(st + St.CTL) + Ctl.NR_CPUS)
    cpu = _rseq_cpu(st, rec)
    put64(rec + Rec.CPU_NS, now + CPU_NS)
    if not ult(cpu, cpus):
        cpu = stat_field(st, u32(rec + Rec.TID), Stat.PROCESSOR)
        put64(rec + Rec.CPU_NS, now + SLOW_CPU_NS)
    if ult(cpu, cpus):
        put32(rec + Rec.CPU, cpu)
    return u32(rec + Rec.CPU)


@native
def _model(st: int, rec: int) -> int:
    """Make the thread's modelled task, if it has none, and tell it what is known."""
    tid = u32(rec + Rec.TID)
    if u64(rec + Rec.TASK) == 0:
        born = stat_field(st, tid, Stat.STARTTIME) * _TICK_NS
        put64(rec + Rec.TASK, task_new(u64(st + St.CTL), tid, u32(rec + Rec.TGID), born))
    task = u64(rec + Rec.TASK)
    if task == 0:
        return atomic_add64(st + St.UNTRACKED, 1)
    task_set_creds(task, u32(rec + Rec.UID), u32(rec + Rec.GID), u32(rec + Rec.EUID), u32(rec + Rec.EGID))
    leader = find(st, u32(rec + Rec.TGID))
    if leader and u64(leader + Rec.TASK):
        task_set_leader(task, u64(leader + Rec.TASK))
    parent = find(st, u32(rec + Rec.PPID))
    if parent and u64(parent + Rec.TASK):
        task_set_parent(task, u64(parent + Rec.TASK))
    return 0


@native
def refresh(st: int, rec: int, now: int) -> int:
    """Bring what is known of the thread up to `now`; it has a modelled task then, if there is room."""
    if (u32(rec + Rec.FLAGS) & Flag.KNOWN) == 0:
        read_identity(st, rec)
        _model(st, rec)
    if now - u64(rec + Rec.COMM_NS) > COMM_NS:
        read_comm(st, rec)
        if u64(rec + Rec.TASK):
            task_set_comm(u64(rec + Rec.TASK), rec + Rec.COMM)
        put64(rec + Rec.COMM_NS, now)
    return u64(rec + Rec.TASK)


@native
def describe(st: int, rec: int, now: int) -> int:
    """Make the run environment tell of a stop of `rec` at time `now`."""
    env = u64(st + St.ENV)
    refresh(st, rec, now)
    put64(env + Env.TIME_NS, now)
    put32(env + Env.CPU, current_cpu(st, rec, now))
    put32(env + Env.FLAGS, 0)
    put32(env + Env.TID, u32(rec + Rec.TID))
    put32(env + Env.TGID, u32(rec + Rec.TGID))
    put32(env + Env.UID, u32(rec + Rec.UID))
    put32(env + Env.GID, u32(rec + Rec.GID))
    memcpy(env + Env.COMM, rec + Rec.COMM, TASK_COMM_LEN)
    put64(env + Env.MEM_TID, u32(rec + Rec.TID))
    put64(env + Env.TASK, u64(rec + Rec.TASK))
    put32(env + Env.NSPID, u32(rec + Rec.NSPID))
    put32(env + Env.NSTGID, u32(rec + Rec.NSTGID))
    return 0
