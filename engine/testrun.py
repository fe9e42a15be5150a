"""Running a program on data that the caller gives: BPF_PROG_TEST_RUN (net/bpf/test_run.c).

A packet is in memory of its own; a socket filter sees it from behind the Ethernet header. A raw tracepoint is
given its arguments as the context (kernel/trace/bpf_trace.c).
"""

import ctypes
import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.abi.bpf import ProgType
from engine.abi.ctx import SkBuff, XdpMd
from engine.env import Env, poke32, poke64
from engine.epoch import epoch_enter, epoch_leave
from engine.errors import KernelError
from engine.jit.lang import c_call, local, native, put64, u64, udiv
from engine.memory import Region
from engine.progs import Prog, run_prog
from engine.runlock import run_lock, run_unlock

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["RunRequest", "RunResult", "run_on_data"]

_PAGE = 4096
_ETH_HLEN = 14
_SHARED_INFO = 320
"""Room that struct skb_shared_info takes behind a packet."""
_SKB_ROOM = 64
_XDP_ROOM = 256
_MAX_ARGS = 12 * 8
_CTX, _DATA = 0, 1024
_L2 = frozenset({ProgType.SCHED_CLS, ProgType.SCHED_ACT})
_SKB = _L2 | {ProgType.SOCKET_FILTER, ProgType.CGROUP_SKB}
_RAW = frozenset({ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE})
_GIVEN = (SkBuff.MARK, SkBuff.PRIORITY, SkBuff.INGRESS_IFINDEX, SkBuff.IFINDEX)
"""u32 fields of a context that the caller may set, besides cb, tstamp, wire_len and gso_*."""
_ENOTSUPP = 524
_CLOCK_MONOTONIC = 1
_NS_PER_S = 1_000_000_000


@native
def _now_ns() -> int:
    """CLOCK_MONOTONIC."""
    time = local(16)
    c_call("clock_gettime", _CLOCK_MONOTONIC, time)
    return u64(time) * _NS_PER_S + u64(time + 8)


@native
def run_repeatedly(env: int, ctx: int, prog: int, times: int, duration: int) -> int:
    """Run a program so often; its last result. Mean nanoseconds go to the u64 at `duration`."""
    epoch_enter(u64(env + Env.EPOCH_SLOT))
    run_lock(env)
    start = _now_ns()
    result = 0
    for _ in range(times):
        result = run_prog(env, ctx, prog)
    put64(duration, udiv(_now_ns() - start, times))
    run_unlock(env)
    epoch_leave(u64(env + Env.EPOCH_SLOT))
    return result


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run on: packet, context (both may be empty), how often (0: once), for which process."""

    data: bytes = b""
    ctx: bytes = b""
    repeat: int = 0
    pid: int = 0
    tid: int = 0


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came out: r0 as a u32, the packet and the context afterwards, mean nanoseconds of a run."""

    retval: int
    data: bytes
    ctx: bytes
    duration: int


@contextmanager
def _runner(machine: "Machine", asked: RunRequest) -> Iterator[int]:
    """An environment in which the asking process is the current one."""
    env = machine.new_env()
    try:
        poke32(env + Env.TGID, asked.pid)
        poke32(env + Env.TID, asked.tid)
        poke64(env + Env.MEM_TID, asked.tid)
        yield env
    finally:
        machine.free_env(env)


def _run(machine: "Machine", prog: Prog, asked: RunRequest, ctx: int) -> tuple[int, int]:
    """(r0 as a u32, mean nanoseconds)"""
    duration = ctypes.c_uint64(0)
    times = asked.repeat or 1
    with _runner(machine, asked) as env:
        poke64(env + Env.REGS, ctx)
        result = run_repeatedly(env, ctx, prog.address, times, ctypes.addressof(duration))
    return result & 0xFFFF_FFFF, duration.value & 0xFFFF_FFFF


def _refuse(condition: bool, why: str, number: int = errno.EINVAL) -> None:
    if condition:
        raise KernelError(number, why)


def _check_skb_ctx(ctx: bytes) -> bytes:
    """`convert___skb_to_skb`: only some fields may be set. EINVAL."""
    given = ctx.ljust(SkBuff.SIZE, b"\0")
    _refuse(any(given[SkBuff.SIZE :]), "context larger than struct __sk_buff", errno.E2BIG)
    open_spans = [(at, at + 4) for at in _GIVEN]
    open_spans += [
        (SkBuff.CB, SkBuff.CB + 20),
        (SkBuff.TSTAMP, SkBuff.SK),
        (SkBuff.GSO_SIZE, SkBuff.GSO_SIZE + 4),
    ]
    closed = bytearray(given)
    for start, end in open_spans:
        closed[start:end] = bytes(end - start)
    _refuse(any(closed[: SkBuff.HWTSTAMP]), "a field of the context cannot be set")
    return given[: SkBuff.SIZE]


def _packet_type(destination: bytes) -> int:
    """`eth_type_trans` on the loopback device, whose address is zero: PACKET_HOST to PACKET_OTHERHOST."""
    if destination[0] & 1:
        return 1 if destination == b"\xff" * 6 else 2
    return 3 if any(destination) else 0


def _run_skb(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """`bpf_prog_test_run_skb`."""
    size = len(asked.data)
    _refuse(size < _ETH_HLEN or size > _PAGE - _SKB_ROOM - _SHARED_INFO, "packet too short or too long")
    given = _check_skb_ctx(asked.ctx)
    skip = 0 if prog.type in _L2 else _ETH_HLEN
    memory = Region("test-run", _DATA + _PAGE)
    try:
        memory.view[_DATA : _DATA + size] = asked.data
        memory.view[: len(given)] = given
        start = memory.address + _DATA
        protocol = struct.unpack_from("<H", asked.data, 12)[0]
        struct.pack_into("<I", memory.view, SkBuff.LEN, size - skip)
        struct.pack_into("<I", memory.view, SkBuff.PROTOCOL, protocol)
        struct.pack_into("<I", memory.view, SkBuff.PKT_TYPE, _packet_type(asked.data[:6]))
        if not any(given[SkBuff.IFINDEX : SkBuff.IFINDEX + 4]):
            struct.pack_into("<I", memory.view, SkBuff.IFINDEX, 1)
        pointers = (start + skip, start + size, start + skip)
        struct.pack_into("<QQQ", memory.view, SkBuff.NATIVE_DATA, *pointers)
        retval, duration = _run(machine, prog, asked, memory.address + _CTX)
        # The header that a filter does not see comes back as zeros.
        data = bytes(skip) + bytes(memory.view[_DATA + skip : _DATA + size])
        return RunResult(retval, data, bytes(memory.view[: SkBuff.SIZE]), duration)
    finally:
        memory.close()


def _run_xdp(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """`bpf_prog_test_run_xdp`, of one buffer and without metadata."""
    size = len(asked.data)
    _refuse(size < _ETH_HLEN, "packet too short")
    _refuse(size > _PAGE - _XDP_ROOM - _SHARED_INFO, "packet needs more than one buffer")
    if asked.ctx:
        data, end, meta = struct.unpack_from("<III", asked.ctx.ljust(XdpMd.SIZE, b"\0"))
        _refuse(bool(data or meta) or end != size, "metadata, or an end that is not the packet's")
        _refuse(any(asked.ctx[XdpMd.INGRESS_IFINDEX :]), "a field of the context cannot be set")
    memory = Region("test-run", _DATA + _PAGE)
    try:
        start = memory.address + _DATA
        memory.view[_DATA : _DATA + size] = asked.data
        struct.pack_into("<I", memory.view, XdpMd.INGRESS_IFINDEX, 1)
        struct.pack_into("<QQQ", memory.view, XdpMd.NATIVE_DATA, start, start + size, start)
        retval, duration = _run(machine, prog, asked, memory.address + _CTX)
        ctx = struct.pack("<III", 0, size, 0) + asked.ctx[XdpMd.INGRESS_IFINDEX : XdpMd.SIZE]
        return RunResult(retval, bytes(memory.view[_DATA : _DATA + size]), ctx, duration)
    finally:
        memory.close()


def _run_raw(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """`bpf_prog_test_run_raw_tp`: the context is the tracepoint's arguments."""
    _refuse(bool(asked.data or asked.repeat), "raw tracepoints take a context only")
    wanted = prog.verified.max_ctx_offset
    _refuse(len(asked.ctx) < wanted or len(asked.ctx) > _MAX_ARGS, "bad size of the context")
    memory = Region("test-run", _MAX_ARGS)
    try:
        memory.view[: len(asked.ctx)] = asked.ctx
        retval, _ = _run(machine, prog, asked, memory.address)
        return RunResult(retval, b"", b"", 0)
    finally:
        memory.close()


def run_on_data(machine: "Machine", prog: Prog, asked: RunRequest) -> RunResult:
    """Run `prog` on what is asked. ENOTSUPP: its type cannot be run so; EINVAL: it cannot have such data."""
    if prog.type in _SKB:
        return _run_skb(machine, prog, asked)
    if prog.type == ProgType.XDP:
        return _run_xdp(machine, prog, asked)
    if prog.type in _RAW:
        return _run_raw(machine, prog, asked)
    raise KernelError(_ENOTSUPP, f"{prog.type.name} programs have no test run")
