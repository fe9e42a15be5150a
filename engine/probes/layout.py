"""Native tables of probes and sites: what `engine.probes.fire` follows, byte offsets.

site table   +0 number of rows   then a pointer per system call number, and one more for all others
site         pointers to the frames of the armed calls of one system call, in order of entry
frame        one armed function: what it is, its argument operations and guards, its probes
record       one registered probe: handler, counters; recycled, told apart by its generation
instance     one pending return of one thread, in its task slot
"""

from enum import IntEnum

__all__ = [
    "FRAME_SIZE",
    "INSTANCE_SIZE",
    "MAX_ARGS",
    "MAX_GUARDS",
    "MAX_INSTANCES",
    "OP_SIZE",
    "REC_SIZE",
    "SITE_HEAD",
    "Frame",
    "Instance",
    "Op",
    "Rec",
    "RecKind",
    "Site",
]

REC_SIZE = 128
OP_SIZE = 32
SITE_HEAD = 32
"""Bytes before the first pointer to a frame."""
MAX_ARGS = 6
MAX_GUARDS = 4
FRAME_SIZE = 64 + (MAX_ARGS + MAX_GUARDS) * OP_SIZE
INSTANCE_SIZE = 64
MAX_INSTANCES = 40


class Rec(IntEnum):
    """A probe record."""

    GENERATION = 0
    """u64, changes when the record is given to another probe or to none."""
    HANDLER = 8
    """u64, native handler(env, regs, priv)."""
    PRIV = 16
    NHIT = 24
    """u64, how often the handler ran."""
    NMISSED = 32
    """u64, how often it could not."""
    ENABLED = 40
    """u64."""
    IS_RETURN = 48
    """u64."""
    ACTIVE = 56
    """s64, pending returns."""
    MAX_ACTIVE = 64
    """s64, how many may be pending at a time."""
    KIND = 72
    """u64, RecKind."""
    OBJECTS = 80
    """u64, not 0 if the handler may follow pointers to kernel objects."""


class RecKind(IntEnum):
    """What the handler gets besides the environment."""

    PROBE = 0
    """pt_regs."""
    RECORD = 1
    """A tracepoint's record; its size is in `Env.RECORD_SIZE`."""
    RAW_ARGS = 2
    """A raw tracepoint's argument words."""


class Site(IntEnum):
    """The armed calls of one system call."""

    COUNT = 0
    """u32, frames."""
    DEFERRED = 4
    """u32, how many of them are reported at the return; they are the last ones."""
    OUTERMOST = 8
    """u32, not 0 if the first one is `do_syscall_64`'s."""
    ENTER_LIST = 16
    """u64, pointer to the list of records of tracepoints passed on entry, or 0."""
    EXIT_LIST = 24


class Frame(IntEnum):
    """One armed call. Operations follow: six arguments, then up to four guards."""

    FUNC = 0
    RET_IP = 8
    """u64, where the function returns to."""
    DEPTH = 16
    """u32, nesting: places the frame on the kernel stack."""
    ARGS = 20
    """u32."""
    GUARDS = 24
    """u32."""
    RET_KIND = 28
    """u32, RetKind."""
    RET_IMM = 32
    RET_MASK = 40
    """u64, bits of the result that the function's type has."""
    PROBES = 48
    """u64, pointer to a list: count, then records in firing order."""
    OPS = 64


class Op(IntEnum):
    """One argument operation or guard."""

    KIND = 0
    """u32."""
    X = 4
    """u16, operand number."""
    Y = 6
    """u16, second operand number."""
    IMM = 8
    MASK = 16
    """u64, bits of the parameter's type."""
    BUFFER = 24
    """u32, which name buffer or loff_t to use."""


class Instance(IntEnum):
    """A pending return."""

    REC = 0
    GENERATION = 8
    FUNC = 16
    RET_IP = 24
    """u64, return address found on the stack: the trampoline if another return probe came first."""
    CALLER_IP = 32
    """u64, where the function really returns to."""
    RET_IMM = 40
    RET_MASK = 48
    RET_KIND = 56
    """u32, RetKind."""
    DEPTH = 60
    """u32."""
