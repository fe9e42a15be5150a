"""System-call stops: what is looked at, when handlers are called, with as few requests as can be."""

from engine.clock import monotonic
from engine.env import Ctl
from engine.jit.lang import (
    atomic_add64,
    c_call,
    call,
    load_acquire64,
    native,
    put32,
    put64,
    s32,
    u8,
    u32,
    u64,
    ult,
)
from engine.tracees.lifecycle import after_prctl, events_wanted, leave
from engine.tracees.ptrace import AUDIT_ARCH_X86_64, Info, InfoOp, Request, Sys, UserRegs
from engine.tracees.restart import in_bitmap, restart
from engine.tracees.resume import load_regs, resume
from engine.tracees.state import Flag, Phase, Rec, St
from engine.tracees.task import describe, forget_identity

__all__ = ["on_syscall"]

_SYSCALL_LIMIT = 512
_FOREIGN = 1 << 32
"""In place of a number, which is an int as for `do_syscall_64`: no x86-64 call, or the thread is gone."""
_UNSURE = 1 << 33
_HIT = 1 << 16
_WORTH_IT = _HIT * 2 // 5
"""Share of wanted calls from which reading all registers first is cheaper (measured: 1.6 against 1.0 us)."""


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
        if nr == Sys.PRCTL and events_wanted(st) and load_regs(st, rec) == 0:
            after_prctl(st, rec)
    if (interrupted or flags & Flag.WANT_EXIT) and load_regs(st, rec) == 0:
        put32(rec + Rec.FLAGS, u32(rec + Rec.FLAGS) & ~Flag.WANT_EXIT)
        if interrupted:
            restart(st, u32(rec + Rec.TID))
        if flags & Flag.WANT_EXIT:
            _fire_exit(st, rec, nr)
        if flags & Flag.DETACH:
            return leave(st, rec, 0)
    return resume(st, rec, 0)


@native
def _ask(st: int, rec: int) -> int:
    """Fill St.INFO; its InfoOp, or a negative errno."""
    info = st + St.INFO
    got = c_call("syscall", Sys.PTRACE, Request.GET_SYSCALL_INFO, u32(rec + Rec.TID), Info.SIZE, info)
    return u8(info) if got >= 0 else -1


@native
def _entered_by_registers(st: int, rec: int) -> int:
    """At an entry, all registers read: the number, `_FOREIGN`, or `_UNSURE` if they do not tell.

    The SYSCALL instruction leaves the address after it in %rcx and the flags in %r11; INT 80h does not.
    """
    regs = st + St.UREGS
    if load_regs(st, rec) < 0:
        return _FOREIGN
    flags = u64(regs + UserRegs.FLAGS)
    if u64(regs + UserRegs.CX) == u64(regs + UserRegs.IP) and u64(regs + UserRegs.R11) == flags:
        return s32(regs + UserRegs.ORIG_AX)
    return _UNSURE


@native
def _entered_by_info(st: int) -> int:
    """At an entry, with St.INFO filled: the number, or `_FOREIGN`."""
    info = st + St.INFO
    return s32(info + Info.NR) if u32(info + Info.ARCH) == AUDIT_ARCH_X86_64 else _FOREIGN


@native
def _on_entry(st: int, rec: int, nr: int, loaded: int) -> int:
    """System call `nr` (any int, or `_FOREIGN`) is entered; `loaded`: its registers are in St.UREGS."""
    put32(rec + Rec.PHASE, Phase.EXIT)
    put32(rec + Rec.NR, nr if ult(nr, _SYSCALL_LIMIT) else _SYSCALL_LIMIT)
    wanted = 0
    if nr != _FOREIGN:
        wanted = call(u64(st + St.WANTED), u64(st + St.ENV), nr)
    hits = u64(st + St.HITS)
    put64(st + St.HITS, hits - (hits >> 5) + (_HIT >> 5 if wanted else 0))
    if wanted:
        if not loaded and load_regs(st, rec) < 0:
            return 0
        _fire_entry(st, rec)
    return resume(st, rec, 0)


@native
def on_syscall(st: int, rec: int, interrupted: int) -> int:
    """A system-call stop. The common turn: one request to look, one to go on.

    Registers cost more than the mere number, but less than both: they are read at once where they will
    probably be wanted.
    """
    phase = u32(rec + Rec.PHASE)
    if phase == Phase.EXIT:
        return _on_exit(st, rec, interrupted)
    if phase == Phase.ENTRY and u64(st + St.HITS) > _WORTH_IT:
        nr = _entered_by_registers(st, rec)
        if nr != _UNSURE:
            return _on_entry(st, rec, nr, 1)
    op = _ask(st, rec)
    if op == InfoOp.ENTRY:
        return _on_entry(st, rec, _entered_by_info(st), 0)
    # The return of a call that was entered unobserved, or of a new thread from the call that made it.
    wanted = 0
    if op == InfoOp.EXIT and u32(st + St.INFO + Info.ARCH) == AUDIT_ARCH_X86_64:
        wanted = load_acquire64(u64(st + St.CTL) + Ctl.EXIT_SITES)
    if (interrupted or wanted) and load_regs(st, rec) == 0:
        if interrupted:
            restart(st, u32(rec + Rec.TID))
        if wanted:
            _fire_exit(st, rec, _SYSCALL_LIMIT)
    return resume(st, rec, 0)
