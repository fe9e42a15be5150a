"""Commands on programs that are loaded (kernel/bpf/syscall.c).

GET_NEXT_ID    +0 start_id +4 next_id
GET_FD_BY_ID   +0 id
ENABLE_STATS   +0 type
"""

import errno

from engine.env import Ctl, peek64, poke64
from engine.errors import KernelError
from engine.machine import Machine
from engine.progs import Prog
from engine.syscall.attr import Attr
from engine.syscall.caller import BpfCaller, BpfFile
from engine.syscall.ids import write_next_id

__all__ = [
    "StatsHold",
    "enable_stats",
    "get_prog",
    "prog_get_fd_by_id",
    "prog_get_next_id",
]

_STATS_RUN_TIME = 0


def get_prog(caller: BpfCaller, fd: int) -> Prog:
    """The program behind a descriptor. EBADF; EINVAL where it is another object's."""
    found = caller.fds.get(fd).object
    if not isinstance(found, Prog):
        raise KernelError(errno.EINVAL, f"descriptor {fd} is no program")
    return found


def prog_get_next_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_PROG_GET_NEXT_ID: writes the least id above start_id. ENOENT after the last."""
    return write_next_id(caller, attr, machine.progs)


def prog_get_fd_by_id(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_PROG_GET_FD_BY_ID. ENOENT."""
    attr.check_end(4)
    return caller.fds.install(BpfFile(machine.progs.get(attr.u32(0))))


class StatsHold:
    """Programs count their run time while there is one of these. `close`: the last descriptor is gone."""

    def __init__(self, machine: Machine) -> None:
        self._machine: Machine | None = machine
        self._count(machine, 1)

    @staticmethod
    def _count(machine: Machine, change: int) -> None:
        at = machine.ctl + Ctl.STATS_ENABLED
        with machine.lock:
            poke64(at, peek64(at) + change)

    def close(self) -> None:
        """Count no longer on behalf of this one."""
        machine, self._machine = self._machine, None
        if machine is not None:
            self._count(machine, -1)


def enable_stats(machine: Machine, caller: BpfCaller, attr: Attr) -> int:
    """BPF_ENABLE_STATS: a descriptor that keeps BPF_STATS_RUN_TIME enabled. EINVAL."""
    attr.check_end(4)
    if attr.u32(0) != _STATS_RUN_TIME:
        raise KernelError(errno.EINVAL, "no such statistics")
    return caller.fds.install(BpfFile(StatsHold(machine)))
