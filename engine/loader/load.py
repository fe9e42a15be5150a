"""Creates what an object describes on a machine, all of it or nothing: `load_object`."""

import errno
import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from engine.abi.bpf import MapType
from engine.btf.fields import spin_lock_offset
from engine.errors import KernelError
from engine.loader.explain import explain
from engine.loader.kconfig import kconfig_value
from engine.loader.kernelinfo import KernelInfo, modelled_kernel
from engine.loader.object import parse_object
from engine.loader.patch import prog_spec
from engine.loader.spec import ExternKind, MapDef, ObjectSpec
from engine.maps import Map, MapSpec, create_map
from engine.maps.hash_of_maps import HashOfMaps
from engine.maps.objects import ObjectArray
from engine.progs import Prog, load_prog
from engine.verifier import VerifierError

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["LoadError", "LoadedObject", "PinnedMap", "load_object", "load_spec", "map_spec"]

_WITHOUT_BTF = frozenset(
    (
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.STACK_TRACE,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.QUEUE,
        MapType.STACK,
    )
)
"""Types that are created without key and value types (libbpf's `bpf_object__create_map`)."""
_RINGS = (MapType.RINGBUF, MapType.USER_RINGBUF)


PinnedMap = Callable[[str], Map | None]


class LoadError(KernelError):
    """A map or program of an object was refused. `part` says which, `log` is the verifier's, if it spoke."""

    def __init__(self, number: int, part: str, reason: str, log: str = "") -> None:
        super().__init__(number, f"{part}: {reason}")
        self.part = part
        self.log = log


@dataclass(slots=True)
class LoadedObject:
    """Maps and programs by name, in the order of the object; `sections` has the SEC() name of programs."""

    spec: ObjectSpec
    maps: dict[str, Map] = field(default_factory=dict)
    progs: dict[str, Prog] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)


def load_object(
    data: bytes,
    machine: "Machine",
    *,
    name: str = "",
    log_level: int = 1,
    uid: int = 0,
    pinned: PinnedMap | None = None,
) -> LoadedObject:
    """Parse the object `data`, called `name`, and load it on `machine` as `load_spec` does."""
    spec, kernel = parse_object(data, name), modelled_kernel(machine)
    return load_spec(spec, machine, kernel, log_level=log_level, uid=uid, pinned=pinned)


def load_spec(
    spec: ObjectSpec,
    machine: "Machine",
    kernel: KernelInfo,
    *,
    log_level: int = 1,
    uid: int = 0,
    pinned: PinnedMap | None = None,
) -> LoadedObject:
    """Create the maps of `spec`, fill them, load its programs, with types and symbols of `kernel`.

    `pinned` gives the map that is pinned by a name already, for maps that are shared that way
    (LIBBPF_PIN_BY_NAME); new ones among them are for the caller to pin. Raises LoadError with the errno of
    what failed; nothing is left behind then.
    """
    loaded = LoadedObject(spec)
    created: list[Map] = []
    if spec.btf is not None:
        spec.btf.id = machine.btfs.add(spec.btf)
    try:
        for definition in spec.maps.values():
            shared = pinned(definition.name) if pinned is not None and definition.pin_by_name else None
            if shared is None:
                loaded.maps[definition.name] = _create(machine, spec, definition, kernel)
                created.append(loaded.maps[definition.name])
            else:
                loaded.maps[definition.name] = _reuse(spec, definition, kernel, shared)
        maps = list(loaded.maps.values())
        candidates: dict[int, list[int]] = {}
        for prog in spec.progs.values():
            if prog.secname.autoload:
                try:
                    wanted = prog_spec(prog, spec, maps, kernel, candidates)
                    loaded.progs[prog.name] = load_prog(machine, wanted, log_level=log_level, uid=uid)
                except VerifierError as error:
                    log = explain(error.log, prog, spec.types)
                    asked = re.search(r"^(failed to resolve .*|kfunc '.*)$", log, re.MULTILINE)
                    reason = asked[0] if asked is not None else error.message
                    raise LoadError(error.errno, f"prog '{prog.name}'", reason, log) from None
                loaded.sections[prog.name] = prog.secname.section
        _fill_slots(spec, loaded)
    except KernelError:
        _undo(machine, loaded, created)
        raise
    return loaded


def _undo(machine: "Machine", loaded: LoadedObject, created: list[Map]) -> None:
    for prog in loaded.progs.values():
        machine.progs.remove(prog.id)
    for made in created:
        machine.maps.remove(made.id)
    created.clear()
    loaded.progs.clear()
    loaded.maps.clear()


def map_spec(spec: ObjectSpec, definition: MapDef, kernel: KernelInfo, inner: Map | None = None) -> MapSpec:
    """What to create for `definition`: sizes depend on the machine, some types have no BTF."""
    known = definition.type in MapType._value2member_map_
    if not known:
        raise LoadError(errno.EINVAL, f"map '{definition.name}'", f"unknown map type {definition.type}")
    kind = MapType(definition.type)
    typed = spec.btf is not None and kind not in _WITHOUT_BTF and definition.btf_value_type_id != 0
    entries = definition.max_entries
    if kind is MapType.PERF_EVENT_ARRAY and not entries:
        entries = kernel.nr_cpus
    elif kind in _RINGS:
        entries = _ring_size(entries)
    lock = None
    if typed and spec.btf is not None:
        lock = spin_lock_offset(spec.btf, spec.btf.skip(definition.btf_value_type_id))
    return MapSpec(
        kind,
        definition.key_size,
        definition.value_size,
        entries,
        definition.flags,
        _kernel_name(definition.name),
        btf=spec.btf if typed else None,
        btf_key_type_id=definition.btf_key_type_id if typed else 0,
        btf_value_type_id=definition.btf_value_type_id if typed else 0,
        inner=inner,
        numa_node=definition.numa_node,
        map_extra=definition.map_extra,
        lock_off=lock,
    )


def _kernel_name(name: str) -> str:
    """As much of a name as the kernel takes; bytes that it refuses become underscores."""
    return "".join(c if c in "_." or (c.isascii() and c.isalnum()) else "_" for c in name[:15])


def _ring_size(size: int) -> int:
    """Pages by a power of two, at least `size` bytes (libbpf's `adjust_ringbuf_sz`)."""
    if not size or size > 1 << 31:
        return size
    pages = mmap.PAGESIZE
    while pages < size:
        pages *= 2
    return pages


def _create(machine: "Machine", spec: ObjectSpec, definition: MapDef, kernel: KernelInfo) -> Map:
    try:
        inner = None
        if definition.inner is not None:
            inner = _create_typed(machine, spec, definition.inner, kernel)
            machine.maps.remove(inner.id)
        created = _create_typed(machine, spec, definition, kernel, inner)
        content = _content(spec, definition, kernel)
        if content is not None:
            created.update(bytes(4), content)
        if definition.frozen:
            created.freeze()
    except LoadError:
        raise
    except KernelError as error:
        raise LoadError(error.errno, f"map '{definition.name}'", error.message) from None
    return created


def _create_typed(
    machine: "Machine", spec: ObjectSpec, definition: MapDef, kernel: KernelInfo, inner: Map | None = None
) -> Map:
    """A new map, without key and value types where they are what is wrong with it, as libbpf does."""
    try:
        return create_map(map_spec(spec, definition, kernel, inner), machine)
    except LoadError:
        raise
    except KernelError:
        plain = replace(definition, btf_key_type_id=0, btf_value_type_id=0)
        if plain == definition:
            raise
        return create_map(map_spec(spec, plain, kernel, inner), machine)


def _reuse(spec: ObjectSpec, definition: MapDef, kernel: KernelInfo, shared: Map) -> Map:
    """A map that is pinned already, if it is what `definition` asks for (libbpf's `map_is_reuse_compat`)."""
    wanted = map_spec(spec, definition, kernel)
    ours = (
        wanted.type,
        wanted.key_size,
        wanted.value_size,
        wanted.max_entries,
        wanted.flags,
        wanted.map_extra,
    )
    theirs = (
        shared.type,
        shared.key_size,
        shared.value_size,
        shared.max_entries,
        shared.flags,
        shared.map_extra,
    )
    if ours != theirs:
        reason = "couldn't reuse the pinned map: parameter mismatch"
        raise LoadError(errno.EINVAL, f"map '{definition.name}'", reason)
    return shared


def _content(spec: ObjectSpec, definition: MapDef, kernel: KernelInfo) -> bytes | None:
    """What element 0 starts with; None for zeros."""
    if definition.section != ".kconfig" or spec.types is None:
        return definition.content
    content = bytearray(definition.value_size)
    for extern in spec.externs.values():
        if extern.kind is ExternKind.KCONFIG:
            value = kconfig_value(extern, spec.types, kernel)
            content[extern.offset : extern.offset + extern.size] = value
    return bytes(content)


def _fill_slots(spec: ObjectSpec, loaded: LoadedObject) -> None:
    """Initial elements of maps of maps and of program arrays."""
    for definition in spec.maps.values():
        target = loaded.maps[definition.name]
        for index, name in sorted(definition.slots.items()):
            of_programs = definition.type == MapType.PROG_ARRAY
            item = loaded.progs.get(name) if of_programs else loaded.maps.get(name)
            part = f"map '{definition.name}'"
            if item is None or not isinstance(target, ObjectArray | HashOfMaps):
                raise LoadError(errno.EINVAL, part, f"initial slot {index} cannot be '{name}'")
            try:
                target.update_object(index.to_bytes(4, "little"), item)
            except KernelError as error:
                raise LoadError(
                    error.errno, part, f"initial slot {index} ('{name}'): {error.message}"
                ) from None
