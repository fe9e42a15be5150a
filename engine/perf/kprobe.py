"""Perf events of the kprobe PMU: probes that count and run a program (kernel/trace/trace_event_perf.c)."""

import errno
from enum import IntEnum
from typing import TYPE_CHECKING

from engine.abi.bpf import ProgType
from engine.env import Env, poke64
from engine.errors import KernelError
from engine.jit.lang import load_acquire64, native, put64, store_release64, u64
from engine.maps.spec import MapHost
from engine.perf.event import PerfEvent, PerfEventAttr
from engine.progs import Prog, run_prog

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["KPROBE_PMU", "KprobeEvent"]

KPROBE_PMU = 6
"""`type` of the PMU (/sys/bus/event_source/devices/kprobe/type)."""
_RETPROBE = 1
"""Bit of `config` that asks for the return."""


class KprobeHdr(IntEnum):
    """Offsets in the event's native header, after those of `PerfHdr`."""

    PROG = 104
    COOKIE = 112


@native
def kprobe_event_hit(env: int, regs: int, event: int) -> int:
    """A probe handler: run the event's program, if it has one."""
    prog = load_acquire64(event + KprobeHdr.PROG)
    if prog == 0:
        return 0
    put64(env + Env.COOKIE, u64(event + KprobeHdr.COOKIE))
    result = run_prog(env, regs, prog)
    put64(env + Env.COOKIE, 0)
    return result


class KprobeEvent(PerfEvent):
    """A kprobe or kretprobe on `symbol` + `offset`, or at `address`. Counts hits; holds one program.

    Raises KernelError as `Probes.register`: ENOENT, EINVAL, EILSEQ; EINVAL for a config that is not known.
    """

    def __init__(
        self, machine: "Machine", attr: PerfEventAttr, symbol: str | None, address: int, offset: int
    ) -> None:
        if attr.config & ~_RETPROBE:
            raise KernelError(errno.EINVAL, f"bad config {attr.config:#x} of the kprobe PMU")
        super().__init__(attr, 0, MapHost(machine.heap, machine.nr_cpus, machine.epoch.retire))
        self._machine = machine
        self.prog: Prog | None = None
        try:
            self.probe = machine.probes.register(
                symbol,
                address or None,
                offset,
                kprobe_event_hit.address,
                self.address,
                ret=bool(attr.config & _RETPROBE),
            )
        except KernelError:
            self._finalizer()
            raise
        if not attr.disabled:
            self.enable()

    @property
    def enabled(self) -> bool:
        """See `PerfEvent.enabled`."""
        return self.probe.enabled

    @property
    def count(self) -> int:
        """What read(2) of the event gives: hits."""
        return self.probe.nhit

    def enable(self) -> None:
        """See `PerfEvent.enable`."""
        self.probe.enable()

    def disable(self) -> None:
        """See `PerfEvent.disable`."""
        if self.probe.registered:
            self.probe.disable()

    def set_bpf(self, prog: object, cookie: int = 0) -> None:
        """PERF_EVENT_IOC_SET_BPF, or the program of a link. EINVAL: another type; EEXIST: a second one."""
        if not isinstance(prog, Prog) or prog.type != ProgType.KPROBE:
            raise KernelError(errno.EINVAL, "not a kprobe program")
        if self.prog is not None:
            raise KernelError(errno.EEXIST, "the event has a program")
        self.prog = prog
        poke64(self.address + KprobeHdr.COOKIE, cookie)
        store_release64(self.address + KprobeHdr.PROG, prog.address)

    def close(self) -> None:
        """See `PerfEvent.close`: the probe goes with its event."""
        if self.probe.registered:
            self.probe.unregister()
        self._finalizer()
