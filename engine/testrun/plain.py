"""Test runs whose context is what the caller gives: raw tracepoints, syscall programs, tracing programs."""

import errno
from typing import TYPE_CHECKING

from engine.abi.bpf import AttachType
from engine.memory import Region
from engine.progs import Prog
from engine.testrun.request import RunRequest, RunResult, refuse
from engine.testrun.runner import run

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["run_raw", "run_syscall", "run_tracing"]

_MAX_ARGS = 12 * 8
_MAX_SYSCALL_CTX = 0xFFFF
_ON_CPU = 1 << 0
"""BPF_F_TEST_RUN_ON_CPU: on the CPU that `cpu` says."""


def _check_context_only(prog: Prog, asked: RunRequest, most: int) -> None:
    """Refuse everything but a context, which must reach as far as the program reads. EINVAL."""
    others = asked.data.there or asked.wants_data or asked.wants_ctx or asked.duration
    refuse(others or asked.repeat or asked.batch_size, "such programs take a context only")
    wanted = prog.verified.max_ctx_offset
    refuse(not wanted <= asked.ctx.size <= most, "bad size of the context")


def _run_on(machine: "Machine", prog: Prog, asked: RunRequest) -> tuple[int, bytes]:
    """(r0, the context afterwards)"""
    memory = Region("test-run", max(asked.ctx.size, 8))
    try:
        memory.view[: asked.ctx.size] = asked.ctx.read(0, asked.ctx.size)
        retval, _ = run(machine, prog, asked, memory.address)
        return retval, bytes(memory.view[: asked.ctx.size])
    finally:
        memory.close()


def run_raw(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """`bpf_prog_test_run_raw_tp`: the context is the tracepoint's arguments. ENXIO: there is no such CPU."""
    _check_context_only(prog, asked, _MAX_ARGS)
    if asked.flags & _ON_CPU:
        refuse(asked.cpu >= machine.nr_cpus, f"no CPU {asked.cpu}", errno.ENXIO)
    else:
        refuse(asked.cpu, "a CPU without BPF_F_TEST_RUN_ON_CPU")
    return RunResult(_run_on(machine, prog, asked)[0])


def run_syscall(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """`bpf_prog_test_run_syscall`: the program may change its context."""
    refuse(asked.flags, "syscall programs take no flags")
    _check_context_only(prog, asked, _MAX_SYSCALL_CTX)
    retval, written = _run_on(machine, prog, asked)
    return RunResult(retval, written=written)


def run_tracing(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """`bpf_prog_test_run_tracing` calls test functions of the kernel, which the model has none of.

    So a program on entry or return of a function is not run, as in Linux one that is on other functions.
    """
    refuse(asked.flags or asked.cpu or asked.batch_size, "tracing programs take no flags")
    entry = prog.spec.expected_attach_type in (AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT)
    refuse(not entry, "only programs on entry or return of a function")
    return RunResult(0)
