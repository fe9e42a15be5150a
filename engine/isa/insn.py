"""One instruction slot, and programs as bytes."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from engine.isa.opcodes import OPCODES, Class, Mode, Opcode, Size

__all__ = ["INSN_SIZE", "LD_IMM64", "Insn", "decode", "encode"]

INSN_SIZE = 8
LD_IMM64 = Class.LD | Mode.IMM | Size.DW
_LAYOUT = struct.Struct("<BBhi")


@dataclass(frozen=True, slots=True)
class Insn:
    """One slot (`struct bpf_insn`): `off` is signed 16 bits, `imm` signed 32.

    LD_IMM64 takes two slots, the second with code 0 and the upper half of the value in `imm`.
    """

    code: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0

    @property
    def opcode(self) -> Opcode | None:
        """The row of `OPCODES`; None for a code that does not exist (and the second slot of LD_IMM64)."""
        return OPCODES.get(self.code)

    @property
    def cls(self) -> Class:
        """Instruction class."""
        return Class(self.code & 7)

    def encode(self) -> bytes:
        """The slot as eight bytes."""
        return _LAYOUT.pack(self.code, self.src << 4 | self.dst, self.off, self.imm)


def decode(data: bytes | bytearray | memoryview) -> list[Insn]:
    """Slots of a program. ValueError when `data` is not a multiple of eight bytes."""
    if len(data) % INSN_SIZE:
        raise ValueError(f"{len(data)} bytes are not a whole number of instructions")
    return [Insn(code, regs & 15, regs >> 4, off, imm) for code, regs, off, imm in _LAYOUT.iter_unpack(data)]


def encode(insns: Iterable[Insn]) -> bytes:
    """A program as bytes; inverse of `decode`."""
    return b"".join(insn.encode() for insn in insns)
