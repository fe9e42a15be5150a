"""BTF-defined maps: the variables of section `.maps`, read as libbpf reads them (`parse_btf_map_def`).

__uint(NAME, N)     int (*NAME)[N]          a number is the length of an array that is pointed to
__type(NAME, T)     typeof(T) *NAME         a type is pointed to
__array(NAME, T)    typeof(T) *NAME[]       the template of inner maps, with initial slots
__ulong(NAME, N)    enum { _ = N } NAME     a number of 64 bits is an enumerator
"""

import errno
from bisect import bisect_right
from typing import NamedTuple

from engine.abi.bpf import MapType
from engine.btf import Btf
from engine.btf.types import Array, Composite, DataSec, Enum, FuncProto, Kind, Member, Pointer, Var
from engine.errors import KernelError
from engine.loader.elf import Elf, RelocationType
from engine.loader.spec import MapDef

__all__ = ["MAPS_SECTION", "btf_maps"]

MAPS_SECTION = ".maps"
_PIN_NONE, _PIN_BY_NAME = 0, 1
_MAPS_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
_NUMBERS = {
    "type": "type",
    "max_entries": "max_entries",
    "map_flags": "flags",
    "numa_node": "numa_node",
}
_POINTERS = (RelocationType.ABS64, RelocationType.B64_64, RelocationType.GNU_DATA64)
_WITHOUT_VALUES = (MapType.RINGBUF, MapType.PERF_EVENT_ARRAY)
"""What `value` says of these is for readers: bpf2go makes types of it (cilium/ebpf, `canHaveValueSize`)."""


class _Place(NamedTuple):
    """Where a map's definition is in the section, and where its initial slots start in it."""

    offset: int
    size: int
    definition: MapDef
    values_at: int | None


def btf_maps(elf: Elf, btf: Btf | None) -> dict[tuple[int, int], MapDef]:
    """Maps of section `.maps` by (section index, offset). Raises KernelError(EINVAL, ENOENT, EOPNOTSUPP)."""
    section = elf.section(MAPS_SECTION)
    if section is None:
        return {}
    sec_id = btf.find(MAPS_SECTION, Kind.DATASEC) if btf is not None else None
    if btf is None or sec_id is None:
        raise KernelError(errno.ENOENT, "BTF is required to load maps of section .maps, but is missing")
    datasec = btf.type(sec_id)
    found: dict[tuple[int, int], MapDef] = {}
    places: list[_Place] = []
    for placed in datasec.vars if isinstance(datasec, DataSec) else ():
        var = btf.type(placed.type)
        if not isinstance(var, Var) or not var.name:
            raise KernelError(errno.EINVAL, f"map #{len(found)}: no variable with a name")
        if placed.offset + placed.size > section.size:
            raise KernelError(errno.EINVAL, f"map '{var.name}': lies outside of section .maps")
        reader = _MapReader(btf, var.name)
        definition = reader.read(var.type)
        found[section.index, placed.offset] = definition
        places.append(_Place(placed.offset, placed.size, definition, reader.values_at))
    _slots(elf, section.index, places)
    return found


class _MapReader:
    """Reads the struct that defines one map."""

    def __init__(self, btf: Btf, name: str) -> None:
        self._btf = btf
        self._name = name
        self.values_at: int | None = None

    def _bad(self, reason: str, number: int = errno.EINVAL) -> KernelError:
        return KernelError(number, f"map '{self._name}': {reason}")

    def read(self, type_id: int, *, inner: bool = False) -> MapDef:
        """The map that a variable of type `type_id` defines."""
        record = self._btf.resolve(type_id)
        if not isinstance(record, Composite) or record.kind is not Kind.STRUCT:
            raise self._bad("unexpected def kind, it is no struct")
        definition = MapDef(self._name, MapType.UNSPEC)
        seen_type = False
        for member in record.members:
            if member.name in _NUMBERS:
                setattr(definition, _NUMBERS[member.name], self._number(member))
                seen_type |= member.name == "type"
            else:
                self._other(definition, member, inner=inner)
        if not seen_type or not definition.type:
            raise self._bad("map type isn't specified")
        if definition.type in MapType._value2member_map_:
            definition.type = MapType(definition.type)
        if definition.inner is not None and definition.type not in (*_MAPS_OF_MAPS, MapType.PROG_ARRAY):
            raise self._bad("should be map-in-map or prog-array")
        if definition.type == MapType.PROG_ARRAY:
            definition.inner = None
        if definition.type in _WITHOUT_VALUES and definition.btf_value_type_id:
            self._drop_value(definition)
        return definition

    @staticmethod
    def _drop_value(definition: MapDef) -> None:
        """Sizes that the kernel takes, whatever type the records have that go through the map."""
        size = 4 if definition.type == MapType.PERF_EVENT_ARRAY else 0
        definition.key_size, definition.value_size = definition.key_size or size, size
        definition.btf_key_type_id = definition.btf_value_type_id = 0

    def _other(self, definition: MapDef, member: Member, *, inner: bool) -> None:
        """Members other than plain numbers."""
        match member.name:
            case "key_size":
                self._size(definition, "key_size", self._number(member))
            case "value_size":
                self._size(definition, "value_size", self._number(member))
            case "key":
                definition.btf_key_type_id = self._pointee(member)
                self._size(definition, "key_size", self._btf.size_of(definition.btf_key_type_id))
            case "value":
                definition.btf_value_type_id = self._pointee(member)
                self._size(definition, "value_size", self._btf.size_of(definition.btf_value_type_id))
            case "map_extra":
                definition.map_extra = self._long(member)
            case "values":
                if inner:
                    raise self._bad("multi-level inner maps not supported", errno.EOPNOTSUPP)
                self._values(definition, member)
            case "pinning":
                pinning = self._number(member)
                if inner or pinning not in (_PIN_NONE, _PIN_BY_NAME):
                    raise self._bad(f"invalid pinning value {pinning}")
                definition.pin_by_name = pinning == _PIN_BY_NAME
            case _:
                raise self._bad(f"unknown field '{member.name}'", errno.EOPNOTSUPP)

    def _size(self, definition: MapDef, which: str, size: int) -> None:
        if getattr(definition, which) not in (0, size):
            raise self._bad(f"conflicting {which} {getattr(definition, which)} != {size}")
        setattr(definition, which, size)

    def _pointer(self, member: Member) -> int:
        record = self._btf.resolve(member.type)
        if not isinstance(record, Pointer):
            raise self._bad(f"attr '{member.name}': expected PTR, got {record.kind.name}")
        return record.type

    def _number(self, member: Member) -> int:
        array = self._btf.type(self._pointer(member))
        if not isinstance(array, Array):
            raise self._bad(f"attr '{member.name}': expected ARRAY, got {array.kind.name}")
        return array.count

    def _long(self, member: Member) -> int:
        record = self._btf.resolve(member.type)
        if not isinstance(record, Enum):
            return self._number(member)
        if len(record.values) != 1:
            raise self._bad(f"attr '{member.name}': invalid __ulong")
        return record.values[0].value & 0xFFFFFFFFFFFFFFFF

    def _pointee(self, member: Member) -> int:
        return self._pointer(member)

    def _values(self, definition: MapDef, member: Member) -> None:
        array = self._btf.resolve(member.type)
        if not isinstance(array, Array) or array.count:
            raise self._bad("map-in-map inner spec is not a zero-sized array")
        pointer = self._btf.resolve(array.type)
        if not isinstance(pointer, Pointer):
            raise self._bad("map-in-map inner def is of unexpected kind")
        self.values_at = member.bit_offset // 8
        definition.value_size = definition.value_size or 4
        if definition.value_size != 4:
            raise self._bad(f"conflicting value_size {definition.value_size} != 4")
        if isinstance(self._btf.resolve(pointer.type), FuncProto):
            definition.inner = MapDef("", MapType.UNSPEC)
            return
        definition.inner = _MapReader(self._btf, self._name + ".inner").read(pointer.type, inner=True)


def _slots(elf: Elf, section: int, places: list[_Place]) -> None:
    """Initial elements of maps of maps and program arrays: relocations of section `.maps`."""
    places.sort(key=lambda place: place.offset)
    offsets = [place.offset for place in places]
    by_symbol = {place.offset: place.definition.name for place in places}
    for relocation in elf.relocations.get(section, ()):
        symbol = relocation.symbol
        if relocation.type not in _POINTERS:
            raise KernelError(errno.EINVAL, f".maps: unexpected relocation type {relocation.type}")
        index = bisect_right(offsets, relocation.offset) - 1
        if index < 0 or relocation.offset >= places[index].offset + places[index].size:
            raise KernelError(errno.EINVAL, f".maps: relocation at {relocation.offset} belongs to no map")
        offset, _, definition, values_at = places[index]
        at = relocation.offset - offset
        if values_at is None or at < values_at or (at - values_at) % 8:
            raise KernelError(errno.EINVAL, f"map '{definition.name}': unexpected relocation at {at}")
        if definition.type == MapType.PROG_ARRAY:
            definition.slots[(at - values_at) // 8] = symbol.name
        elif symbol.section == section and symbol.value in by_symbol:
            definition.slots[(at - values_at) // 8] = by_symbol[symbol.value]
        else:
            raise KernelError(errno.EINVAL, f".maps: unexpected symbol '{symbol.name}', it is no map")
