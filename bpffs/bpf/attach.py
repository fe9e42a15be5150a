"""Attaching a program where the name of its section says."""

import errno
import re
from collections.abc import Callable

from engine.errors import KernelError
from engine.loader.secname import SecName
from engine.machine import Machine
from engine.probes.probe import Probe
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
    probe.enable()
    return probe


def _on_syscall(machine: Machine, prog: Prog, target: str, ret: bool) -> Probe:
    return _kprobe(machine, prog, f"__x64_sys_{target}", ret)


_KINDS: dict[str, tuple[Callable[[Machine, Prog, str, bool], Probe], bool]] = {
    "kprobe": (_kprobe, False),
    "kretprobe": (_kprobe, True),
    "ksyscall": (_on_syscall, False),
    "kretsyscall": (_on_syscall, True),
}


def attach(machine: Machine, prog: Prog, section: SecName) -> Link:
    """Attach `prog` where `section` says.

    Raises KernelError: ENOENT for a function that is not there, EOPNOTSUPP for a kind of section that cannot
    be attached by its name.
    """
    if section.kind not in _KINDS or not section.target:
        raise KernelError(errno.EOPNOTSUPP, f"section '{section.section}' does not say where to attach")
    make, ret = _KINDS[section.kind]
    return Link(machine, prog, make(machine, prog, section.target, ret), section.section)
