"""Programs for tests of the engines themselves: taken as verified, with the facts written down by hand."""

import ctypes
import itertools
from collections.abc import Mapping, Sequence

from engine.helpers import HELPERS
from engine.interp import Interpreter
from engine.isa import LD_IMM64, STACK_SIZE, Form, Insn, PseudoSrc, assemble
from engine.isa.check import call_target
from engine.jit.bpf import Code, compile_bpf
from engine.maps import Map
from engine.verifier import InsnAux, PtrClass, Subprog, Verified

__all__ = ["interpret", "run_native", "trusted"]

_WORD = ctypes.c_int64
_ENTRY = ctypes.CFUNCTYPE(_WORD, _WORD, _WORD)
_U64 = (1 << 64) - 1


def trusted(
    text: str,
    maps: Sequence[Map] = (),
    *,
    pointers: Mapping[int, PtrClass] | None = None,
    keys: Mapping[int, int] | None = None,
) -> Verified:
    """The program `text`; `map_fd[N]` is `maps[N]`, each call's map the one loaded last before it.

    `pointers` and `keys` give `InsnAux.ptr` and `InsnAux.const_key` by instruction.
    """
    insns = assemble(text)
    aux = [InsnAux(seen=True) for _ in insns]
    starts = {0}
    loaded: Map | None = None
    for index, insn in enumerate(insns):
        row = insn.opcode
        if insn.code == LD_IMM64 and insn.src in (PseudoSrc.MAP_FD, PseudoSrc.MAP_VALUE):
            loaded = aux[index].map = maps[insn.imm]
            aux[index].map_off = insns[index + 1].imm
        elif row is not None and row.form is Form.CALL and insn.src == PseudoSrc.CALL_HELPER:
            aux[index].call_map = loaded
        target = call_target(insn, index)
        if target is not None:
            starts.add(target)
            aux[index].target = target
    for index, kind in (pointers or {}).items():
        aux[index].ptr = kind
    for index, key in (keys or {}).items():
        aux[index].const_key = key
    order = [*sorted(starts), len(insns)]
    subs = [Subprog(a, b, STACK_SIZE) for a, b in itertools.pairwise(order)]
    _find_callbacks(insns, aux, order)
    return Verified(insns, aux, subs, list(maps))


def _find_callbacks(insns: Sequence[Insn], aux: list[InsnAux], order: list[int]) -> None:
    """The callback of a helper call is the function loaded last before it."""
    callback: int | None = None
    for index, insn in enumerate(insns):
        if insn.code == LD_IMM64 and insn.src == PseudoSrc.FUNC:
            callback = order.index(aux[index].target or 0)
        elif insn.opcode is not None and insn.opcode.form is Form.CALL:
            aux[index].call_subprog = callback


def interpret(verified: Verified, ctx: int, env: int) -> int:
    """r0 as the interpreter has it."""
    return Interpreter(verified, HELPERS).run(ctx, env)


def run_native(verified: Verified, ctx: int, env: int) -> int:
    """r0 as native code has it."""
    code: Code = compile_bpf(verified, HELPERS, cached=False)
    return int(_ENTRY(code.address)(ctx, env)) & _U64
