"""Probes: kprobes, kretprobes and tracepoints of the modelled kernel.

    registry, probe   what is registered, enabled, counted (Python)
    sites, layout     the native tables that say which system call fires what; immutable once published
    fire, events, frames, args, regs   following them: from a thread's system call to the handlers (native)
    follow            whether a program can look into kernel objects
    vfs, vfsfire      operations on the mount itself, fired by a thread of their own
    driver            a synthetic thread, for tests and benchmarks

The machine's lock guards the registry. Firing takes no lock but the CPU's run lock; tables that it follows
are reclaimed through the machine's epoch.
"""

from engine.probes.probe import Probe

__all__ = ["Probe"]
