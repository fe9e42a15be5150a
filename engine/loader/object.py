"""Parses an object file as compilers for BPF emit it: `parse_object`."""

import errno
import os

from engine.abi.bpf import MapCreateFlag, MapType
from engine.btf import Btf
from engine.btf.ext import BtfExt, parse_ext
from engine.btf.types import Kind
from engine.errors import KernelError
from engine.loader.datamaps import data_maps, internal_map_name, legacy_maps
from engine.loader.elf import Elf, read_elf
from engine.loader.externs import KCONFIG_SECTION, collect_externs
from engine.loader.fixup import fix_datasecs, fix_externs
from engine.loader.functions import Function, Functions, Targets
from engine.loader.link import Linker
from engine.loader.mapdefs import btf_maps
from engine.loader.secname import parse_secname
from engine.loader.spec import Extern, ExternKind, MapDef, ObjectSpec
from engine.loader.usable import usable_btf

__all__ = ["object_name", "parse_object"]

_TEXT = ".text"
_STRUCT_OPS = (".struct_ops", ".struct_ops.link", "?.struct_ops", "?.struct_ops.link")


def object_name(path: str) -> str:
    """Name of an object from the name of its file: up to the first dot (`bpf_object__open_file`)."""
    return os.path.basename(path).split(".", 1)[0]


def parse_object(data: bytes, name: str = "") -> ObjectSpec:
    """Everything that an object called `name` would create.

    Raises KernelError: ENOEXEC for what is no BPF object, EFBIG and E2BIG for what is too big, EOPNOTSUPP for
    what no loader knows, EINVAL and ENOENT for the rest, with a message that names the part at fault.
    """
    elf = read_elf(data)
    _refuse_struct_ops(elf)
    spec = ObjectSpec(license=_license(elf), version=_version(elf))
    btf, ext = _type_info(elf)
    externs = collect_externs(elf, btf)
    if btf is not None:
        btf = fix_externs(elf, fix_datasecs(elf, btf), externs)
    spec.types, spec.externs = btf, externs
    spec.btf = usable_btf(btf) if btf is not None else None
    placed = btf_maps(elf, btf) | legacy_maps(elf)
    variables = data_maps(elf, btf, name)
    _add_maps(spec, [*placed.values(), *variables.values(), *_kconfig_map(btf, externs, name)])
    targets = Targets(
        {place: definition.name for place, definition in placed.items()},
        {index: definition.name for index, definition in variables.items()},
        externs,
    )
    functions = Functions(elf, targets)
    linker = Linker(functions, btf, ext)
    for function in _entry_points(functions):
        if function.name in spec.progs:
            raise KernelError(errno.EEXIST, f"two programs are called '{function.name}'")
        spec.progs[function.name] = linker.link(function, parse_secname(function.section.name))
    return spec


def _refuse_struct_ops(elf: Elf) -> None:
    """Kernel interfaces made of programs: there is none that a program could be part of."""
    for section in elf.sections:
        if section.name in _STRUCT_OPS and section.size:
            raise KernelError(errno.EOPNOTSUPP, f"section '{section.name}': struct_ops are not supported")


def _license(elf: Elf) -> str:
    section = elf.section("license")
    return section.data.split(b"\0", 1)[0][:63].decode("utf-8", "surrogateescape") if section else ""


def _version(elf: Elf) -> int:
    section = elf.section("version")
    if section is None:
        return 0
    if len(section.data) != 4:
        raise KernelError(errno.EINVAL, f"section version of {len(section.data)} bytes, expected 4")
    return int.from_bytes(section.data, "little")


def _type_info(elf: Elf) -> tuple[Btf | None, BtfExt]:
    section = elf.section(".BTF")
    if section is None or not section.data:
        return None, BtfExt()
    btf = Btf(section.data)
    extra = elf.section(".BTF.ext")
    return btf, parse_ext(extra.data, btf) if extra is not None and extra.data else BtfExt()


def _kconfig_map(btf: Btf | None, externs: dict[str, Extern], name: str) -> list[MapDef]:
    """The array of configuration values; its content is filled in when it is created."""
    size = max((e.offset + e.size for e in externs.values() if e.kind is ExternKind.KCONFIG), default=0)
    if not size or btf is None:
        return []
    return [
        MapDef(
            internal_map_name(name, KCONFIG_SECTION),
            MapType.ARRAY,
            4,
            size,
            1,
            MapCreateFlag.RDONLY_PROG | MapCreateFlag.MMAPABLE,
            btf_value_type_id=btf.find(KCONFIG_SECTION, Kind.DATASEC) or 0,
            frozen=True,
            section=KCONFIG_SECTION,
        )
    ]


def _add_maps(spec: ObjectSpec, found: list[MapDef]) -> None:
    for definition in found:
        if definition.name in spec.maps:
            raise KernelError(errno.EEXIST, f"two maps are called '{definition.name}'")
        spec.maps[definition.name] = definition


def _entry_points(functions: Functions) -> list[Function]:
    """Functions that are programs: all in named sections, and one that is alone in the object in .text."""
    found = list(functions)
    if len(found) == 1 and found[0].section.name == _TEXT:
        return found
    entries = []
    for function in found:
        if function.section.name == _TEXT:
            continue
        if not function.is_global and parse_secname(function.section.name).definition is None:
            continue
        if not function.is_global:
            raise KernelError(
                errno.EOPNOTSUPP,
                f"sec '{function.section.name}': program '{function.name}' is static and not supported",
            )
        entries.append(function)
    return entries
