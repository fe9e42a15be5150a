"""engine.epoch: nothing is reclaimed while a section that could hold it is open."""

from collections.abc import Iterator
from functools import partial

import pytest

from engine.env import CTL_SIZE, Ctl, peek64
from engine.epoch import Epoch, epoch_enter, epoch_leave, publish
from engine.jit.lang import native
from engine.memory import Heap


@native
def enter(slot: int) -> int:
    """A section begins."""
    return epoch_enter(slot)


@native
def leave(slot: int) -> int:
    """A section ends."""
    return epoch_leave(slot)


@pytest.fixture
def heap() -> Iterator[Heap]:
    made = Heap(1 << 20)
    yield made
    made.close()


@pytest.fixture
def epoch(heap: Heap) -> Epoch:
    return Epoch(heap, heap.alloc(CTL_SIZE))


def test_without_sections_everything_is_due(epoch: Epoch) -> None:
    done: list[int] = []
    for i in range(3):
        epoch.retire(partial(done.append, i))
    assert epoch.pending == 3
    assert epoch.poll() == 0
    assert done == [0, 1, 2]


def test_an_open_section_holds_what_is_retired_after_it_began(epoch: Epoch) -> None:
    done: list[str] = []
    first, second = epoch.register(), epoch.register()
    epoch.retire(lambda: done.append("before"))
    enter(first)
    epoch.retire(lambda: done.append("during"))
    enter(second)
    assert epoch.poll() == 1
    assert done == ["before"]
    leave(first)
    assert epoch.poll() == 0
    assert done == ["before", "during"]
    leave(second)


def test_sections_nest(epoch: Epoch) -> None:
    done: list[int] = []
    slot = epoch.register()
    enter(slot)
    epoch.retire(lambda: done.append(1))
    enter(slot)
    leave(slot)
    assert epoch.poll() == 1
    leave(slot)
    assert peek64(slot) == 0
    assert epoch.poll() == 0
    assert done == [1]


def test_a_runner_that_left_holds_nothing(epoch: Epoch, heap: Heap) -> None:
    used = heap.used
    slot = epoch.register()
    enter(slot)
    epoch.retire(lambda: None)
    leave(slot)
    epoch.unregister(slot)
    assert heap.used == used
    assert epoch.poll() == 0


def test_reclaiming_may_retire_more(epoch: Epoch) -> None:
    done: list[str] = []

    def first() -> None:
        done.append("first")
        epoch.retire(lambda: done.append("second"))

    epoch.retire(first)
    epoch.poll()
    assert epoch.poll() == 0
    assert done == ["first", "second"]


def test_publish_returns_what_was_there(heap: Heap) -> None:
    word = heap.alloc(8)
    assert publish(word, 5) == 0
    assert publish(word, 6) == 5
    assert peek64(word) == 6
    assert Ctl.EPOCH % 8 == 0
