"""The trigger `bpf:PATH`: a pinned program runs at every hit of an event and decides whether it is recorded.

On a kprobe event the program is a KPROBE one and gets the registers; on a tracepoint a TRACEPOINT one, which
gets the record. The record is dropped when the program returns 0 (`trace_call_bpf`).
"""

import errno
from collections.abc import Callable

from engine.abi.bpf import ProgType
from engine.env import Env
from engine.errors import KernelError
from engine.jit.lang import native, u64
from engine.progs import Prog, run_prog
from tracefs.event import TraceEvent
from tracefs.kprobe import KprobeEvent
from tracefs.tracepoint import TracepointEvent
from tracefs.trigger_run import Action
from tracefs.triggers import Command, Parsed

__all__ = ["bpf_command", "run_on_record", "run_on_registers"]


@native
def run_on_registers(env: int, record: int, prog: int) -> int:
    """Run a program on the registers of the hit."""
    return run_prog(env, u64(env + Env.REGS), prog)


@native
def run_on_record(env: int, record: int, prog: int) -> int:
    """Run a program on the staged record."""
    return run_prog(env, record, prog)


def bpf_command(resolve: Callable[[str], Prog]) -> Command:
    """The command, given what finds the program pinned at a path (KernelError ENOENT, EINVAL)."""

    def parse(event: TraceEvent, parameters: str | None) -> Parsed:
        if not parameters:
            raise KernelError(errno.EINVAL)
        prog = resolve(parameters)
        if isinstance(event, KprobeEvent):
            wanted, function = ProgType.KPROBE, run_on_registers
            for probe in event.probes:
                if probe.probe is not None:
                    probe.probe.follows_pointers = True
        elif isinstance(event, TracepointEvent):
            wanted, function = ProgType.TRACEPOINT, run_on_record
        else:
            raise KernelError(errno.EINVAL)
        if prog.type != wanted:
            raise KernelError(errno.EINVAL, f"the event needs a program of type {wanted.name}")
        return Parsed(
            key=("bpf", prog.id),
            text=f"bpf:{parameters}",
            action=Action.CALL,
            target=prog.address,
            function=function.address,
            counted=False,
            keep=prog,
        )

    return parse
