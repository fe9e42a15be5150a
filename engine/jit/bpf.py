"""The eBPF compiler: a verified program becomes native code.

Each subprogram becomes one LLVM function; LLVM inlines and optimises across them and the native functions of
maps and helpers that were taken into the module. Objects are cached on disk like all native code.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import KernelError
from engine.isa import FP, LD_IMM64, Form, Insn, Opcode, PseudoSrc
from engine.jit import bpf_calls, bpf_mem, bpf_ops, codegen
from engine.jit.bpf_flow import Block, blocks_of, jump_target, views
from engine.jit.bpf_ir import Body
from engine.jit.bpf_switch import find_switch
from engine.jit.bpf_unit import HelperLike, Unit
from engine.jit.build import cached_object
from engine.maygoto import MAY_GOTO_TURNS, more_turns
from engine.verifier import PtrClass, Subprog, Verified

__all__ = ["Code", "bpf_assembly", "compile_bpf", "module_text"]

_LARGE, _HUGE = 4096, 10_000
"""Instructions beyond which less optimisation, and then none, keeps the time to load in bounds: for twice the
code LLVM takes more than twice as long."""
_PARAMETERS = ["a1", "a2", "a3", "a4", "a5", "env"]
_SWAPS = "\n".join(f"declare i{n} @llvm.bswap.i{n}(i{n})" for n in (16, 32, 64))


@dataclass(slots=True)
class Code:
    """Native code of a program, alive as long as this object.

    address: fn(r1, env) -> r0. image: the ELF object it was linked from.
    """

    address: int
    image: bytes
    tracker: object


def compile_bpf(
    verified: Verified, helpers: Mapping[int, HelperLike], *, arguments: int = 1, cached: bool = True
) -> Code:
    """Compile, or take from the cache unless not `cached`, and link.

    The code takes r1 up to r`arguments`, and the environment.
    """
    unit = Unit(verified, helpers, arguments)
    level = _level(verified)
    if cached:
        image = cached_object(f"bpf {arguments} {unit.key()}", lambda: module_text(unit), level=level)
    else:
        image = codegen.object_of(module_text(unit), level=level)
    addresses, tracker = codegen.link_tracked(image, ["prog"], unit.imports())
    return Code(addresses["prog"], image, tracker)


def bpf_assembly(verified: Verified, helpers: Mapping[int, HelperLike]) -> str:
    """The machine code of a program as assembler text; compiles it anew."""
    return codegen.assembly_of(module_text(Unit(verified, helpers)), level=_level(verified))


def _level(verified: Verified) -> int:
    count = len(verified.insns)
    return 2 if count <= _LARGE else 1 if count <= _HUGE else 0


def module_text(unit: Unit) -> str:
    """The whole module as LLVM assembly."""
    bodies = [_Function(unit, sub, number).text() for number, sub in enumerate(unit.verified.subprogs)]
    maps = range(len(unit.verified.used_maps))
    symbols = [f"@map.{n} = external global [0 x i8]\n@map.{n}.data = external global [0 x i8]" for n in maps]
    externs = [
        f'declare i64 @"{name}"({", ".join(["i64"] * arity)}) nounwind'
        for name, arity in unit.declared.items()
    ]
    included = str(unit.emission.module)
    swaps = [line for line in _SWAPS.splitlines() if line.split("@")[1].split("(")[0] not in included]
    return "\n".join([included, *symbols, *externs, *swaps, *bodies, _entry(unit.arguments)])


def _entry(arguments: int) -> str:
    """The exported function: r1 up to r`arguments` and the environment in, r0 out."""
    taken = _PARAMETERS[:arguments]
    parameters = ", ".join(f"i64 %{name}" for name in (*taken, "env"))
    passed = ", ".join([*(f"i64 %{name}" for name in taken), *["i64 0"] * (5 - arguments), "i64 %env"])
    return f"define i64 @prog({parameters}) nounwind {{\n %r = call i64 @sub.0({passed})\n ret i64 %r\n}}\n"


class _Function:
    """One subprogram being compiled."""

    def __init__(self, unit: Unit, sub: Subprog, number: int) -> None:
        self._unit = unit
        self._sub = sub
        self._b = Body(f"sub.{number}", _PARAMETERS)
        self._insns = unit.verified.insns
        self._blocks = blocks_of(self._insns, sub.start, sub.end)
        self._start = sub.start
        self._passed_over: set[int] = set()
        self._counts_turns = False
        context = 0b10 if number == 0 else 0
        self._views = views(self._insns, self._blocks, sub.start, context, unit.returns_pointer)

    def text(self) -> str:
        self._prologue()
        for start in sorted(self._blocks):
            self._block(self._blocks[start])
        return self._b.text()

    def _prologue(self) -> None:
        depth = max(-(-self._sub.stack_depth // 16) * 16, 16)
        entry = self._b.entry
        for reg in range(FP):
            entry.append(f" %r{reg} = alloca i64")
            entry.append(f" %p{reg} = alloca ptr")
            entry.append(f" store i64 {f'%a{reg}' if 1 <= reg <= 5 else '0'}, ptr %r{reg}")
        entry += [
            f" %stack = alloca [{depth} x i8], align 16",
            f" store [{depth} x i8] zeroinitializer, ptr %stack, align 16",
            f" %fpp = getelementptr i8, ptr %stack, i64 {depth}",
            " %fp = ptrtoint ptr %fpp to i64",
            " %envp = inttoptr i64 %env to ptr",
        ]
        if self._views[self._sub.start] & 0b10:
            entry += [" %ctxp = inttoptr i64 %a1 to ptr", " store ptr %ctxp, ptr %p1"]
        entry.append(f" br label %{self._name(self._sub.start)}")

    @staticmethod
    def _name(start: int) -> str:
        return f"b{start}"

    def _block(self, block: Block) -> None:
        b = self._b
        self._start = block.start
        b.label(self._name(block.start))
        if not self._unit.verified.aux[block.start].seen:
            b.do("ret i64 0")
            return
        b.begin(self._views[block.start])
        index = block.start
        while index < block.end:
            insn = self._insns[index]
            row = insn.opcode
            assert row is not None
            if row.form in (Form.JUMP, Form.GOTO, Form.MAY_GOTO, Form.EXIT):
                self._leave(insn, row, index)
                return
            self._insn(insn, row, index)
            index += 2 if insn.code == LD_IMM64 else 1
        b.flush()
        if block.successors:
            b.do(f"br label %{self._name(block.successors[0])}")
        else:
            b.do("ret i64 0")

    def _leave(self, insn: Insn, row: Opcode, index: int) -> None:
        """The jump or exit that ends a block."""
        b = self._b
        if row.form is Form.EXIT:
            b.do(f"ret i64 {b.get(0)}")
            return
        target = jump_target(insn, index)
        assert target is not None
        ways = (target,) if row.form is Form.GOTO else (target, index + 1)
        alive = [at for at in ways if self._unit.verified.aux[at].seen]
        if len(alive) == 1:
            b.flush()
            b.do(f"br label %{self._name(alive[0])}")
            return
        if row.form is Form.JUMP and self._switch(index):
            return
        if row.form is Form.MAY_GOTO:
            self._may_goto(self._name(target), self._name(index + 1))
            return
        test = bpf_ops.condition(b, insn, row)
        b.flush()
        b.do(f"br i1 {test}, label %{self._name(target)}, label %{self._name(index + 1)}")

    def _switch(self, index: int) -> bool:
        """Leave a block whose last jump, at `index`, begins a tree of comparisons; false when it does not."""
        b, start = self._b, self._start
        if start in self._passed_over:
            return False
        found = find_switch(self._insns, self._blocks, self._blocks[start])
        if found is None:
            return False
        self._passed_over |= found.inner
        value = b.get(found.reg) if found.bits == 64 else b.get32(found.reg)
        b.flush()
        kind = f"i{found.bits}"
        cases = " ".join(f"{kind} {case}, label %{self._name(to)}" for case, to in found.cases.items())
        b.do(f"switch {kind} {value}, label %{self._name(found.default)} [ {cases} ]")
        return True

    def _may_goto(self, out: str, stay: str) -> None:
        """Leave for `out` when no turns are left; the last one of those granted asks for more."""
        b = self._b
        if not self._counts_turns:
            self._counts_turns = True
            slots = [f" {slot} = alloca i64" for slot in ("%turns", "%since")]
            b.entry[-1:-1] = [
                *slots,
                f" store i64 {MAY_GOTO_TURNS}, ptr %turns",
                " store i64 0, ptr %since",
            ]
        b.flush()
        turn, last = b.fresh("turn"), b.fresh("last")
        turns = b.value("load i64, ptr %turns")
        b.do(f"br i1 {b.value(f'icmp eq i64 {turns}, 0')}, label %{out}, label %{turn}")
        b.label(turn)
        left = b.value(f"sub i64 {turns}, 1")
        b.do(f"store i64 {left}, ptr %turns")
        b.do(f"br i1 {b.value(f'icmp eq i64 {left}, 0')}, label %{last}, label %{stay}")
        b.label(last)
        name = self._unit.emission.include(more_turns).name
        granted = b.value(f'call i64 @"{name}"(i64 {b.value("ptrtoint ptr %since to i64")})')
        b.do(f"store i64 {granted}, ptr %turns")
        b.do(f"br label %{stay}")

    def _insn(self, insn: Insn, row: Opcode, index: int) -> None:
        b = self._b
        match row.form:
            case Form.ALU:
                bpf_ops.emit_alu(b, insn, row)
            case Form.NEG:
                bpf_ops.emit_neg(b, insn, row)
            case Form.END | Form.BSWAP:
                bpf_ops.emit_end(b, insn, row)
            case Form.LOAD:
                if self._unit.verified.aux[index].ptr is PtrClass.BTF:
                    bpf_mem.emit_guarded_load(b, insn, row)
                else:
                    bpf_mem.emit_load(self._unit, b, insn, row)
            case Form.STORE:
                bpf_mem.emit_store(b, insn, row)
            case Form.ATOMIC:
                bpf_mem.emit_atomic(b, insn, row)
            case Form.LD_IMM64:
                self._imm64(insn, index)
            case Form.LD_ABS | Form.LD_IND:
                bpf_mem.emit_packet_load(b, insn, row)
            case Form.CALL:
                bpf_calls.emit_call(self._unit, b, insn, index)
            case _:
                raise KernelError(errno.EINVAL, f"insn {index}: {row.form.name} has no native code")

    def _imm64(self, insn: Insn, index: int) -> None:
        b, aux = self._b, self._unit.verified.aux[index]
        if aux.map is not None:
            number = self._unit.map_number(aux.map)
            value = insn.src in (PseudoSrc.MAP_VALUE, PseudoSrc.MAP_IDX_VALUE)
            pointer = b.gep(f"@map.{number}.data", aux.map_off) if value else f"@map.{number}"
            if value:
                b.places[pointer] = (number, aux.map_off)
            b.set(insn.dst, b.value(f"ptrtoint ptr {pointer} to i64"), pointer)
        elif insn.src == PseudoSrc.FUNC:
            assert aux.target is not None
            symbol, _ = self._unit.subprog(aux.target)
            b.set(insn.dst, b.value(f"ptrtoint ptr {symbol} to i64"))
        else:
            high = self._insns[index + 1].imm
            b.set(insn.dst, str(high << 32 | insn.imm & 0xFFFFFFFF))
