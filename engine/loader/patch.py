"""Turns a `ProgDef` into a `ProgSpec`: CO-RE relocations, maps, externs and the attach target."""

import errno
from collections.abc import Mapping, Sequence

from engine.abi.bpf import AttachType, ProgType
from engine.btf import Btf
from engine.btf.core import relocate
from engine.btf.coretypes import types_compatible
from engine.btf.names import essential
from engine.btf.types import Func, Kind, Var
from engine.errors import KernelError
from engine.isa import decode
from engine.isa.opcodes import PseudoSrc
from engine.loader.explain import KFUNC_POISON
from engine.loader.functions import CALL, LD_IMM64, SLOT
from engine.loader.kernelinfo import KernelInfo
from engine.loader.secname import SecDef
from engine.loader.spec import Extern, ExternKind, ObjectSpec, ProgDef, Reloc, RelocKind
from engine.progspec import LineInfo, MapLike, ProgFlag, ProgSpec

__all__ = ["prog_spec"]


def prog_spec(
    prog: ProgDef,
    spec: ObjectSpec,
    maps: Sequence[MapLike],
    kernel: KernelInfo,
    candidates: dict[int, list[int]] | None = None,
) -> ProgSpec:
    """What to load for `prog`, with `maps` in the order of `spec.maps`.

    `candidates` is what the programs of an object share, see `relocate`.
    Raises KernelError: ESRCH for a kernel symbol or attach target that is missing, and what CO-RE raises.
    """
    insns = bytearray(prog.insns)
    if prog.core:
        relocate(prog.name, insns, prog.core, spec.types, kernel.btf, candidates)
    numbers = {name: number for number, name in enumerate(spec.maps)}
    for reloc in prog.relocs:
        _patch(prog, insns, reloc, numbers, spec, kernel)
    definition = prog.secname.definition
    return ProgSpec(
        definition.type if definition is not None else ProgType.KPROBE,
        decode(insns),
        license=spec.license,
        name=prog.name[:15],
        maps=dict(enumerate(maps)),
        btf=spec.btf,
        kernel_btf=kernel.btf,
        symbol=kernel.symbol,
        func_info=prog.func_info if spec.btf is not None else (),
        line_info=[
            LineInfo(row.insn_off, row.file_name, row.text, row.line, row.column)
            for row in (prog.line_info if spec.btf is not None else ())
        ],
        expected_attach_type=definition.attach if definition is not None else None,
        attach_btf_id=_attach_btf_id(prog, definition, kernel.btf),
        flags=_flags(definition),
        kern_version=spec.version or kernel.version,
    )


def _flags(definition: SecDef | None) -> int:
    if definition is None:
        return 0
    return ProgFlag.SLEEPABLE * definition.sleepable | ProgFlag.XDP_HAS_FRAGS * definition.frags


def _attach_btf_id(prog: ProgDef, definition: SecDef | None, btf: Btf | None) -> int:
    """Type of the kernel function or tracepoint that the section names, 0 if it names none."""
    if definition is None or definition.btf is None or not prog.secname.target:
        return 0
    wanted = definition.btf + prog.secname.target
    kind = Kind.TYPEDEF if definition.attach == AttachType.TRACE_RAW_TP else Kind.FUNC
    found = btf.find(wanted, kind) if btf is not None else None
    if found is None:
        reason = f"failed to find kernel BTF type ID of '{prog.secname.target}'"
        raise KernelError(errno.ESRCH, f"prog '{prog.name}': {reason}")
    return found


def _patch(
    prog: ProgDef,
    insns: bytearray,
    reloc: Reloc,
    numbers: Mapping[str, int],
    spec: ObjectSpec,
    kernel: KernelInfo,
) -> None:
    """Apply one relocation to the instructions."""
    at = reloc.insn
    match reloc.kind:
        case RelocKind.MAP_FD:
            _load(insns, at, PseudoSrc.MAP_FD, numbers[reloc.name], 0)
        case RelocKind.MAP_VALUE:
            _load(insns, at, PseudoSrc.MAP_VALUE, numbers[reloc.name], reloc.offset)
        case RelocKind.EXTERN:
            _extern(prog, insns, at, spec.externs[reloc.name], numbers, spec, kernel)


def _extern(
    prog: ProgDef,
    insns: bytearray,
    at: int,
    extern: Extern,
    numbers: Mapping[str, int],
    spec: ObjectSpec,
    kernel: KernelInfo,
) -> None:
    if extern.kind is ExternKind.KCONFIG:
        number = next(numbers[m.name] for m in spec.maps.values() if m.section == ".kconfig")
        _load(insns, at, PseudoSrc.MAP_VALUE, number, extern.offset)
        return
    try:
        value = _resolve(extern, spec.types, kernel)
    except KernelError as error:
        raise KernelError(error.errno, f"prog '{prog.name}': {error.message}") from None
    if value is None and not extern.weak:
        raise KernelError(errno.ESRCH, f"prog '{prog.name}': extern (ksym) '{extern.name}' is not found")
    if insns[at * 8] == CALL:
        src = PseudoSrc.KFUNC_CALL if value is not None else PseudoSrc.CALL_HELPER
        SLOT.pack_into(insns, at * 8, CALL, src << 4, 0, KFUNC_POISON if value is None else value)
    elif extern.kind is not ExternKind.KSYM_ADDRESS and value is not None:
        _load(insns, at, PseudoSrc.BTF_ID, value, 0)
    else:
        _load(insns, at, PseudoSrc.NONE, value or 0, (value or 0) >> 32)


def _resolve(extern: Extern, types: Btf | None, kernel: KernelInfo) -> int | None:
    """Address or BTF id of a kernel symbol, None where there is none. EINVAL for one of another type."""
    if extern.kind is ExternKind.KSYM_ADDRESS:
        return kernel.symbol(extern.name)
    if kernel.btf is None or types is None:
        return None
    func = extern.kind is ExternKind.KFUNC
    found = kernel.btf.find(*((essential(extern.name), Kind.FUNC) if func else (extern.name, Kind.VAR)))
    if found is None:
        return None
    ours, theirs = types.type(extern.type_id), kernel.btf.type(found)
    ours_id = ours.type if isinstance(ours, Func) else extern.type_id
    theirs_id = theirs.type if isinstance(theirs, Func | Var) else 0
    if types_compatible(types, types.skip(ours_id), kernel.btf, kernel.btf.skip(theirs_id)):
        return found
    if func and extern.weak:
        return None
    raise KernelError(errno.EINVAL, f"extern (ksym) '{extern.name}': incompatible types")


def _load(insns: bytearray, at: int, src: int, low: int, high: int) -> None:
    """Make the LD_IMM64 at `at` load what `src` says."""
    regs = insns[at * 8 + 1] & 0xF
    SLOT.pack_into(insns, at * 8, LD_IMM64, src << 4 | regs, 0, _signed(low))
    SLOT.pack_into(insns, at * 8 + 8, 0, 0, 0, _signed(high))


def _signed(value: int) -> int:
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
