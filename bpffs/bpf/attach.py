"""Attaching a program where the name of its section says."""

import errno
import re
from collections.abc import Callable
from functools import partial

from engine.errors import KernelError
from engine.kernel.tracepoints import tracepoints
from engine.loader.secname import SecName
from engine.machine import Machine
from engine.probes.follow import program_follows_pointers
from engine.probes.probe import Probe
from engine.probes.tracing import register_tracing
from engine.progs import Prog, run_prog

__all__ = ["Link", "attach"]

_TARGET = re.compile(r"(?P<symbol>[^+]+)(?:\+(?P<offset>0x[0-9a-fA-F]+|\d+))?")


class Link:
    """A program attached to a probe, until `detach`."""

    def __init__(self, machine: Machine, prog: Prog, probe: Probe, target: str) -> None:
        self.prog = prog
        self.target = target
        self._machine = machine
        self._probe: Probe | None = probe
        self.id = machine.links.add(self)

    def detach(self) -> None:
        """Take the program off. Doing it again does nothing."""
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.disable()
            probe.unregister()
            self._machine.links.remove(self.id)

    def describe(self) -> str:
        """As `bpftool link show`, and the probe's counters."""
        hits, missed = (self._probe.nhit, self._probe.nmissed) if self._probe is not None else (0, 0)
        return f"{self.id}: perf_event  prog {self.prog.id}\n\t{self.target}  hits {hits}  missed {missed}\n"


def _kprobe(machine: Machine, prog: Prog, target: str, ret: bool) -> Probe:
    found = _TARGET.fullmatch(target)
    if found is None:
        raise KernelError(errno.EINVAL, f"section '{target}' names no function")
    offset = int(found["offset"] or "0", 0)
    probe = machine.probes.register(found["symbol"], None, offset, run_prog.address, prog.address, ret=ret)
    probe.follows_pointers = program_follows_pointers(prog.insns)
    return probe


def _tracepoint(machine: Machine, prog: Prog, target: str) -> Probe:
    """`system/event`: the program gets the record."""
    name = target.replace("/", ":", 1)
    return machine.probes.register_tracepoint(name, run_prog.address, prog.address)


def _raw_tracepoint(machine: Machine, prog: Prog, target: str) -> Probe:
    """`event`, without its system: the program gets the arguments."""
    for name, row in tracepoints().items():
        if row.name == target and row.raw_args:
            return machine.probes.register_tracepoint(name, run_prog.address, prog.address, raw=True)
    raise KernelError(errno.ENOENT, f"no raw tracepoint {target}")


def _tracing(machine: Machine, prog: Prog, target: str) -> Probe:
    """The function is the one that the program was loaded for."""
    return register_tracing(machine, prog)


_KINDS: dict[str, Callable[[Machine, Prog, str], Probe]] = {
    "kprobe": partial(_kprobe, ret=False),
    "kretprobe": partial(_kprobe, ret=True),
    "ksyscall": lambda machine, prog, target: _kprobe(machine, prog, f"__x64_sys_{target}", False),
    "kretsyscall": lambda machine, prog, target: _kprobe(machine, prog, f"__x64_sys_{target}", True),
    "tracepoint": _tracepoint,
    "tp": _tracepoint,
    "raw_tracepoint": _raw_tracepoint,
    "raw_tp": _raw_tracepoint,
    "tp_btf": _raw_tracepoint,
    **dict.fromkeys(("fentry", "fentry.s", "fexit", "fexit.s"), _tracing),
}


def attach(machine: Machine, prog: Prog, section: SecName) -> Link:
    """Attach `prog` where `section` says.

    Raises KernelError: ENOENT for a function or tracepoint that is not there, EOPNOTSUPP for a kind of
    section that cannot be attached by its name.
    """
    if section.kind not in _KINDS or not section.target:
        raise KernelError(errno.EOPNOTSUPP, f"section '{section.section}' does not say where to attach")
    probe = _KINDS[section.kind](machine, prog, section.target)
    probe.enable()
    return Link(machine, prog, probe, section.section)
