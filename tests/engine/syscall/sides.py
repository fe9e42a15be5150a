"""The machine's kernel and the engine behind the same calls, for tests that compare them."""

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.abi.bpf import Cmd
from engine.errors import KernelError
from engine.machine import Machine
from engine.syscall import BpfCaller, bpf
from tests import kernel_oracle
from tests.kernel_oracle import roomy as buffer

__all__ = ["Call", "Sides", "address_of", "both_sides", "buffer"]

Buffer = ctypes.Array[ctypes.c_char]
Call = Callable[[Cmd, Buffer], int]


def address_of(found: Buffer | None) -> int:
    """Where a buffer is, 0 for none."""
    return ctypes.addressof(found) if found is not None else 0


class Sides:
    """`calls` are the kernel's bpf(2) and the engine's. Descriptors of the kernel are closed at the end."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.caller = BpfCaller()
        self._opened: list[int] = []

    @property
    def calls(self) -> tuple[Call, Call]:
        """Kernel, engine; a result that is a descriptor is remembered for the kernel."""
        return kernel_oracle.bpf, self.engine

    def engine(self, command: Cmd, attr: Buffer) -> int:
        """The engine's answer, as the kernel gives its own."""
        try:
            return bpf(self.machine, self.caller, command, ctypes.addressof(attr), len(attr))
        except KernelError as error:
            return -error.errno

    def open(self, side: int, command: Cmd, attr: bytes | Buffer) -> int:
        """A call that gives a descriptor, on one side."""
        raw = buffer(attr) if isinstance(attr, bytes) else attr
        fd = self.calls[side](command, raw)
        if side == 0 and fd >= 0:
            self._opened.append(fd)
        return fd

    def close(self) -> None:
        """Close what the kernel opened."""
        for fd in self._opened:
            os.close(fd)

    def info(self, side: int, fd: int, info: Buffer, length: int | None = None) -> tuple[int, int]:
        """BPF_OBJ_GET_INFO_BY_FD: (result, length afterwards)."""
        size = len(info) if length is None else length
        attr = buffer(struct.pack("<iIQ", fd, size, ctypes.addressof(info)))
        return self.calls[side](Cmd.OBJ_GET_INFO_BY_FD, attr), struct.unpack_from("<I", attr, 4)[0]


@contextmanager
def both_sides() -> Iterator[Sides]:
    """Kernel and engine, with a machine of its own."""
    machine = Machine()
    sides = Sides(machine)
    try:
        yield sides
    finally:
        sides.close()
        machine.close()
