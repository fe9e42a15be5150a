"""bpf(2) and perf_event_open(2) as functions of (command, attr bytes, memory of the caller, fd table).

`bpf` is the entry; `attr` reads `union bpf_attr` with the kernel's rules for its size; one module for each
group of commands. A call returns a non-negative number or raises KernelError: whoever carries it turns that
into a negative return value. Nothing here keeps state: objects live in the machine and in the caller's
descriptors. No lock is held while the caller's memory is read or written.
"""

from engine.syscall.bpf import bpf
from engine.syscall.caller import BpfCaller, FdTable, Memory, OwnMemory, SimpleFds

__all__ = ["BpfCaller", "FdTable", "Memory", "OwnMemory", "SimpleFds", "bpf"]
