"""Laying out parsed fetch arguments as the native tables that `fetch` evaluates."""

import ctypes

from engine.env import poke32, poke64
from engine.memory import Heap
from tracefs.fetch import Arg, Deref
from tracefs.fetch_insn import FetchInsn, Op, ProbeArg

__all__ = ["FetchTable"]

_REGISTER_ARGUMENTS = (112, 104, 96, 88, 72, 64)
"""Offsets in pt_regs of di, si, dx, cx, r8, r9 (`regs_get_kernel_argument`)."""


class FetchTable:
    """The native rows of a probe's arguments. `symbols` are addresses of `@SYMBOL`s."""

    def __init__(self, heap: Heap, args: list[ProbeArg], symbols: dict[str, int]) -> None:
        self._heap = heap
        self._blocks: list[int] = []
        self._symbols = symbols
        self.address = self._alloc(max(1, len(args)) * Arg.ROW)
        self.count = len(args)
        for index, arg in enumerate(args):
            self._fill(self.address + index * Arg.ROW, arg)

    def _alloc(self, size: int) -> int:
        self._blocks.append(self._heap.alloc(size))
        return self._blocks[-1]

    def _source(self, insn: FetchInsn) -> tuple[Op, int]:
        """Operation and value of the first instruction."""
        if insn.op == Op.DATA:
            text = insn.data + b"\0"
            place = self._alloc(len(text))
            ctypes.memmove(place, text, len(text))
            return Op.DATA, place
        if insn.op == Op.ARG:
            if insn.value < len(_REGISTER_ARGUMENTS):
                return Op.REG, _REGISTER_ARGUMENTS[insn.value]
            return Op.STACK, insn.value - len(_REGISTER_ARGUMENTS) + 1
        return insn.op, self._symbols[insn.symbol] + insn.value if insn.symbol else insn.value

    def _fill(self, row: int, arg: ProbeArg) -> None:
        first, *rest = arg.code
        derefs = [insn for insn in rest if insn.op in (Op.DEREF, Op.UDEREF)]
        store = next(insn for insn in rest if Op.ST_RAW <= insn.op <= Op.ST_SYMSTR)
        bitfield = next((insn for insn in rest if insn.op == Op.MOD_BF), None)
        op, value = self._source(first)
        poke32(row + Arg.OFFSET, arg.offset)
        poke32(row + Arg.COUNT, arg.count or 1)
        poke32(row + Arg.SOURCE, op)
        poke32(row + Arg.STORE, store.op)
        poke64(row + Arg.SOURCE_VALUE, value)
        poke32(row + Arg.NR_DEREFS, len(derefs))
        poke32(row + Arg.SIZE, arg.type.size)
        if bitfield is not None:
            poke32(row + Arg.LSHIFT, bitfield.lshift)
            poke32(row + Arg.RSHIFT, bitfield.rshift)
        poke64(row + Arg.STORE_OFFSET, store.value)
        if derefs:
            table = self._alloc(len(derefs) * Deref.ROW)
            poke64(row + Arg.DEREFS, table)
            for index, insn in enumerate(derefs):
                poke64(table + index * Deref.ROW + Deref.OFFSET, insn.value)
                poke64(table + index * Deref.ROW + Deref.USER, insn.op == Op.UDEREF)

    def free(self) -> None:
        """Give the rows back; no hit may use them any more."""
        for block in self._blocks:
            self._heap.free(block)
        self._blocks.clear()
