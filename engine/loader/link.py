"""Makes one program of a function and of every function that it reaches.

Reached functions are appended in the order in which calls are met, depth first, each once (libbpf's
`bpf_object__reloc_code`); calls and function addresses then count instructions relative to themselves.
"""

import errno
from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter

from engine.btf import Btf
from engine.btf.ext import BtfExt, CoreRelo, ExtFunc, ExtLine
from engine.btf.types import Func
from engine.errors import KernelError
from engine.isa.opcodes import PseudoSrc
from engine.loader.functions import CALL, LD_IMM64, SLOT, Call, Function, Functions
from engine.loader.secname import SecName
from engine.loader.spec import ProgDef, Reloc
from engine.progspec import FuncInfo, FuncLinkage

__all__ = ["MAX_INSNS", "Linker"]

MAX_INSNS = 1_000_000
"""Instructions of one program (BPF_COMPLEXITY_LIMIT_INSNS), and of all programs of an object together x 4."""

Place = tuple[int, int]


class Linker:
    """Links programs of one object. Raises KernelError(E2BIG) when they grow beyond reason."""

    def __init__(self, functions: Functions, btf: Btf | None, ext: BtfExt) -> None:
        self._functions = functions
        self._btf = btf
        self._ext = ext
        for lines in ext.lines.values():
            lines.sort(key=attrgetter("insn_off"))
        for relos in ext.core.values():
            relos.sort(key=attrgetter("insn_off"))
        self._lines = {name: [line.insn_off for line in lines] for name, lines in ext.lines.items()}
        self._core = {name: [relo.insn_off for relo in relos] for name, relos in ext.core.items()}
        self._funcs = {(name, row.insn_off): row for name, rows in ext.funcs.items() for row in rows}
        self._left = 4 * MAX_INSNS

    def link(self, main: Function, secname: SecName) -> ProgDef:
        """The program that starts with `main`."""
        order = self._order(main)
        bases: dict[Place, int] = {}
        end = 0
        for function in order:
            bases[_place(function)] = end
            end += function.count
        insns = bytearray(b"".join(function.insns for function in order))
        prog = ProgDef(main.name, secname, b"")
        for function in order:
            base = bases[_place(function)]
            calls, relocs = self._functions.sites(function)
            for call in calls:
                _patch_call(insns, base + call.insn, bases[_place(call.target)])
            prog.relocs += [Reloc(base + r.insn, r.kind, r.name, r.offset) for r in relocs]
            self._take(main, len(calls) + len(relocs))
            self._info(prog, main, function, base)
        prog.insns = bytes(insns)
        return prog

    def _order(self, main: Function) -> list[Function]:
        """`main` and what it reaches, in the order of the program. Depth first without recursion."""
        order = [main]
        seen = {_place(main)}
        total = main.count
        self._take(main, main.count, total)
        stack: list[Iterator[Call]] = [iter(self._functions.sites(main)[0])]
        while stack:
            call = next(stack[-1], None)
            if call is None:
                stack.pop()
            elif _place(call.target) not in seen:
                seen.add(_place(call.target))
                order.append(call.target)
                total += call.target.count
                self._take(main, call.target.count, total)
                stack.append(iter(self._functions.sites(call.target)[0]))
        return order

    def _take(self, main: Function, count: int, total: int = 0) -> None:
        """Pay for `count` instructions or records more, `total` instructions in this program."""
        self._left -= count
        if total > MAX_INSNS or self._left < 0:
            raise KernelError(errno.E2BIG, f"prog '{main.name}': more than {MAX_INSNS} instructions")

    def _info(self, prog: ProgDef, main: Function, function: Function, base: int) -> None:
        """Function, line and CO-RE records of `function`, moved to where it is now."""
        section, shift = function.section.name, base - function.start
        row = self._funcs.get((section, function.start))
        if row is not None and self._btf is not None:
            prog.func_info.append(self._func_info(row, function, base))
        offsets = self._lines.get(section, [])
        low, high = _range(offsets, function)
        self._take(main, high - low)
        for line in self._ext.lines[section][low:high] if offsets else ():
            moved = ExtLine(line.insn_off + shift, line.file_name, line.text, line.line, line.column)
            prog.line_info.append(moved)
        offsets = self._core.get(section, [])
        low, high = _range(offsets, function)
        self._take(main, high - low)
        for relo in self._ext.core[section][low:high] if offsets else ():
            prog.core.append(CoreRelo(relo.insn_off + shift, relo.type_id, relo.access, relo.kind))

    def _func_info(self, row: ExtFunc, function: Function, base: int) -> FuncInfo:
        record = self._btf.type(row.type_id) if self._btf is not None else None
        if not isinstance(record, Func) or record.linkage > max(FuncLinkage):
            raise KernelError(
                errno.EINVAL, f"prog '{function.name}': BTF type id {row.type_id} is no function"
            )
        linkage = FuncLinkage.STATIC if function.hidden else FuncLinkage(record.linkage)
        return FuncInfo(base, row.type_id, record.name, linkage)


def _place(function: Function) -> Place:
    return function.section.index, function.start


def _range(offsets: list[int], function: Function) -> tuple[int, int]:
    return bisect_left(offsets, function.start), bisect_left(offsets, function.start + function.count)


def _patch_call(insns: bytearray, at: int, target: int) -> None:
    code, regs, off, _ = SLOT.unpack_from(insns, at * 8)
    if code == LD_IMM64:
        SLOT.pack_into(insns, at * 8, code, PseudoSrc.FUNC << 4 | regs & 0xF, off, target - at - 1)
        SLOT.pack_into(insns, at * 8 + 8, 0, 0, 0, 0)
    else:
        SLOT.pack_into(insns, at * 8, CALL, regs, off, target - at - 1)
