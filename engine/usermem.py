"""Reading the user memory of a thread, without waiting for whoever supplies it.

A page that is not there may be another process's to supply: behind userfaultfd, or in a file of a FUSE file
system. If that process is stopped too, and waits for the runner that reads, both would wait for ever. So a
runner with a reader (`Env.READER`) looks pages up in /proc/TID/pagemap first; one that is missing is read by
the reader's thread, for which the runner waits a moment and then gives up. The program gets -EFAULT then, as
the kernel gives it at once (`copy_from_user_nofault`).
"""

from enum import IntEnum

from engine.clock import monotonic
from engine.env import Env
from engine.jit.lang import (
    c_call,
    cas32,
    cstr,
    load_acquire32,
    local,
    memcpy,
    native,
    put8,
    put64,
    sext32,
    store_release32,
    u64,
)
from engine.kernel.text import put_decimal, put_text

__all__ = [
    "LOOK_NS",
    "READER_SIZE",
    "Reader",
    "end_reader",
    "forget_memory",
    "own_read",
    "read_missing",
    "user_bytes",
]

_EFAULT = -14
_PAGE = 4096
_FILES = 64
_PATIENCE_NS = 50_000_000
LOOK_NS = 10_000_000
_MOST_PAGES = 8
"""Pages that are looked up at once."""
_PRESENT_OR_SWAPPED = 62
"""Lowest of the two bits that say so in an entry of pagemap (Documentation/admin-guide/mm/pagemap.rst)."""
_SYS_FUTEX, _WAIT_PRIVATE, _WAKE_PRIVATE = 202, 128, 129
_O_RDONLY_CLOEXEC = 0o2000000


class Reader(IntEnum):
    """Offsets in a reader's block; one runner asks, one thread reads."""

    STATE = 0
    """u32, a `State`, futex of both."""
    TID = 8
    SOURCE = 16
    SIZE = 24
    RESULT = 32
    """s64, bytes read, or negative."""
    LOOK = 40
    """struct timespec, how long the runner sleeps before it looks at the time."""
    GIVEN_UP = 56
    """u64, how often it did."""
    FILES = 64
    """_FILES pairs of u64 thread id and s64 descriptor of its pagemap, each in the place of its id."""
    BUFFER = 64 + 16 * _FILES
    """One page."""


READER_SIZE = Reader.BUFFER + _PAGE


class State(IntEnum):
    """What a reader is about."""

    IDLE = 0
    ASKED = 1
    DONE = 2
    ABANDONED = 3
    """The runner does not wait any more."""
    ENDED = 4


@native
def own_read(tid: int, to: int, source: int, size: int) -> int:
    """process_vm_readv of one range: bytes read, up to the first page that cannot be; or -EFAULT."""
    vectors = local(32)
    put64(vectors, to)
    put64(vectors + 8, size)
    put64(vectors + 16, source)
    put64(vectors + 24, size)
    done = c_call("process_vm_readv", tid, vectors, 1, vectors + 16, 1, 0)
    return done if done > 0 else _EFAULT


@native
def _close(slot: int) -> int:
    if u64(slot) != 0 and u64(slot + 8) >= 0:
        c_call("close", u64(slot + 8))
    put64(slot, 0)
    return 0


@native
def _pagemap(reader: int, tid: int) -> int:
    """Descriptor of the thread's pagemap, kept for the next time; negative where there is none."""
    slot = reader + Reader.FILES + (tid & (_FILES - 1)) * 16
    if u64(slot) != tid:
        _close(slot)
        path = local(48)
        put8(put_text(put_decimal(put_text(path, cstr("/proc/")), tid), cstr("/pagemap")), 0)
        put64(slot + 8, sext32(c_call("open", path, _O_RDONLY_CLOEXEC, 0)))
        put64(slot, tid)
    return u64(slot + 8)


@native
def forget_memory(env: int, tid: int) -> int:
    """The thread has ended, or has another memory now."""
    reader = u64(env + Env.READER)
    if reader != 0:
        slot = reader + Reader.FILES + (tid & (_FILES - 1)) * 16
        if u64(slot) == tid:
            _close(slot)
    return 0


@native
def _at_hand(reader: int, tid: int, page: int, count: int) -> int:
    """Whether reading these pages waits for nobody; also where that cannot be told."""
    file = _pagemap(reader, tid)
    if file < 0:
        return 1
    entries = local(8 * _MOST_PAGES)
    if c_call("pread", file, entries, count * 8, page * 8) != count * 8:
        return 1
    for i in range(count):
        if u64(entries + i * 8) >> _PRESENT_OR_SWAPPED == 0:
            return 0
    return 1


@native
def _ask(reader: int, tid: int, to: int, source: int, size: int) -> int:
    """Bytes of a page by way of the reader's thread; -EFAULT when it takes long, or is about another yet."""
    if load_acquire32(reader + Reader.STATE) != State.IDLE:
        return _EFAULT
    put64(reader + Reader.TID, tid)
    put64(reader + Reader.SOURCE, source)
    put64(reader + Reader.SIZE, size)
    store_release32(reader + Reader.STATE, State.ASKED)
    futex = reader + Reader.STATE
    c_call("syscall", _SYS_FUTEX, futex, _WAKE_PRIVATE, 1, 0)
    last = monotonic() + _PATIENCE_NS
    while load_acquire32(futex) == State.ASKED and monotonic() < last:
        c_call("syscall", _SYS_FUTEX, futex, _WAIT_PRIVATE, State.ASKED, reader + Reader.LOOK)
    if cas32(futex, State.ASKED, State.ABANDONED) == State.ASKED:
        put64(reader + Reader.GIVEN_UP, u64(reader + Reader.GIVEN_UP) + 1)
        return _EFAULT
    got = u64(reader + Reader.RESULT)
    if got > 0:
        memcpy(to, reader + Reader.BUFFER, got)
    store_release32(futex, State.IDLE)
    return got


@native
def user_bytes(env: int, tid: int, to: int, source: int, size: int) -> int:
    """Copy user memory of a thread: bytes read, up to the first page that cannot be; -EFAULT for none."""
    if size == 0:
        return 0
    reader = u64(env + Env.READER)
    first = source >> 12
    count = ((source + size - 1) >> 12) - first + 1
    if reader == 0 or (count <= _MOST_PAGES and _at_hand(reader, tid, first, count)):
        return own_read(tid, to, source, size)
    done = 0
    got = 1
    while done < size and got > 0:
        part = _PAGE - (source + done & _PAGE - 1)
        part = part if part < size - done else size - done
        if _at_hand(reader, tid, source + done >> 12, 1):
            got = own_read(tid, to + done, source + done, part)
        else:
            got = _ask(reader, tid, to + done, source + done, part)
        done = done + got if got > 0 else done
        got = got if got == part else 0
    return done if done else _EFAULT


@native
def read_missing(reader: int) -> int:
    """The reader's thread; returns after `end_reader`."""
    futex = reader + Reader.STATE
    state = load_acquire32(futex)
    while state != State.ENDED:
        if state == State.ASKED:
            size = u64(reader + Reader.SIZE)
            source = u64(reader + Reader.SOURCE)
            got = own_read(u64(reader + Reader.TID), reader + Reader.BUFFER, source, size)
            put64(reader + Reader.RESULT, got)
            if cas32(futex, State.ASKED, State.DONE) == State.ASKED:
                c_call("syscall", _SYS_FUTEX, futex, _WAKE_PRIVATE, 1, 0)
            cas32(futex, State.ABANDONED, State.IDLE)
        else:
            c_call("syscall", _SYS_FUTEX, futex, _WAIT_PRIVATE, state, 0)
        state = load_acquire32(futex)
    return 0


@native
def end_reader(reader: int) -> int:
    """Have `read_missing` return, once it is done with what it reads; closes what was opened."""
    store_release32(reader + Reader.STATE, State.ENDED)
    for i in range(_FILES):
        _close(reader + Reader.FILES + i * 16)
    return c_call("syscall", _SYS_FUTEX, reader + Reader.STATE, _WAKE_PRIVATE, 1, 0)
