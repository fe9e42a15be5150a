"""Table of traced threads: records found by thread id, open addressing, no memory taken while running.

An index slot holds a record's number + 1. Removal closes gaps (Knuth's algorithm R), so a search ends at the
first free slot.
"""

from engine.jit.lang import atomic_add64, memset, native, put32, put64, u32, u64
from engine.kernel.tasks import task_free
from engine.tracees.state import INDEX_SLOTS, MAX_THREADS, REC_SIZE, Flag, Rec, St
from engine.usermem import forget_memory

__all__ = ["find", "forget_task", "insert", "record", "remove"]

_MASK = INDEX_SLOTS - 1


@native(inline=True)
def record(st: int, number: int) -> int:
    """Address of record `number`."""
    return u64(st + St.RECORDS) + number * REC_SIZE


@native(inline=True)
def _at(st: int, slot: int) -> int:
    """What index slot `slot` holds."""
    return u32(u64(st + St.INDEX) + slot * 4)


@native(inline=True)
def _home(st: int, entry: int) -> int:
    """Slot where the search for the record of `entry` starts."""
    return u32(record(st, entry - 1) + Rec.TID) & _MASK


@native
def find(st: int, tid: int) -> int:
    """Record of thread `tid`, or 0."""
    slot = tid & _MASK
    entry = _at(st, slot)
    while entry:
        rec = record(st, entry - 1)
        if u32(rec + Rec.TID) == tid:
            return rec
        slot = (slot + 1) & _MASK
        entry = _at(st, slot)
    return 0


@native
def insert(st: int, tid: int) -> int:
    """A zeroed record for `tid`, which has none; 0 when all are taken (counted)."""
    number = u64(st + St.FREE)
    if number:
        number -= 1
        put64(st + St.FREE, u32(record(st, number) + Rec.NEXT))
    else:
        number = u64(st + St.TOP)
        if number == MAX_THREADS:
            atomic_add64(st + St.UNTRACKED, 1)
            return 0
        put64(st + St.TOP, number + 1)
    rec = record(st, number)
    memset(rec, 0, REC_SIZE)
    put32(rec + Rec.TID, tid)
    slot = tid & _MASK
    while _at(st, slot):
        slot = (slot + 1) & _MASK
    put32(u64(st + St.INDEX) + slot * 4, number + 1)
    put64(st + St.LIVE, u64(st + St.LIVE) + 1)
    return rec


@native
def forget_task(st: int, rec: int) -> int:
    """Give the thread's modelled task back."""
    if u64(rec + Rec.TASK):
        task_free(u64(st + St.CTL), u64(rec + Rec.TASK))
        put64(rec + Rec.TASK, 0)
    return 0


@native
def remove(st: int, tid: int) -> int:
    """Forget thread `tid`; nothing happens when it has no record."""
    slot = tid & _MASK
    entry = _at(st, slot)
    while entry and u32(record(st, entry - 1) + Rec.TID) != tid:
        slot = (slot + 1) & _MASK
        entry = _at(st, slot)
    if entry == 0:
        return 0
    rec = record(st, entry - 1)
    if u32(rec + Rec.FLAGS) & Flag.DETACH:
        put64(st + St.DETACHING, u64(st + St.DETACHING) - 1)
    forget_task(st, rec)
    forget_memory(u64(st + St.ENV), tid)
    put32(rec + Rec.TID, 0)
    put32(rec + Rec.NEXT, u64(st + St.FREE))
    put64(st + St.FREE, entry)
    put64(st + St.LIVE, u64(st + St.LIVE) - 1)
    hole = slot
    slot = (slot + 1) & _MASK
    entry = _at(st, slot)
    while entry:
        # An entry may move back into the hole unless its home lies after the hole.
        if ((slot - _home(st, entry)) & _MASK) >= ((slot - hole) & _MASK):
            put32(u64(st + St.INDEX) + hole * 4, entry)
            hole = slot
        slot = (slot + 1) & _MASK
        entry = _at(st, slot)
    put32(u64(st + St.INDEX) + hole * 4, 0)
    return 0
