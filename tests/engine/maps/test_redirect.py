"""engine.maps.redirect, devmap_hash, xskmap: what they take, show, keep, and what bpf_redirect_map says."""

import errno
import gc
import struct
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from engine.abi.bpf import AttachType, MapCreateFlag, MapType, ProgType
from engine.errors import KernelError
from engine.helpers.redirect import redirect_map
from engine.isa import Alu, Class, Insn, Jmp
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.maps.devmap_hash import DevHashMap
from engine.maps.redirect import RedirectArray
from engine.progs import Prog, load_prog
from engine.progspec import ProgSpec

_EXIT = [Insn(Class.ALU64 | Alu.MOV), Insn(Class.JMP | Jmp.EXIT)]
_FIRST = struct.pack("<I", 1)
_PLACES = {
    MapType.DEVMAP: AttachType.XDP_DEVMAP,
    MapType.DEVMAP_HASH: AttachType.XDP_DEVMAP,
    MapType.CPUMAP: AttachType.XDP_CPUMAP,
}
_TO_ALL = 1 << 3


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


@contextmanager
def _fails(number: int) -> Iterator[None]:
    with pytest.raises(KernelError) as failed:
        yield
    assert failed.value.errno == number


def _made(machine: Machine, kind: MapType, value_size: int = 8) -> RedirectArray | DevHashMap:
    made = create_map(MapSpec(kind, 4, value_size, 2), machine)
    assert isinstance(made, RedirectArray | DevHashMap)
    return made


def _prog(machine: Machine, attach: AttachType | None) -> Prog:
    return load_prog(machine, ProgSpec(ProgType.XDP, _EXIT, expected_attach_type=attach))


def _only(item: object) -> Callable[[int], object]:
    """Descriptors of a process that has one, 9."""

    def find(fd: int) -> object:
        if fd != 9:
            raise KernelError(errno.EBADF)
        return item

    return find


@pytest.mark.parametrize("kind", list(_PLACES))
def test_a_map_keeps_the_programs_of_its_values(machine: Machine, kind: MapType) -> None:
    used = _made(machine, kind)
    prog = _prog(machine, _PLACES[kind])
    held, number = weakref.ref(prog), prog.id
    used.put(_FIRST, struct.pack("<Ii", 1, 9), 0, _only(prog))
    del prog
    gc.collect()
    assert held() is not None
    assert list(used.items()) == [(_FIRST, struct.pack("<II", 1, number))]
    used.update(_FIRST, struct.pack("<Ii", 1, 0))
    gc.collect()
    assert held() is None
    assert used.lookup(_FIRST) == struct.pack("<II", 1, 0)


@pytest.mark.parametrize("kind", list(_PLACES))
def test_programs_of_another_place(machine: Machine, kind: MapType) -> None:
    used, value = _made(machine, kind), struct.pack("<Ii", 1, 9)
    wrong = errno.ENOMEM if kind == MapType.CPUMAP else errno.EINVAL
    for item in (used, _prog(machine, None), _prog(machine, AttachType.XDP)):
        with _fails(wrong):
            used.put(_FIRST, value, 0, _only(item))
    with _fails(wrong):
        used.update(_FIRST, value)
    with _fails(errno.ENOENT):
        used.lookup(_FIRST)


@pytest.mark.parametrize("kind", list(_PLACES))
def test_what_the_helper_says(machine: Machine, kind: MapType) -> None:
    used = _made(machine, kind, 4)
    assert redirect_map(0, used.address, 1, 2) == 2
    used.update(_FIRST, _FIRST)
    assert [redirect_map(0, used.address, at, 2) for at in (0, 1, 2, 1 << 32 | 1)] == [2, 4, 2, 4]
    to_all = redirect_map(0, used.address, 0, _TO_ALL | 2)
    assert to_all == (0 if kind == MapType.CPUMAP else 4)
    used.delete(_FIRST)
    assert redirect_map(0, used.address, 1, 3) == 3


def test_programs_do_not_write_to_maps_of_devices(machine: Machine) -> None:
    for kind, flags in ((MapType.DEVMAP, 0x80), (MapType.DEVMAP_HASH, 0x80), (MapType.CPUMAP, 0)):
        assert _made(machine, kind).flags == flags


def test_no_sockets(machine: Machine) -> None:
    used = create_map(MapSpec(MapType.XSKMAP, 4, 4, 2), machine)
    for call, number in (
        (lambda: used.update(_FIRST, _FIRST), errno.EBADF),
        (lambda: used.update(struct.pack("<I", 2), _FIRST), errno.E2BIG),
        (lambda: used.lookup(_FIRST), errno.EOPNOTSUPP),
        (lambda: used.delete(struct.pack("<I", 2)), errno.EINVAL),
    ):
        with _fails(number):
            call()
    used.delete(_FIRST)
    assert list(used.items()) == []
    assert redirect_map(0, used.address, 1, 1) == 1


def test_what_is_frozen(machine: Machine) -> None:
    frozen: list[Map] = [_made(machine, kind, 4) for kind in _PLACES]
    frozen.append(create_map(MapSpec(MapType.XSKMAP, 4, 4, 2), machine))
    for used in frozen:
        used.freeze()
        with _fails(errno.EPERM):
            used.update(_FIRST, _FIRST)
        with _fails(errno.EPERM):
            used.delete(_FIRST)


def test_the_flag_of_a_descriptor_is_not_the_maps(machine: Machine) -> None:
    flags = MapCreateFlag.RDONLY | MapCreateFlag.NO_PREALLOC
    assert create_map(MapSpec(MapType.HASH, 4, 4, 2, flags), machine).flags == MapCreateFlag.NO_PREALLOC
