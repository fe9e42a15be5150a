"""The table of threads against a dict: found, removed, reused, full."""

import random
from collections.abc import Iterator

import pytest

from engine.env import ENV_SIZE, peek32, peek64, poke32, poke64
from engine.memory import Region
from engine.tracees.state import INDEX_SLOTS, MAX_THREADS, REC_SIZE, ST_SIZE, Flag, Rec, St
from engine.tracees.threads import find, insert, remove


@pytest.fixture
def table() -> Iterator[int]:
    """An empty table; the address of its state block."""
    records = ST_SIZE + INDEX_SLOTS * 4 + MAX_THREADS * REC_SIZE
    region = Region("test", records + ENV_SIZE)
    poke64(region.address + St.ENV, region.address + records)
    poke64(region.address + St.INDEX, region.address + ST_SIZE)
    poke64(region.address + St.RECORDS, region.address + ST_SIZE + INDEX_SLOTS * 4)
    yield region.address
    region.close()


@pytest.mark.parametrize("seed", range(4))
def test_against_a_dict(table: int, seed: int) -> None:
    dice = random.Random(seed)
    # Few homes, so that searches run into each other, also around the end of the index.
    homes = [*range(INDEX_SLOTS - 8, INDEX_SLOTS), *range(1, 24)]
    tids = [home + turn * INDEX_SLOTS for home in homes for turn in range(4)]
    known: dict[int, int] = {}
    for _ in range(6000):
        tid = dice.choice(tids)
        if tid not in known and dice.random() < 0.5:
            known[tid] = insert(table, tid)
            assert peek32(known[tid] + Rec.TID) == tid
        elif dice.random() < 0.5:
            remove(table, tid)
            known.pop(tid, None)
        assert find(table, tid) == known.get(tid, 0)
    assert peek64(table + St.LIVE) == len(known)
    for tid in tids:
        assert find(table, tid) == known.get(tid, 0)
    for tid in tids:
        remove(table, tid)
    assert peek64(table + St.LIVE) == 0
    assert not any(peek32(table + ST_SIZE + slot * 4) for slot in range(INDEX_SLOTS))


def test_full(table: int) -> None:
    for tid in range(1, MAX_THREADS + 1):
        assert insert(table, tid)
    assert insert(table, MAX_THREADS + 1) == 0
    assert peek64(table + St.UNTRACKED) == 1
    assert find(table, MAX_THREADS + 1) == 0
    remove(table, 7)
    assert insert(table, MAX_THREADS + 1) == find(table, MAX_THREADS + 1) != 0


def test_records_start_zeroed_and_detaching_is_counted(table: int) -> None:
    rec = insert(table, 5)
    for offset in range(Rec.TGID, REC_SIZE, 4):
        assert peek32(rec + offset) == 0
    poke32(rec + Rec.FLAGS, Flag.DETACH)
    poke64(rec + Rec.RSEQ, 1 << 40)
    poke64(table + St.DETACHING, 1)
    remove(table, 5)
    assert peek64(table + St.DETACHING) == 0
    assert insert(table, 6) == rec
    assert peek64(rec + Rec.RSEQ) == 0
