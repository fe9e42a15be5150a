"""Memory that the tracer's native loop works on: one state block, one record per traced thread.

    St   the loop's own block: configuration, doorbell, counters, buffers for one stop
    Rec  one traced thread; records are found by thread id through a hash index (see `threads`)

Written by the tracer thread only, except COMMANDS and REARM (any thread sets them) and what `Tracer` stores
before the loop starts. Other threads may read records: a free one has TID 0.
"""

from enum import IntEnum

from engine.tracees.ptrace import USER_REGS_SIZE, Info

__all__ = [
    "COMM_NS",
    "CPU_NS",
    "INDEX_SLOTS",
    "MAX_THREADS",
    "REC_SIZE",
    "SLOW_CPU_NS",
    "ST_SIZE",
    "Flag",
    "Mode",
    "Phase",
    "Reason",
    "Rec",
    "St",
]

MAX_THREADS = 32768
"""Threads that can be traced at once; further ones are let go at once and counted (`St.UNTRACKED`)."""
INDEX_SLOTS = 4 * MAX_THREADS
"""u32 slots of the hash index, a power of two."""
COMM_NS = 10_000_000
"""How long a thread's name may be taken from the record: another thread can change it unseen."""
CPU_NS = 1_000_000
"""How long its CPU may be: reading it costs as much as a tenth of the whole event."""
SLOW_CPU_NS = 10_000_000
"""The same for threads whose CPU only /proc tells."""


class St(IntEnum):
    """Offsets in the state block."""

    CTL = 0
    """u64, the machine's control block."""
    ENV = 8
    """u64, the tracer's run environment."""
    INDEX = 16
    """u64, address of u32[INDEX_SLOTS]: record number + 1, 0 when free."""
    RECORDS = 24
    """u64, address of the records."""
    FREE = 32
    """u64, first free record as number + 1, linked through Rec.NEXT; 0: none."""
    TOP = 40
    """u64, records that were ever used."""
    LIVE = 48
    """u64, records in use."""
    COMMANDS = 56
    """u32, not 0: Python has something to do on the tracer thread."""
    REARM = 60
    """u32, not 0: whether system-call stops are needed has changed."""
    TIMER = 64
    """u64, id of the doorbell timer."""
    DETACHING = 72
    """u64, how many records carry Flag.DETACH."""
    STOPPING = 80
    """u64, not 0: every new thread is let go at once."""
    WANTED = 88
    """u64, native fn(env, nr): whether anybody wants system call `nr`."""
    ENTER = 96
    """u64, native fn(env, uregs): it is entered; returns whether its return is wanted."""
    EXIT = 104
    """u64, native fn(env, uregs, retval): it returns."""
    STOPS = 112
    """u64 counters from here: stops of any kind."""
    EVENTS = 120
    """Calls of ENTER and EXIT."""
    INTERRUPTS = 128
    """PTRACE_INTERRUPTs sent."""
    RESTARTS = 136
    """Interrupted system calls that were made to restart."""
    UNTRACKED = 144
    """Threads for which no record was left."""
    EXITS = 152
    """Threads that ended."""
    ERRORS = 160
    """Requests that failed other than by the thread's death."""
    STATUS = 168
    """u32, status of the last wait."""
    EVENT_MESSAGE = 176
    """u64, answer to GETEVENTMSG."""
    BATCH_IN = 184
    """u64, stops handled one by one so far."""
    PLACEMENT = 192
    """120 bytes, see `placement`."""
    UREGS = PLACEMENT + 120
    """struct user_regs_struct of the stop."""
    INFO = UREGS + USER_REGS_SIZE
    """struct ptrace_syscall_info of the stop."""
    RSEQ_CONFIG = INFO + Info.SIZE
    """struct ptrace_rseq_configuration, 24 bytes."""
    RING_SPEC = RSEQ_CONFIG + 24
    """struct itimerspec that rings the doorbell: at once, then every millisecond until heard."""
    HUSH_SPEC = RING_SPEC + 32
    """struct itimerspec of zeros."""
    SEIZE_SPEC = HUSH_SPEC + 32
    """struct itimerspec that ends an attempt to seize a thread whose process is executing a program."""
    RESTARTABLE = SEIZE_SPEC + 32
    """Bitmap of system calls that are restarted when we interrupted them (x86-64 numbers)."""
    RESTARTABLE32 = RESTARTABLE + 64
    """The same for i386 numbers."""
    IDENTITY = RESTARTABLE32 + 64
    """Bitmap of system calls after which what we know of the caller is stale."""
    MASKS = IDENTITY + 64
    """256 bytes, two cpu_set_t, see `placement`."""
    HITS = MASKS + 256
    """u64, moving average of how many entries are wanted, in 1/65536."""
    HELD = HITS + 8
    """u64, threads in Mode.HELD."""
    TRACER = HITS + 16
    """u64, id of the tracer thread."""
    PATH = HITS + 32
    """64 bytes, a path under /proc."""
    TEXT = PATH + 64
    """3072 bytes, a file of /proc."""


ST_SIZE = St.TEXT + 3072


class Rec(IntEnum):
    """Offsets in a thread's record."""

    TID = 0
    """u32, 0 when the record is free."""
    TGID = 4
    """u32, 0 when not known yet."""
    FLAGS = 8
    MODE = 12
    PHASE = 16
    NR = 20
    """u32, number of the system call that was entered."""
    RSEQ = 24
    """u64, address of its struct rseq; 0 not known, 1 it has none."""
    UID = 32
    GID = 36
    COMM = 40
    COMM_NS = 56
    """u64, when COMM was read; 0 never."""
    CPU = 64
    """u32, last CPU seen."""
    CPU_NS = 72
    """u64, until when CPU may be taken from here."""
    NEXT = 80
    """u32, next free record."""
    NSPID = 84
    NSTGID = 88
    PPID = 92
    TASK = 96
    """u64, kernel alias of the modelled task_struct; 0: none."""
    EUID = 104
    EGID = 108


REC_SIZE = 128


class Flag(IntEnum):
    """Bits of Rec.FLAGS."""

    INTERRUPTED = 1
    """PTRACE_INTERRUPT was sent and its stop has not come yet."""
    DETACH = 2
    """To be let go at the stop that follows our interrupt."""
    COMPAT = 4
    """Runs 32-bit code: left alone."""
    KNOWN = 8
    """TGID, UID, GID and namespace ids are filled in."""
    WANT_EXIT = 16
    """ENTER said that the return of the running system call is wanted."""
    CONTINUED = 32
    """The last stop was the end of a group stop: a system call that it interrupted stays interrupted."""
    TELLS_EXIT = 64
    """It has PTRACE_O_TRACEEXIT."""
    ENDED = 128
    """Its end has been told."""


class Mode(IntEnum):
    """How a thread was last resumed."""

    NEW = 0
    CONT = 1
    SYSCALL = 2
    LISTEN = 3
    HELD = 4
    """Not resumed: a new thread waits until its birth has been told."""


class Phase(IntEnum):
    """What the next system-call stop is."""

    ASK = 0
    """Not known: the kernel is asked."""
    EXIT = 1
    ENTRY = 2


class Reason(IntEnum):
    """Why the native loop returned to Python."""

    COMMANDS = 1
    NO_TRACEES = 2
