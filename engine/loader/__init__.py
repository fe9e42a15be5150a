"""ELF objects: `parse_object` reads one, `load_object` creates its maps and programs on a machine.

An object is taken apart without touching the machine (`ObjectSpec`), in this order: sections and symbols
(`elf`), type information (`engine.btf`), externs, maps, functions, and programs linked of the functions that
each reaches. Loading then creates maps, applies CO-RE relocations against the machine's kernel, and loads
programs: all of them or nothing.
"""

from engine.loader.kernelinfo import KernelInfo
from engine.loader.load import LoadedObject, LoadError, load_object, load_spec
from engine.loader.object import object_name, parse_object
from engine.loader.secname import SecName, parse_secname
from engine.loader.spec import MapDef, ObjectSpec, ProgDef

__all__ = [
    "KernelInfo",
    "LoadError",
    "LoadedObject",
    "MapDef",
    "ObjectSpec",
    "ProgDef",
    "SecName",
    "load_object",
    "load_spec",
    "object_name",
    "parse_object",
    "parse_secname",
]
