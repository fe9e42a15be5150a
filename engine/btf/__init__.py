"""BTF: the type information of programs, maps and the modelled kernel.

A blob is parsed once into a `Btf`, an immutable list of records (`types`) indexed by type id (`parse`).
Objects carry blobs that no kernel takes, so what the kernel checks is a step of its own (`verify`,
`resolve`), and what prints values relies on it. Everything else asks a `Btf`:

    show, seqshow      values and maps as the kernel prints a pinned map
    jsondump, dump     the same as bpftool does
    decl               C text of types and signatures of functions
    ext                line, function and relocation records of an object
    core, core*        relocations of a program's types against a kernel's (CO-RE)
    build              new blobs
    mapcheck, fields   what a map asks of its key and value

Nothing here locks: records never change after they are made.
"""

from engine.btf.btf import Btf
from engine.btf.types import Kind

__all__ = ["Btf", "Kind"]
