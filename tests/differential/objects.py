"""Objects as compilers emit them, given to both verifiers: those embedded in installed binaries, and our
examples."""

import ctypes
import os
import random
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from engine.abi.bpf import Cmd, MapType, UpdateFlag
from engine.btf import Btf
from engine.errors import KernelError
from engine.isa import LD_IMM64, Insn, PseudoSrc, encode
from engine.loader import parse_object
from engine.loader.load import map_spec
from engine.loader.patch import prog_spec
from engine.loader.spec import MapDef, ObjectSpec
from engine.progspec import MapLike, ProgSpec
from engine.verifier import VerifierError, verify
from engine.verifier.mapinfo import special_fields
from tests.differential.fakemap import FakeMap
from tests.differential.host import host_kernel
from tests.differential.mutate import mutated
from tests.kernel_oracle import bpf, create_map, load

__all__ = ["Outcome", "compare_mutants", "compare_object", "embedded_objects", "load_btf"]

_ELF_BPF = b"\x7fELF\x02\x01\x01"
_EM_BPF = 247
_STACK_BYTES, _ENTRIES = 127 * 8, 64
"""Sizes of maps whose tool would set them before it loads the object."""
_WITHOUT_ENTRIES = (MapType.TASK_STORAGE, MapType.SK_STORAGE, MapType.INODE_STORAGE)


@dataclass(frozen=True)
class Outcome:
    """One program given to both: errno of each (0: accepted), instructions walked by each, seconds of
    ours."""

    object: str
    prog: str
    kernel: int
    engine: int
    kernel_insns: int
    engine_insns: int
    seconds: float
    kernel_log: str
    engine_log: str

    @property
    def judged(self) -> bool:
        """Whether the kernel verified the program at all (it refuses some attach targets before that)."""
        return not self.kernel or bool(self.kernel_log)


def embedded_objects(path: Path) -> Iterator[bytes]:
    """BPF objects inside a binary, where libbpf's skeletons keep the whole ELF file in .rodata; or the file
    itself."""
    data = path.read_bytes()
    at = data.find(_ELF_BPF)
    while at >= 0:
        if struct.unpack_from("<H", data, at + 18)[0] == _EM_BPF:
            table, count = (
                struct.unpack_from("<Q", data, at + 40)[0],
                struct.unpack_from("<H", data, at + 60)[0],
            )
            yield data[at : at + table + 64 * count]
        at = data.find(_ELF_BPF, at + 1)


class _KernelObject:
    """Maps and BTF of one object in the kernel, for as long as its programs are tried."""

    def __init__(self, spec: ObjectSpec, maps: list[FakeMap]) -> None:
        self.fds: list[int] = []
        self.btf_fd = load_btf(spec.btf)
        for definition, fake in zip(spec.maps.values(), maps, strict=True):
            self.fds.append(_kernel_map(definition, fake, self.btf_fd))

    def close(self) -> None:
        """Give everything back."""
        for fd in (*self.fds, self.btf_fd):
            if fd > 0:
                os.close(fd)


def load_btf(btf: Btf | None) -> int:
    """A descriptor of these types in the kernel; 0 where there are none, or it refuses them."""
    if btf is None:
        return 0
    raw = btf.data
    buffer = ctypes.create_string_buffer(raw, len(raw))
    fd = bpf(Cmd.BTF_LOAD, struct.pack("<QQIIII", ctypes.addressof(buffer), 0, len(raw), 0, 0, 0))
    return max(fd, 0)


def _kernel_map(definition: MapDef, fake: FakeMap, btf_fd: int) -> int:
    inner = 0
    if definition.inner is not None:
        kind = MapType(definition.inner.type)
        inner = create_map(
            kind, definition.inner.key_size, definition.inner.value_size, definition.inner.max_entries
        )
    typed = (0, 0, 0)
    if special_fields(fake):
        typed = (btf_fd, definition.btf_key_type_id, definition.btf_value_type_id)
    fd = create_map(
        fake.type,
        fake.key_size,
        fake.value_size,
        fake.max_entries,
        fake.asked_flags,
        name=fake.name,
        inner_fd=inner,
        btf=typed,
    )
    if inner > 0:
        os.close(inner)
    if fd < 0:
        raise KernelError(-fd, f"map '{definition.name}'")
    if fake.content is not None:
        key = ctypes.create_string_buffer(4)
        value = ctypes.create_string_buffer(fake.content, len(fake.content))
        attr = struct.pack("<IIQQQ", fd, 0, ctypes.addressof(key), ctypes.addressof(value), UpdateFlag.ANY)
        bpf(Cmd.MAP_UPDATE_ELEM, attr)
    if fake.frozen:
        bpf(Cmd.MAP_FREEZE, struct.pack("<I", fd))
    return fd


def _fake(spec: ObjectSpec, definition: MapDef) -> FakeMap:
    wanted = map_spec(spec, definition, host_kernel())
    inner = _fake(spec, definition.inner) if definition.inner is not None else None
    return FakeMap(
        wanted.type,
        wanted.key_size,
        wanted.value_size or (_STACK_BYTES if wanted.type == MapType.STACK_TRACE else 0),
        wanted.max_entries or (0 if wanted.type in _WITHOUT_ENTRIES else _ENTRIES),
        wanted.flags,
        name=wanted.name,
        frozen=definition.frozen,
        content=definition.content,
        inner=inner,
        btf=wanted.btf,
        lock_off=wanted.lock_off,
        btf_value_type_id=wanted.btf_value_type_id,
    )


def _with_fds(spec: ProgSpec, fds: list[int]) -> bytes:
    """The instructions with kernel descriptors where the spec has indices."""
    insns = list(spec.insns)
    for i, insn in enumerate(insns):
        if insn.code == LD_IMM64 and insn.src in (PseudoSrc.MAP_FD, PseudoSrc.MAP_VALUE):
            insns[i] = Insn(insn.code, insn.dst, insn.src, insn.off, fds[insn.imm])
    return encode(insns)


def processed(log: str) -> int:
    """Instructions walked, from the last line of a log; -1 when it has none."""
    at = log.rfind("processed ")
    return int(log[at:].split()[1]) if at >= 0 else -1


def compare_object(data: bytes, name: str, log_level: int = 1) -> Iterator[Outcome]:
    """Both verdicts on every program of an object. KernelError when it cannot be parsed or its maps
    created."""
    for prog, wanted, kernel in _programs(data, name):
        yield _compare(name, prog, wanted, kernel, log_level)


def compare_mutants(data: bytes, name: str, seed: int, count: int) -> Iterator[Outcome]:
    """Both verdicts on `count` random changes of each program that the kernel accepts.

    KernelError as for `compare_object`.
    """
    for prog, wanted, kernel in _programs(data, name):
        if _compare(name, prog, wanted, kernel).kernel:
            continue
        for number in range(seed, seed + count):
            insns = mutated(random.Random(f"{name} {prog} {number}"), wanted.insns)
            yield _compare(name, f"{prog} seed {number}", replace(wanted, insns=insns), kernel)


def _programs(data: bytes, name: str) -> Iterator[tuple[str, ProgSpec, _KernelObject]]:
    spec = parse_object(data, name)
    fakes = [_fake(spec, definition) for definition in spec.maps.values()]
    kernel = _KernelObject(spec, fakes)
    maps: list[MapLike] = list(fakes)
    try:
        for prog in spec.progs.values():
            try:
                wanted = prog_spec(prog, spec, maps, host_kernel())
            except KernelError:
                continue
            yield prog.name, wanted, kernel
    finally:
        kernel.close()


def _line_info(spec: ProgSpec) -> bytes:
    """`struct bpf_line_info` of each line."""
    if not isinstance(spec.btf, Btf):
        return b""
    strings = spec.btf.strings

    def offset(text: str) -> int:
        return strings.index(b"\0" + text.encode() + b"\0") + 1 if text else 0

    return b"".join(
        struct.pack(
            "<IIII", line.insn_off, offset(line.file_name), offset(line.text), line.line << 10 | line.column
        )
        for line in spec.line_info
    )


def _compare(name: str, prog: str, spec: ProgSpec, kernel: _KernelObject, log_level: int = 1) -> Outcome:
    func_info = b"".join(struct.pack("<II", f.insn_off, f.type_id) for f in spec.func_info)
    verdict = load(
        _with_fds(spec, kernel.fds),
        spec.type,
        license=spec.license,
        log_level=log_level,
        expected_attach_type=spec.expected_attach_type or 0,
        prog_flags=int(spec.flags),
        btf_fd=kernel.btf_fd,
        func_info=func_info if kernel.btf_fd else b"",
        line_info=_line_info(spec) if kernel.btf_fd else b"",
        attach_btf_id=spec.attach_btf_id,
    )
    if not kernel.btf_fd:
        spec = replace(spec, line_info=())
    start = time.perf_counter()
    try:
        number, log = 0, verify(spec, log_level=log_level).log
    except VerifierError as refusal:
        number, log = refusal.errno, refusal.log
    seconds = time.perf_counter() - start
    return Outcome(
        name,
        prog,
        verdict.errno,
        number,
        processed(verdict.log),
        processed(log),
        seconds,
        verdict.log,
        log,
    )
