"""The eBPF machine and the modelled kernel: no FUSE, no text formats of tracefs.

`Machine` (`engine.machine`) owns one of everything: memory, modelled kernel, probes, maps, programs. Locks,
in the order in which they are taken: the machine's, a map's, a ring's. None is held while a tracee's memory
is read.
"""

__all__: list[str] = []
