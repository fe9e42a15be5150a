"""What the tracer tells of tracees, and to whom: by default, to the probes of the machine."""

from dataclasses import dataclass

from engine.jit.lang import Native
from engine.probes.fire import syscall_enter, syscall_exit
from engine.probes.wanted import syscall_wanted

__all__ = ["PROBES", "Handlers"]


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the tracer calls, on its thread, without the GIL. The tracee is stopped meanwhile.

    `wanted(env, nr)` is asked at each system call of x86-64, whatever its number. If it says so, `enter(env,
    uregs)` is called with the tracee's struct user_regs_struct, and if that returns non-zero, then
    `exit(env, uregs, retval)` when the call returns.
    """

    wanted: Native
    enter: Native
    exit: Native


PROBES = Handlers(syscall_wanted, syscall_enter, syscall_exit)
