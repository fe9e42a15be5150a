"""The instruction set: numbers, one row per opcode, slots, text in both directions.

`opcodes` holds the table that verifier, JIT, interpreter, assembler and disassembler all read. `insn` turns
bytes into slots and back, `disasm` slots into the kernel's syntax, `asm` that syntax into slots.
"""

from engine.isa.asm import AsmError, assemble
from engine.isa.disasm import disasm, disasm_program, helper_name, pseudo_imm64
from engine.isa.insn import INSN_SIZE, LD_IMM64, Insn, decode, encode
from engine.isa.opcodes import (
    FP,
    MAX_TAIL_CALLS,
    OPCODES,
    REGS,
    STACK_SIZE,
    Alu,
    Atomic,
    Class,
    Field,
    Form,
    Jmp,
    Mode,
    Opcode,
    PseudoSrc,
    Size,
    Source,
)

__all__ = [
    "FP",
    "INSN_SIZE",
    "LD_IMM64",
    "MAX_TAIL_CALLS",
    "OPCODES",
    "REGS",
    "STACK_SIZE",
    "Alu",
    "AsmError",
    "Atomic",
    "Class",
    "Field",
    "Form",
    "Insn",
    "Jmp",
    "Mode",
    "Opcode",
    "PseudoSrc",
    "Size",
    "Source",
    "assemble",
    "decode",
    "disasm",
    "disasm_program",
    "encode",
    "helper_name",
    "pseudo_imm64",
]
