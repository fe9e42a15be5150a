"""Which kind of test run a program has."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.abi.bpf import ProgType
from engine.errors import KernelError
from engine.maps import ENOTSUPP
from engine.progs import Prog
from engine.testrun.plain import run_raw, run_syscall, run_tracing
from engine.testrun.request import RunRequest, RunResult
from engine.testrun.skb import run_skb
from engine.testrun.xdp import run_xdp

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["run_on_data"]

_KINDS: dict[ProgType, Callable[["Machine", Prog, RunRequest], RunResult]] = {
    ProgType.SOCKET_FILTER: run_skb,
    ProgType.SCHED_CLS: run_skb,
    ProgType.SCHED_ACT: run_skb,
    ProgType.CGROUP_SKB: run_skb,
    ProgType.XDP: run_xdp,
    ProgType.RAW_TRACEPOINT: run_raw,
    ProgType.RAW_TRACEPOINT_WRITABLE: run_raw,
    ProgType.SYSCALL: run_syscall,
    ProgType.TRACING: run_tracing,
}


def run_on_data(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """Run `prog` on what is asked. ENOTSUPP: its type cannot be run so; EINVAL: it cannot have such data."""
    row = _KINDS.get(prog.type)
    if row is None:
        raise KernelError(ENOTSUPP, f"{prog.type.name} programs have no test run")
    return row(machine, prog, asked)
