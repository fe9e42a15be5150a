"""LLVM's back end: optimise a module, emit an object file, link it into this process."""

import itertools
import threading
from collections.abc import Mapping
from functools import cache

import llvmlite.binding as llvm

__all__ = ["assembly_of", "host_key", "link", "link_tracked", "object_of"]

_lock = threading.RLock()
_kept: list[object] = []
_serials = itertools.count()
_LINKS_PER_JIT = 64
"""A LLJIT keeps some 9 kB of every library that it ever linked, so each gets only so many of them."""
_jits: list[llvm.LLJIT] = []


@cache
def _target() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=2,
        reloc="pic",
        codemodel="small",
    )


def _linker(serial: int) -> llvm.LLJIT:
    """The LLJIT for the library number `serial`; one is freed with the last of its libraries."""
    if not _jits or serial % _LINKS_PER_JIT == 0:
        _jits[:] = [llvm.create_lljit_compiler(_target())]
    return _jits[0]


def host_key() -> str:
    """What machine code depends on besides its source: LLVM, CPU and its features."""
    with _lock:
        _target()
        version = ".".join(map(str, llvm.llvm_version_info))
        return f"{version} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def _optimised(machine: llvm.TargetMachine, ir_text: str, level: int) -> llvm.ModuleRef:
    module = llvm.parse_assembly(ir_text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def object_of(ir_text: str, *, level: int = 2) -> bytes:
    """An ELF object with the machine code of the module `ir_text`, optimised at `level`."""
    with _lock:
        machine = _target()
        return bytes(machine.emit_object(_optimised(machine, ir_text, level)))


def assembly_of(ir_text: str, *, level: int = 2) -> str:
    """The same machine code as assembler text, for people."""
    with _lock:
        machine = _target()
        return str(machine.emit_assembly(_optimised(machine, ir_text, level)))


def link(image: bytes, exports: list[str], imports: Mapping[str, int] | None = None) -> dict[str, int]:
    """Load object `image` and give the addresses of `exports`.

    Undefined symbols come from `imports` (name to address), else from this process. What is linked
    here stays for the life of the process.
    """
    addresses, tracker = link_tracked(image, exports, imports)
    _kept.append(tracker)
    return addresses


def link_tracked(
    image: bytes, exports: list[str], imports: Mapping[str, int] | None = None
) -> tuple[dict[str, int], object]:
    """As `link`, but the code lives only as long as the returned tracker."""
    with _lock:
        serial = next(_serials)
        library = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for name, address in (imports or {}).items():
            library.import_symbol(name, address)
        for name in exports:
            library.export_symbol(name)
        tracker = library.link(_linker(serial), f"bpffs.{serial}")
        return {name: tracker[name] for name in exports}, tracker
