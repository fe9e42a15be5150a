"""Commands that tie programs to events and maps to programs (kernel/bpf/syscall.c).

LINK_CREATE          +0 prog_fd +4 target_fd +8 attach_type +12 flags +16 perf_event.bpf_cookie
                     or +16 tracing.target_btf_id +24 tracing.cookie
RAW_TRACEPOINT_OPEN  +0 name +8 prog_fd +16 cookie
PROG_BIND_MAP        +0 prog_fd +4 map_fd +8 flags
LINK_DETACH          +0 link_fd
LINK_GET_NEXT_ID     +0 start_id +4 next_id
LINK_GET_FD_BY_ID    +0 id
"""

import errno

from engine.abi.bpf import AttachType, ProgType
from engine.errors import KernelError
from engine.kernel.tracepoints import tracepoints
from engine.machine import Machine
from engine.perf.kprobe import KprobeEvent
from engine.probes.probe import Probe
from engine.probes.tracing import register_tracing
from engine.progs import Prog, run_prog
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller, BpfFile
from engine.syscall.ids import write_next_id
from engine.syscall.mapcmds import get_map
from engine.syscall.progcmds import get_prog

__all__ = [
    "Link",
    "link_create",
    "link_detach",
    "link_get_fd_by_id",
    "link_get_next_id",
    "prog_bind_map",
    "raw_tracepoint_open",
]

_MAX_NAME = 128


class Link:
    """What keeps a program attached: a perf event, or the probe of something traced. `close` detaches.

    `target` is the name of the function or tracepoint, empty for a function that was given by address.
    """

    def __init__(
        self, machine: Machine, prog: Prog, holds: KprobeEvent | Probe, target: str, cookie: int
    ) -> None:
        self.prog = prog
        self.holds = holds
        self.target = target
        self.cookie = cookie
        self.id = machine.links.add(self)

    @property
    def attached(self) -> bool:
        """Whether it still holds."""
        probe = self.holds.probe if isinstance(self.holds, KprobeEvent) else self.holds
        return probe.registered

    def close(self) -> None:
        """The last descriptor is gone."""
        if isinstance(self.holds, KprobeEvent):
            self.holds.close()
        elif self.holds.registered:
            self.holds.unregister()


def _raw_link(machine: Machine, prog: Prog, name: str, cookie: int) -> Link:
    """On a raw tracepoint. ENOENT."""
    found = [full for full, row in tracepoints().items() if row.name == name and row.raw_args]
    if not found:
        raise KernelError(errno.ENOENT, f"no raw tracepoint {name}")
    probe = machine.probes.register_tracepoint(found[0], run_prog.address, prog.address, raw=True)
    probe.enable()
    return Link(machine, prog, probe, name, cookie)


def _tracing_link(machine: Machine, prog: Prog, cookie: int) -> Link:
    """On what a TRACING program was loaded for (`bpf_tracing_prog_attach`). EBUSY: once is enough."""
    if prog.spec.expected_attach_type == AttachType.TRACE_RAW_TP:
        name = prog.spec.kernel_btf.type(prog.spec.attach_btf_id).name.removeprefix("btf_trace_")
        return _raw_link(machine, prog, name, cookie)
    links = (other for other in machine.links.values() if isinstance(other, Link))
    if any(other.prog is prog and other.attached for other in links):
        raise KernelError(errno.EBUSY, "the program is attached already")
    probe = register_tracing(machine, prog)
    probe.enable()
    return Link(machine, prog, probe, probe.symbol, cookie)


def link_create(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_LINK_CREATE of a program on a perf event, which the link then holds, or of a TRACING program.

    EBADF, EINVAL, EEXIST, EBUSY, EOPNOTSUPP.
    """
    attr.check_end(64)
    prog, kind = get_prog(caller, attr.s32(0)), attr.u32(8)
    if prog.type == ProgType.TRACING:
        if kind != prog.spec.expected_attach_type or attr.u32(4):
            raise KernelError(errno.EINVAL, "not what the program was loaded for")
        return caller.fds.install(BpfFile(_tracing_link(machine, prog, attr.u64(24))))
    if kind != AttachType.PERF_EVENT:
        raise KernelError(errno.EOPNOTSUPP, f"attach type {kind} is not supported")
    if attr.u32(12):
        raise KernelError(errno.EINVAL, "bad flags")
    event = caller.fds.get(attr.s32(4)).object
    if not isinstance(event, KprobeEvent):
        raise KernelError(errno.EBADF, "not a perf event that runs programs")
    event.set_bpf(prog, attr.u64(16))
    link = Link(machine, prog, event, event.probe.symbol, attr.u64(16))
    return caller.fds.install(BpfFile(link))


def raw_tracepoint_open(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_RAW_TRACEPOINT_OPEN: a link of a program on a raw tracepoint, or of a TRACING program without name.

    ENOENT, EINVAL, EFAULT, EBUSY.
    """
    attr.check_end(24)
    prog = get_prog(caller, attr.s32(8))
    if prog.type == ProgType.TRACING:
        if attr.u64(0):
            raise KernelError(errno.EINVAL, "the program knows its target")
        return caller.fds.install(BpfFile(_tracing_link(machine, prog, attr.u64(16))))
    if prog.type not in (ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE):
        raise KernelError(errno.EINVAL, "not a raw tracepoint program")
    name = caller.read_text(attr.u64(0), _MAX_NAME)
    return caller.fds.install(BpfFile(_raw_link(machine, prog, name, attr.u64(16))))


def link_detach(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_LINK_DETACH: neither kind of link can be detached before it is closed: EOPNOTSUPP."""
    attr.check_end(4)
    if not isinstance(caller.fds.get(attr.s32(0)).object, Link):
        raise KernelError(errno.EINVAL, "no link")
    raise KernelError(errno.EOPNOTSUPP, "this kind of link is detached by closing it")


def link_get_next_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_LINK_GET_NEXT_ID: writes the least id above start_id. ENOENT after the last."""
    return write_next_id(caller, attr, machine.links)


def link_get_fd_by_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_LINK_GET_FD_BY_ID. ENOENT."""
    attr.check_end(4)
    return caller.fds.install(BpfFile(machine.links.get(attr.u32(0))))


def prog_bind_map(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_PROG_BIND_MAP: the program keeps the map alive. EINVAL (flags), EBADF."""
    attr.check_end(12)
    if attr.u32(8):
        raise KernelError(errno.EINVAL, "bad flags")
    prog = get_prog(caller, attr.s32(0))
    bound, _ = get_map(caller, attr.s32(4))
    if bound not in prog.maps:
        prog.maps.append(bound)
    return 0
