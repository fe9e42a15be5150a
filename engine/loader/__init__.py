"""ELF objects: `parse_object` reads one, `load_object` creates its maps and programs on a machine.

An object is taken apart without touching the machine (`ObjectSpec`): sections and symbols (`elf`), type
information (`engine.btf`, made fit for a kernel by `fixup` and `usable`), externs, maps (`mapdefs`,
`datamaps`), functions, and programs linked of the functions that each reaches (`link`). Loading (`load`) then
creates maps, applies CO-RE relocations and the addresses of this kernel (`patch`), and loads programs: all of
them or nothing. Where the verifier stumbles over what this kernel lacks, `explain` puts that into words.
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
