"""x86-64 `struct pt_regs` (arch/x86/include/asm/ptrace.h), byte offsets.

`struct user_regs_struct` of PTRACE_GETREGS begins with the same 21 words.
"""

from enum import IntEnum

from engine.kernel.functions import PINNED, RETHOOK_TRAMPOLINE

__all__ = ["PT_REGS_SIZE", "TRAMPOLINE", "USER_REGS_SIZE", "Reg"]

PT_REGS_SIZE = 168
USER_REGS_SIZE = 216
TRAMPOLINE = PINNED[RETHOOK_TRAMPOLINE]
"""Address that stands on the stack while a return probe waits."""


class Reg(IntEnum):
    """Registers by the name that fetch arguments use."""

    R15 = 0
    R14 = 8
    R13 = 16
    R12 = 24
    BP = 32
    BX = 40
    R11 = 48
    R10 = 56
    R9 = 64
    R8 = 72
    AX = 80
    CX = 88
    DX = 96
    SI = 104
    DI = 112
    ORIG_AX = 120
    IP = 128
    CS = 136
    FLAGS = 144
    SP = 152
    SS = 160
