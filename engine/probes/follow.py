"""Whether a program could look into kernel objects: what `Probe.follows_pointers` is set to for it."""

from collections.abc import Iterable

from engine.abi.bpf import FuncId
from engine.isa import Insn

__all__ = ["program_follows_pointers"]

_CALL = 0x85
_FOLLOWING = frozenset(
    {
        FuncId.probe_read,
        FuncId.probe_read_str,
        FuncId.probe_read_kernel,
        FuncId.probe_read_kernel_str,
        # A program that is called at the end may do anything.
        FuncId.tail_call,
    }
)


def program_follows_pointers(insns: Iterable[Insn]) -> bool:
    """Whether a KPROBE program calls a helper that reads kernel memory; it has no other way to."""
    return any(insn.code == _CALL and insn.src == 0 and insn.imm in _FOLLOWING for insn in insns)
