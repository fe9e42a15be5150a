"""engine.maps.queue: order, fullness, flags."""

import errno

import pytest

from engine.abi.bpf import MapType, UpdateFlag
from engine.errors import KernelError
from engine.maps import MapSpec, create_map


def _fails(number: int) -> "pytest.RaisesContext[KernelError]":
    return pytest.raises(KernelError, match=errno.errorcode[number])


@pytest.mark.parametrize(("kind", "order"), [(MapType.QUEUE, [1, 2, 3]), (MapType.STACK, [3, 2, 1])])
def test_order(kind: MapType, order: list[int]) -> None:
    waiting = create_map(MapSpec(kind, 0, 1, 3))
    for _ in range(5):
        for i in (1, 2, 3):
            waiting.push(bytes([i]))
        with _fails(errno.E2BIG):
            waiting.push(b"4")
        assert waiting.peek() == bytes([order[0]])
        assert [waiting.pop()[0] for _ in range(3)] == order
        for empty in (waiting.pop, waiting.peek):
            with _fails(errno.ENOENT):
                empty()
    waiting.close()


@pytest.mark.parametrize(("kind", "order"), [(MapType.QUEUE, [2, 3, 4]), (MapType.STACK, [4, 3, 2])])
def test_the_oldest_makes_room(kind: MapType, order: list[int]) -> None:
    waiting = create_map(MapSpec(kind, 0, 4, 3))
    for i in (1, 2, 3, 4):
        waiting.push(i.to_bytes(4, "little"), UpdateFlag.EXIST)
    assert [waiting.pop()[0] for _ in range(3)] == order
    waiting.close()


def test_what_queues_do_not_have() -> None:
    waiting = create_map(MapSpec(MapType.QUEUE, 0, 4, 3))
    for flags in (UpdateFlag.NOEXIST, 3, 4, 8):
        with _fails(errno.EINVAL):
            waiting.push(bytes(4), flags)
    with _fails(errno.EINVAL):
        waiting.next_key(None)
    with _fails(errno.EINVAL):
        waiting.delete(b"")
    for bad in (
        MapSpec(MapType.QUEUE, 4, 4, 3),
        MapSpec(MapType.STACK, 0, 0, 3),
        MapSpec(MapType.STACK, 0, 4, 0),
    ):
        with _fails(errno.EINVAL):
            create_map(bad)
    waiting.close()
