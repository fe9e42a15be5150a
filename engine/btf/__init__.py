"""BTF: the type information of programs, maps and the modelled kernel.

A blob is parsed once into a `Btf`, an immutable list of records (`types`) indexed by type id. Everything
else asks it: `show` prints values as the kernel prints a pinned map, `dump` as bpftool does, `ext` reads
line, function and relocation info of objects, `core` matches a program's types against a kernel's, `build`
makes blobs. Nothing here locks: records never change after they are made.
"""

from engine.btf.btf import Btf
from engine.btf.types import Kind

__all__ = ["Btf", "Kind"]
