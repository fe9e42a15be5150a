"""A synthetic thread that makes the system calls it is told to, without ptrace.

For tests and benchmarks of whatever sits on probes. Pointers given as arguments are addresses of
this process.
"""

import os
import struct
import threading
from types import TracebackType

from engine.abi.syscalls import NR
from engine.env import TASK_COMM_LEN, Env, poke32, poke64
from engine.kernel.tasks import task_free, task_new, task_set_comm, task_set_creds
from engine.machine import Machine
from engine.probes.fire import syscall_enter, syscall_exit
from engine.probes.regs import USER_REGS_SIZE, Reg

__all__ = ["Driver"]

_ARGUMENTS = (Reg.DI, Reg.SI, Reg.DX, Reg.R10, Reg.R8, Reg.R9)
_ENOSYS = 38


class Driver:
    """One synthetic thread: its environment, its task, its user registers. A context manager."""

    def __init__(self, machine: Machine, comm: str = "driver", cpu: int = 0) -> None:
        self.machine = machine
        self.tid = threading.get_native_id()
        self.tgid = os.getpid()
        self.env = machine.new_env()
        self.regs = machine.heap.alloc(USER_REGS_SIZE, 64)
        self.task = task_new(machine.ctl, self.tid, self.tgid, 0) & (1 << 64) - 1
        poke32(self.env + Env.CPU, cpu)
        poke32(self.env + Env.TID, self.tid)
        poke32(self.env + Env.TGID, self.tgid)
        poke32(self.env + Env.UID, os.getuid())
        poke32(self.env + Env.GID, os.getgid())
        poke64(self.env + Env.MEM_TID, self.tid)
        poke64(self.env + Env.TASK, self.task)
        task_set_creds(self.task, os.getuid(), os.getgid(), os.geteuid(), os.getegid())
        self.rename(comm)

    def rename(self, comm: str) -> None:
        """Change the thread's name."""
        raw = comm.encode()[: TASK_COMM_LEN - 1].ljust(TASK_COMM_LEN, b"\0")
        low, high = struct.unpack("<QQ", raw)
        poke64(self.env + Env.COMM, low)
        poke64(self.env + Env.COMM + 8, high)
        task_set_comm(self.task, self.env + Env.COMM)

    def enter(self, call: int | str, *args: int) -> int:
        """Begin system call `call` (number or name); returns what `syscall_enter` does."""
        nr = NR[call] if isinstance(call, str) else call
        for i, register in enumerate(_ARGUMENTS):
            poke64(self.regs + register, args[i] if i < len(args) else 0)
        poke64(self.regs + Reg.ORIG_AX, nr)
        poke64(self.regs + Reg.AX, -_ENOSYS)
        poke64(self.env + Env.TIME_NS, self.machine.clock.now_ns())
        return syscall_enter(self.env, self.regs)

    def leave(self, result: int) -> int:
        """The running system call returns."""
        poke64(self.regs + Reg.AX, result)
        poke64(self.env + Env.TIME_NS, self.machine.clock.now_ns())
        return syscall_exit(self.env, self.regs, result)

    def leave_as(self, call: str, result: int) -> int:
        """A return of `call`, whatever was entered: as if its entry had not been told."""
        poke64(self.regs + Reg.ORIG_AX, NR[call])
        return self.leave(result)

    def call(self, call: int | str, *args: int, result: int = 0) -> None:
        """A whole system call."""
        self.enter(call, *args)
        self.leave(result)

    def close(self) -> None:
        """The thread ends."""
        task_free(self.machine.ctl, self.task)
        self.machine.heap.free(self.regs)
        self.machine.free_env(self.env)

    def __enter__(self) -> "Driver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
