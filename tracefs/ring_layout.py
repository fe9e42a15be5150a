"""Where things are in a trace buffer: its header, one ring per CPU, and sub-buffers as Linux lays them out.

A ring is `nr_pages` sub-buffers of one page and one more, the reader's, as in kernel/trace/ring_buffer.c.
`TABLE` maps slots of the ring to page numbers; the slots that hold data are COUNT ones from HEAD on. The
reader takes a whole sub-buffer at a time by exchanging it with its own, so that no writer can overwrite what
is being read. The writer may still be writing on the page that the reader took.

    sub-buffer   u64 time of the first event | u64 commit (bytes of data) | 4080 bytes of data
    event        u32: type_len bits 0-4, time_delta bits 5-31 (ns since the event before) | data
                 type_len 1..28: 4 * type_len bytes of data   0: u32 length of data and itself, then data
                 29 (padding): u32 length of what follows, up to the end of the sub-buffer
                 30 (time extend): u32, the delta's bits from 27 on; the next event follows
"""

from enum import IntEnum

__all__ = [
    "BUF_PAGE_SIZE",
    "DELTA_BITS",
    "MAX_CPUS",
    "MAX_SMALL_DATA",
    "PAGE_HEADER",
    "RECORD_HEADER",
    "RING_SIZE",
    "SUBBUF",
    "TYPE_LEN_PADDING",
    "TYPE_LEN_TIME_EXTEND",
    "Buf",
    "Meta",
    "Out",
    "Ring",
]

SUBBUF = 4096
"""Bytes of a sub-buffer with its header."""
PAGE_HEADER = 16
BUF_PAGE_SIZE = SUBBUF - PAGE_HEADER
"""Bytes of data in a sub-buffer: what `buffer_size_kb` counts."""
DELTA_BITS = 27
MAX_SMALL_DATA = 28 * 4
TYPE_LEN_PADDING = 29
TYPE_LEN_TIME_EXTEND = 30
RING_SIZE = 256
MAX_CPUS = 512
RECORD_HEADER = 24


class Buf(IntEnum):
    """Offsets in the header of a trace buffer; the rings follow it."""

    NR_CPUS = 0
    RECORDING = 4
    """u32, `tracing_on`."""
    OVERWRITE = 8
    """u32, option overwrite: drop the oldest sub-buffer when full, else drop what is new."""
    WAITERS = 12
    """u32, not 0: a reader waits; the next write wakes it."""
    WAKE_FD = 16
    """s64, the machine's eventfd."""
    CLOCK = 24
    """u32, see `tracefs.clocks`."""
    COUNTER = 32
    """u64, what the clock `counter` counts."""
    PIDS = 40
    """u64, bitmap of the threads that are recorded; 0: all."""
    NOTRACE_PIDS = 48
    """u64, bitmap of the threads that are not; 0: none."""
    RINGS = 64


class Ring(IntEnum):
    """Offsets in a per-CPU ring."""

    LOCK = 0
    DISABLED = 4
    """u32, not 0: this CPU is not in tracing_cpumask."""
    PAGES = 8
    """u64, address of the sub-buffers."""
    NR_PAGES = 16
    TABLE = 24
    """u64, address of u64 per slot: number of the sub-buffer in it."""
    META = 32
    """u64, address of `Meta` per sub-buffer."""
    HEAD = 40
    COUNT = 48
    READER = 56
    """u64, number of the reader's sub-buffer."""
    READ = 64
    """u64, offset of the next event in the reader's sub-buffer."""
    READ_TS = 72
    """u64, time of the event before it."""
    WRITER = 80
    """u64, number of the sub-buffer being written."""
    LAST_TS = 88
    ENTRIES = 96
    OVERRUN = 104
    DROPPED = 112
    READ_EVENTS = 120
    BYTES = 128
    LAST_OVERRUN = 136
    LOST = 144
    """u64, events lost just before the next one read."""
    SEQUENCE = 152
    """u64, sequence number of the newest sub-buffer."""


class Meta(IntEnum):
    """What is known of a sub-buffer: 16 bytes."""

    SEQUENCE = 0
    """u64, 1 for the first one ever written, 0 for an empty one."""
    ENTRIES = 8
    SIZE = 16


class Out(IntEnum):
    """A record as it is handed to Python: header of 24 bytes, then its data, 8-aligned."""

    SIZE = 0
    """u32, bytes with header."""
    CPU = 4
    """u32."""
    TIME = 8
    """u64."""
    LOST = 16
    """u32, events lost before it (saturated), then u32 bytes of data."""
    DATA_SIZE = 20
