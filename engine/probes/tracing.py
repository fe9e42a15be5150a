"""fentry and fexit programs: called with what a BPF trampoline passes (kernel/bpf/trampoline.c).

context:  number of arguments (at -8) | arguments, a word each | fexit only: the result
"""

import errno
import weakref
from typing import TYPE_CHECKING

from engine.abi.bpf import AttachType
from engine.btf.types import Func, FuncProto
from engine.env import Env, poke64
from engine.epoch import Epoch
from engine.errors import KernelError
from engine.jit.lang import local, memcpy, native, put64, u64
from engine.memory import Heap
from engine.probes.layout import MAX_ARGS
from engine.probes.probe import Probe
from engine.probes.regs import Reg
from engine.progs import Prog, run_prog

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["register_tracing", "run_fentry", "run_fexit"]

_BLOCK = 16
"""Bytes of what a handler is given: the program's header, and how many arguments its function takes."""


@native
def run_fentry(env: int, regs: int, block: int) -> int:
    """A handler: run an fentry program on the arguments in `regs`."""
    ctx = local(64)
    put64(ctx, u64(block + 8))
    put64(ctx + 8, u64(regs + Reg.DI))
    put64(ctx + 16, u64(regs + Reg.SI))
    put64(ctx + 24, u64(regs + Reg.DX))
    put64(ctx + 32, u64(regs + Reg.CX))
    put64(ctx + 40, u64(regs + Reg.R8))
    put64(ctx + 48, u64(regs + Reg.R9))
    return run_prog(env, ctx + 8, u64(block))


@native
def run_fexit(env: int, regs: int, block: int) -> int:
    """A handler of a return: run an fexit program on the arguments of the call and its result."""
    ctx = local(64)
    count = u64(block + 8)
    put64(ctx, count)
    memcpy(ctx + 8, u64(env + Env.CALL_ARGS), count << 3)
    put64(ctx + 8 + (count << 3), u64(regs + Reg.AX))
    return run_prog(env, ctx + 8, u64(block))


def _release(heap: Heap, epoch: Epoch, block: int) -> None:
    epoch.retire(lambda: heap.free(block))


def _target(prog: Prog) -> tuple[str, int]:
    """Name and number of arguments of the function that `prog` was loaded for."""
    btf = prog.spec.kernel_btf
    record = btf.type(prog.spec.attach_btf_id) if btf is not None else None
    proto = btf.type(record.type) if btf is not None and isinstance(record, Func) else None
    if not isinstance(record, Func) or not isinstance(proto, FuncProto):
        raise KernelError(errno.EINVAL, f"prog '{prog.name}' was not loaded for a function")
    if len(proto.params) > MAX_ARGS:
        raise KernelError(errno.EOPNOTSUPP, f"{record.name} takes more than {MAX_ARGS} arguments")
    return record.name, len(proto.params)


def register_tracing(machine: "Machine", prog: Prog) -> Probe:
    """A probe, disabled, that runs `prog` at entry or return of the function that it was loaded for.

    Raises KernelError: EINVAL for another program, ENOENT for a function that cannot fire, EOPNOTSUPP.
    """
    attach = prog.spec.expected_attach_type
    if attach not in (AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT):
        raise KernelError(errno.EOPNOTSUPP, f"prog '{prog.name}' is neither fentry nor fexit")
    name, count = _target(prog)
    at_return = attach is AttachType.TRACE_FEXIT
    handler = run_fexit if at_return else run_fentry
    block = machine.heap.alloc(_BLOCK)
    poke64(block, prog.address)
    poke64(block + 8, count)
    try:
        probe = machine.probes.register(name, None, 0, handler.address, block, ret=at_return)
    except KernelError:
        machine.heap.free(block)
        raise
    weakref.finalize(probe, _release, machine.heap, machine.epoch, block).atexit = False
    return probe
