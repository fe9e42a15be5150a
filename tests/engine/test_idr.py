"""engine.idr: ids ascend, are not reused, and do not keep objects alive."""

import errno

import pytest

from engine.errors import KernelError
from engine.idr import Idr


class Thing:
    """Something with an id."""


def test_ids_ascend_and_vanish_with_their_objects() -> None:
    table: Idr[Thing] = Idr()
    first, second = Thing(), Thing()
    assert (table.add(first), table.add(second)) == (1, 2)
    assert table.get(2) is second
    del second
    with pytest.raises(KernelError) as error:
        table.get(2)
    assert error.value.errno == errno.ENOENT
    third = Thing()
    assert table.add(third) == 3
    assert table.values() == [first, third]
    assert len(table) == 2


def test_next_id() -> None:
    table: Idr[Thing] = Idr()
    kept = [Thing() for _ in range(3)]
    for thing in kept:
        table.add(thing)
    table.remove(2)
    table.remove(99)
    assert [table.next_id(0), table.next_id(1)] == [1, 3]
    with pytest.raises(KernelError):
        table.next_id(3)
