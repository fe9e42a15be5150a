"""bpf_send_signal and bpf_send_signal_thread (kernel/trace/bpf_trace.c)."""

import errno

from engine.abi.bpf import FuncId
from engine.env import Env
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import c_call, errno_, native, sext32, u32, u64, uge

__all__ = ["send_signal", "send_signal_thread"]

_SYS_TGKILL = 234
_SIGNALS = 64
_INIT = 1
_EINVAL = -errno.EINVAL
_EPERM = -errno.EPERM


@native
def _allowed(env: int, signal: int) -> int:
    """0, or why the current thread gets no such signal: -EINVAL (no signal), -EPERM (init, or no thread)."""
    if uge(signal & 0xFFFF_FFFF, _SIGNALS + 1):
        return _EINVAL
    if u64(env + Env.MEM_TID) == 0 or u32(env + Env.TGID) == _INIT:
        return _EPERM
    return 0


@helper(Proto(FuncId.send_signal, "bpf_send_signal", Ret.INTEGER, (Arg.ANYTHING,)))
@native
def send_signal(env: int, signal: int) -> int:
    """Send a signal to the current process. -EINVAL, -EPERM."""
    error = _allowed(env, signal)
    if error < 0 or signal & 0xFFFF_FFFF == 0:
        return error
    return 0 if sext32(c_call("kill", u32(env + Env.TGID), signal)) == 0 else -errno_()


@helper(Proto(FuncId.send_signal_thread, "bpf_send_signal_thread", Ret.INTEGER, (Arg.ANYTHING,)))
@native
def send_signal_thread(env: int, signal: int) -> int:
    """Send a signal to the current thread. -EINVAL, -EPERM."""
    error = _allowed(env, signal)
    if error < 0 or signal & 0xFFFF_FFFF == 0:
        return error
    tid = u64(env + Env.MEM_TID)
    sent = c_call("syscall", _SYS_TGKILL, u32(env + Env.TGID), tid, signal)
    return 0 if sext32(sent) == 0 else -errno_()
