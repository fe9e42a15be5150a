"""Maps come and go: ids, memory, descriptors, grace periods."""

import errno
import gc
import os
from collections.abc import Iterator

import pytest

from engine.abi.bpf import MapCreateFlag, MapType
from engine.env import Env, peek64
from engine.epoch import epoch_enter, epoch_leave
from engine.errors import KernelError
from engine.jit.lang import native
from engine.machine import Machine
from engine.maps import MapSpec, create_map
from engine.maps.create import FAMILIES

_NO_PREALLOC = MapCreateFlag.NO_PREALLOC
_SPECS = {
    MapType.QUEUE: (0, 8, 10, 0),
    MapType.STACK: (0, 8, 10, 0),
    MapType.BLOOM_FILTER: (0, 8, 10, 0),
    MapType.RINGBUF: (0, 0, 4096, 0),
    MapType.LPM_TRIE: (8, 8, 10, _NO_PREALLOC),
    MapType.STACK_TRACE: (4, 8, 10, 0),
    MapType.TASK_STORAGE: (4, 8, 0, _NO_PREALLOC),
    **dict.fromkeys(
        (
            MapType.PROG_ARRAY,
            MapType.PERF_EVENT_ARRAY,
            MapType.CGROUP_ARRAY,
            MapType.ARRAY_OF_MAPS,
            MapType.HASH_OF_MAPS,
            MapType.XSKMAP,
        ),
        (4, 4, 10, 0),
    ),
}


@native
def _enter(slot: int) -> int:
    """Begin a read section, as a runner does."""
    return epoch_enter(slot)


@native
def _leave(slot: int) -> int:
    """End it."""
    return epoch_leave(slot)


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def _spec(kind: MapType) -> MapSpec:
    sizes = _SPECS.get(kind, (4, 8, 10, 0))
    nested = kind in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
    inner = create_map(MapSpec(MapType.HASH, 4, 8, 1)) if nested else None
    return MapSpec(kind, *sizes, name="t", inner=inner, btf_key_type_id=1, btf_value_type_id=2)


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", sorted(FAMILIES))
def test_a_map_leaves_nothing_behind(machine: Machine, kind: MapType) -> None:
    spec = _spec(kind)
    create_map(spec, machine).close()
    gc.collect()
    machine.epoch.poll()
    used, files = machine.heap.used, _open_files()
    for _ in range(20):
        made = create_map(spec, machine)
        assert machine.maps.get(made.id) is made
        number = made.id
        del made
        gc.collect()
        with pytest.raises(KernelError, match=errno.errorcode[errno.ENOENT]):
            machine.maps.get(number)
    machine.epoch.poll()
    assert machine.epoch.pending == 0
    assert (machine.heap.used, _open_files()) == (used, files)


def test_ids_ascend_and_are_not_reused(machine: Machine) -> None:
    first = create_map(_spec(MapType.HASH), machine)
    second = create_map(_spec(MapType.ARRAY), machine)
    assert second.id > first.id > 0
    assert machine.maps.next_id(first.id) == second.id
    second_id = second.id
    del second
    gc.collect()
    assert create_map(_spec(MapType.ARRAY), machine).id > second_id


def test_memory_stays_while_a_runner_may_hold_it(machine: Machine) -> None:
    slot = peek64(machine.new_env() + Env.EPOCH_SLOT)
    made = create_map(_spec(MapType.HASH), machine)
    region = made.region
    assert region is not None
    _enter(slot)
    made.close()
    machine.epoch.poll()
    assert not region.closed
    _leave(slot)
    machine.epoch.poll()
    assert region.closed


@pytest.mark.parametrize("kind", [MapType.SOCKMAP, MapType.SK_STORAGE, MapType.UNSPEC])
def test_types_that_the_engine_has_not(machine: Machine, kind: MapType) -> None:
    with pytest.raises(KernelError, match="EINVAL"):
        create_map(MapSpec(kind, 4, 4, 10), machine)


@pytest.mark.parametrize("name", ["x" * 16, "a b", "a/b", "a\n"])
def test_names(name: str) -> None:
    with pytest.raises(KernelError, match="EINVAL"):
        create_map(MapSpec(MapType.HASH, 4, 4, 10, name=name))
