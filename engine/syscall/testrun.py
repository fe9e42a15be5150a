"""BPF_PROG_TEST_RUN: runs a program on data that the caller gives (net/bpf/test_run.c).

+0 prog_fd +4 retval +8 data_size_in +12 data_size_out +16 data_in +24 data_out +32 repeat +36 duration
+40 ctx_size_in +44 ctx_size_out +48 ctx_in +56 ctx_out +64 flags +68 cpu +72 batch_size
"""

import errno
import struct

from engine.errors import KernelError
from engine.machine import Machine
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller
from engine.syscall.progcmds import get_prog
from engine.testrun import Given, RunRequest, RunResult, run_on_data

__all__ = ["prog_test_run"]

_RETVAL, _DATA_SIZE_OUT, _DATA_OUT, _DURATION = 4, 12, 24, 36
_CTX_SIZE_OUT, _CTX_IN, _CTX_OUT, _END = 44, 48, 56, 76


def _given(caller: BpfCaller, attr: Attr, size_at: int, address_at: int) -> Given:
    address = attr.u64(address_at)
    return Given(
        attr.u32(size_at), lambda start, size: caller.memory.read(address + start, size), bool(address)
    )


def _put(caller: BpfCaller, attr: Attr, at: int, number: int) -> None:
    caller.memory.write(attr.address + at, struct.pack("<I", number))


def _put_data(caller: BpfCaller, attr: Attr, result: RunResult, data: bytes) -> None:
    """`bpf_test_finish`: packet, its whole size, result and time. ENOSPC where the packet was cut.

    A packet of several buffers is cut in its first one.
    """
    room, address = attr.u32(_DATA_SIZE_OUT), attr.u64(_DATA_OUT)
    size = min(room or len(data), len(data))
    if address:
        if size < result.frags:
            raise KernelError(errno.ENOSPC, "no room for what is not in the first buffer")
        first = size - result.frags
        rest = data[len(data) - result.frags :]
        caller.memory.write(address, data[:first] + rest)
    _put(caller, attr, _DATA_SIZE_OUT, len(data))
    _put(caller, attr, _RETVAL, result.retval)
    _put(caller, attr, _DURATION, result.duration)
    if size < len(data):
        raise KernelError(errno.ENOSPC, "the packet was cut")


def _put_ctx(caller: BpfCaller, attr: Attr, ctx: bytes) -> None:
    """`bpf_ctx_finish`: the context and its whole size. ENOSPC where it was cut."""
    room, address = attr.u32(_CTX_SIZE_OUT), attr.u64(_CTX_OUT)
    if not address:
        return
    caller.memory.write(address, ctx[:room])
    _put(caller, attr, _CTX_SIZE_OUT, len(ctx))
    if room < len(ctx):
        raise KernelError(errno.ENOSPC, "the context was cut")


def prog_test_run(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """Writes result, mean time, packet and context. ENOSPC: cut; EINVAL, E2BIG, ENODEV, ENXIO, ENOTSUPP."""
    attr.check_end(_END)
    for size_at, address_at in ((40, _CTX_IN), (_CTX_SIZE_OUT, _CTX_OUT)):
        if bool(attr.u32(size_at)) != bool(attr.u64(address_at)):
            raise KernelError(errno.EINVAL, "context without size, or size without context")
    prog = get_prog(caller, attr.s32(0))
    asked = RunRequest(
        _given(caller, attr, 8, 16),
        _given(caller, attr, 40, _CTX_IN),
        attr.u32(32),
        caller.pid,
        caller.pid,
        bool(attr.u64(_DATA_OUT)),
        bool(attr.u64(_CTX_OUT)),
        attr.u32(64),
        attr.u32(68),
        attr.u32(72),
        attr.u32(_DURATION),
    )
    result = run_on_data(machine, prog, asked)
    if result.data is not None:
        _put_data(caller, attr, result, result.data)
        if result.ctx is not None:
            _put_ctx(caller, attr, result.ctx)
        return 0
    _put(caller, attr, _RETVAL, result.retval)
    if result.written:
        caller.memory.write(attr.u64(_CTX_IN), result.written)
    return 0
