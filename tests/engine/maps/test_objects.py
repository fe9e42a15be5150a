"""engine.maps.objects and hash_of_maps: maps of maps, and what may be in them."""

import ctypes
import errno
import gc
import struct
import weakref

import pytest

from engine.abi.bpf import MapCreateFlag, MapType
from engine.errors import KernelError
from engine.helpers.maps import map_lookup_elem
from engine.maps import ENOTSUPP, MapSpec, create_map
from engine.maps.hash_of_maps import HashOfMaps
from engine.maps.objects import ArrayOfMaps, ObjectArray


def _fails(number: int) -> "pytest.RaisesContext[KernelError]":
    return pytest.raises(KernelError, match=errno.errorcode.get(number, "ENOTSUPP"))


_INNER = MapSpec(MapType.HASH, 4, 8, 10)


@pytest.mark.parametrize("kind", [MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS])
def test_a_program_finds_the_inner_map(kind: MapType) -> None:
    outer = create_map(MapSpec(kind, 4, 4, 3, inner=create_map(_INNER)))
    assert isinstance(outer, ArrayOfMaps | HashOfMaps)
    inner = create_map(_INNER)
    inner.id = 42
    key = struct.pack("<I", 1)
    at = ctypes.create_string_buffer(key)
    with _fails(errno.ENOENT):
        outer.lookup(key)
    outer.update_object(key, inner)
    assert map_lookup_elem(0, outer.address, ctypes.addressof(at)) == inner.address
    assert outer.lookup(key) == struct.pack("<I", 42)
    assert list(outer.items()) == [(key, struct.pack("<I", 42))]
    held = weakref.ref(inner)
    del inner
    gc.collect()
    assert held() is not None
    outer.delete(key)
    gc.collect()
    assert held() is None
    assert map_lookup_elem(0, outer.address, ctypes.addressof(at)) == 0
    with _fails(errno.ENOENT):
        outer.delete(key)


@pytest.mark.parametrize(
    "other",
    [
        MapSpec(MapType.HASH, 4, 16, 10),
        MapSpec(MapType.HASH, 8, 8, 10),
        MapSpec(MapType.ARRAY, 4, 8, 10),
        MapSpec(MapType.HASH, 4, 8, 10, MapCreateFlag.NO_PREALLOC),
    ],
)
def test_a_map_unlike_the_template_is_refused(other: MapSpec) -> None:
    outer = create_map(MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 3, inner=create_map(_INNER)))
    assert isinstance(outer, ObjectArray)
    with _fails(errno.EINVAL):
        outer.update_object(bytes(4), create_map(other))


def test_sizes_of_inner_arrays_must_agree_unless_told_otherwise() -> None:
    for flags, fits in ((0, False), (MapCreateFlag.INNER_MAP, True)):
        template = create_map(MapSpec(MapType.ARRAY, 4, 8, 10, flags))
        outer = create_map(MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 3, inner=template))
        assert isinstance(outer, ObjectArray)
        other = create_map(MapSpec(MapType.ARRAY, 4, 8, 20, flags))
        if fits:
            outer.update_object(bytes(4), other)
        else:
            with _fails(errno.EINVAL):
                outer.update_object(bytes(4), other)


def test_templates_that_cannot_be() -> None:
    with _fails(errno.EBADF):
        create_map(MapSpec(MapType.HASH_OF_MAPS, 4, 4, 3))
    nested = create_map(MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 3, inner=create_map(_INNER)))
    with _fails(errno.EINVAL):
        create_map(MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 3, inner=nested))
    programs = create_map(MapSpec(MapType.PROG_ARRAY, 4, 4, 3))
    with _fails(ENOTSUPP):
        create_map(MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 3, inner=programs))


@pytest.mark.parametrize("kind", [MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY, MapType.CGROUP_ARRAY])
def test_arrays_of_objects_take_only_theirs(kind: MapType) -> None:
    slots = create_map(MapSpec(kind, 4, 4, 3))
    assert isinstance(slots, ObjectArray)
    with _fails(errno.EINVAL):
        slots.update_object(bytes(4), create_map(_INNER))
    with _fails(errno.E2BIG):
        slots.update_object(struct.pack("<I", 3), None)
    with _fails(errno.ENOENT):
        slots.delete(bytes(4))
    assert list(slots.items()) == []
    for bad in (
        MapSpec(kind, 4, 8, 3),
        MapSpec(kind, 8, 4, 3),
        MapSpec(kind, 4, 4, 3, MapCreateFlag.RDONLY_PROG),
    ):
        with _fails(errno.EINVAL):
            create_map(bad)
