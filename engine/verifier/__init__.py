"""The verifier: proves, before a program runs natively, that no path of it can do harm.

It walks every path of the program with an abstract state of registers and stack, as
`kernel/bpf/verifier.c` does, and
prunes a path when a state at least as general was already found safe. A `Reg` (`regs`) is immutable and
shared between
states; a state (`state`) owns its lists of registers and stack slots. Nothing here is shared between two
calls of
`verify`, so there are no locks.
"""

from engine.verifier.result import InsnAux, PtrClass, Subprog, Verified, VerifierError, VerifierStats
from engine.verifier.verify import verify

__all__ = ["InsnAux", "PtrClass", "Subprog", "Verified", "VerifierError", "VerifierStats", "verify"]
