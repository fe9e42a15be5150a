"""Writes the result of a CO-RE relocation into an instruction (`bpf_core_patch_insn`)."""

import errno
from dataclasses import dataclass
from struct import Struct

from engine.errors import KernelError
from engine.isa.opcodes import Class, Size

__all__ = ["POISON", "Value", "patch", "poison"]

POISON = 195896080
"""Helper number of a poisoned instruction (0xbad2310, "bad relo")."""
_SLOT = Struct("<BBhi")
_CALL = 0x85
_LD_IMM64 = 0x18
_SIZES = {1: Size.B, 2: Size.H, 4: Size.W, 8: Size.DW}
_BYTES = {code: size for size, code in _SIZES.items()}
_SIZE_MASK = 0x18
_SOURCE_REG = 8


@dataclass(frozen=True, slots=True)
class Value:
    """A number, and for an offset the size of the field (0: unknown) and what allows another size."""

    number: int
    size: int = 0
    adjustable: str = ""


def poison(insns: bytearray, at: int) -> None:
    """Make the instruction at `at` one that the verifier refuses if it can be reached."""
    if insns[at * 8] == _LD_IMM64 and at * 8 + 16 <= len(insns):
        _SLOT.pack_into(insns, at * 8 + 8, _CALL, 0, 0, POISON)
    _SLOT.pack_into(insns, at * 8, _CALL, 0, 0, POISON)


def patch(insns: bytearray, at: int, before: Value, after: Value, *, validate: bool) -> None:
    """Put `after` where `before` is. KernelError EINVAL if it is not there, ERANGE if it is too big."""
    code, regs, off, imm = _SLOT.unpack_from(insns, at * 8)
    cls = code & 7
    if cls in (Class.ALU, Class.ALU64):
        if code & _SOURCE_REG:
            raise KernelError(errno.EINVAL, "ALU instruction without an immediate")
        _check(validate, imm & 0xFFFFFFFF, before.number & 0xFFFFFFFF, before, after)
        _SLOT.pack_into(insns, at * 8, code, regs, off, _signed32(after.number))
    elif cls in (Class.LDX, Class.ST, Class.STX):
        _check(validate, off, before.number, before, after)
        _memory(insns, at, before, after)
    elif code == _LD_IMM64 and at * 8 + 16 <= len(insns) and not regs >> 4 and not off:
        second = _SLOT.unpack_from(insns, at * 8 + 8)
        if second[:3] != (0, 0, 0):
            raise KernelError(errno.EINVAL, "64-bit load has unexpected form")
        value = imm & 0xFFFFFFFF | (second[3] & 0xFFFFFFFF) << 32
        _check(validate, value, before.number & 0xFFFFFFFFFFFFFFFF, before, after)
        _SLOT.pack_into(insns, at * 8, code, regs, 0, _signed32(after.number))
        _SLOT.pack_into(insns, at * 8 + 8, 0, 0, 0, _signed32(after.number >> 32))
    else:
        raise KernelError(errno.EINVAL, f"unrecognized instruction {code:#04x}")


def _check(validate: bool, got: int, expected: int, before: Value, after: Value) -> None:
    if validate and got != expected:
        text = f"unexpected value: got {got}, exp {before.number} -> {after.number}"
        raise KernelError(errno.EINVAL, text)


def _memory(insns: bytearray, at: int, before: Value, after: Value) -> None:
    """A load or store takes a new offset, and a new size where that cannot change the value."""
    code, regs, _, imm = _SLOT.unpack_from(insns, at * 8)
    if not -0x8000 <= after.number <= 0x7FFF:
        raise KernelError(errno.ERANGE, f"offset {after.number} is too big")
    if before.size != after.size:
        if not before.adjustable or before.adjustable != after.adjustable:
            poison(insns, at)
            return
        have = _BYTES.get(Size(code & _SIZE_MASK))
        if have != before.size:
            raise KernelError(errno.EINVAL, f"unexpected mem size: got {have}, exp {before.size}")
        if after.size not in _SIZES:
            raise KernelError(errno.EINVAL, f"invalid new mem size: {after.size}")
        code = code & ~_SIZE_MASK | _SIZES[after.size]
    _SLOT.pack_into(insns, at * 8, code, regs, after.number, imm)


def _signed32(value: int) -> int:
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
