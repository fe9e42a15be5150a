"""Programs of several functions, with the types that Linux wants for tail calls and callbacks."""

import os
import struct
from collections.abc import Mapping, Sequence

from engine.abi.bpf import ProgType
from engine.btf.build import BtfBuilder
from engine.btf.types import Encoding, Param
from engine.isa import LD_IMM64, Insn, PseudoSrc, encode
from engine.isa.check import call_target
from engine.progspec import FuncInfo, MapLike, ProgSpec
from tests import kernel_oracle
from tests.engine.btf.pinned import load_btf

__all__ = ["load_in_kernel", "with_functions"]

_MAPS = (PseudoSrc.MAP_FD, PseudoSrc.MAP_VALUE)


def _described() -> tuple[BtfBuilder, dict[str, int]]:
    """BTF of functions `int f(void *)`, and the ids of them."""
    btf = BtfBuilder()
    proto = btf.func_proto(btf.integer("int", 4, Encoding.SIGNED), [Param("ctx", btf.pointer(0))])
    return btf, {name: btf.func(name, proto) for name in ("main", "f", "g", "h")}


def _starts(insns: Sequence[Insn]) -> list[int]:
    """First instructions of the functions, in order."""
    targets = (call_target(insn, index) for index, insn in enumerate(insns))
    return sorted({0, *(target for target in targets if target is not None)})


def with_functions(insns: Sequence[Insn], maps: Mapping[int, MapLike]) -> ProgSpec:
    """A socket filter to load, of up to four functions."""
    btf, functions = _described()
    infos = [
        FuncInfo(start, functions[name], name) for start, name in zip(_starts(insns), functions, strict=False)
    ]
    return ProgSpec(ProgType.SOCKET_FILTER, insns, license="GPL", maps=maps, btf=btf.build(), func_info=infos)


def load_in_kernel(insns: Sequence[Insn], maps: Sequence[int] = ()) -> int:
    """The same in the machine's kernel: its descriptor. `map_fd[N]` is the map with descriptor `maps[N]`."""
    patched = [
        Insn(insn.code, insn.dst, insn.src, insn.off, maps[insn.imm])
        if insn.code == LD_IMM64 and insn.src in _MAPS
        else insn
        for insn in insns
    ]
    btf, functions = _described()
    infos = zip(_starts(insns), functions.values(), strict=False)
    btf_fd = load_btf(btf.encode())
    try:
        info = b"".join(struct.pack("<II", *pair) for pair in infos)
        verdict = kernel_oracle.load(encode(patched), keep=True, btf_fd=btf_fd, func_info=info)
    finally:
        os.close(btf_fd)
    assert verdict.accepted, verdict.log
    return verdict.fd
