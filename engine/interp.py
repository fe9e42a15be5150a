"""The reference interpreter: what an eBPF program means, instruction by instruction (RFC 9669).

It runs verified programs over the same memory as native code (host addresses) and calls the same native
helpers, so that native code can be tested against it. It can check every access against the memory that
the program was allowed, and shows every step to a hook.
"""

import ctypes
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic_ns
from typing import Protocol, cast

from engine.abi.bpf import FuncId
from engine.abi.ctx import SkBuff
from engine.env import Ctl, Env, peek32, peek64, poke64
from engine.errors import KernelError
from engine.isa import MAX_TAIL_CALLS, STACK_SIZE, Atomic, Form, Insn, Opcode, PseudoSrc
from engine.isa.semantics import alu, atomic, byte_order, compare, sign_extend
from engine.jit.lang import Native
from engine.maps.header import MapHdr
from engine.maygoto import MAY_GOTO_NS, MAY_GOTO_TURNS
from engine.memory import KERNEL_BASE, WINDOW_BASE
from engine.progspec import MapLike
from engine.verifier import PtrClass, Verified

__all__ = ["MAX_FRAMES", "Fault", "Interpreter", "Memory"]

MAX_FRAMES = 8
_MAX_LOOPS = 8 << 20
_U64 = (1 << 64) - 1
_CELLS = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}
_WORD = ctypes.c_int64
_CALLBACK = ctypes.CFUNCTYPE(_WORD, *[_WORD] * 6)
_PROGRAM = ctypes.CFUNCTYPE(_WORD, _WORD, _WORD)


class HelperLike(Protocol):
    """What the interpreter needs of a helper."""

    @property
    def native(self) -> Native: ...


class NativeMap(MapLike, Protocol):
    """What the interpreter needs of a map beyond what the verifier reads."""

    address: int


class Fault(KernelError):
    """An access outside the allowed memory: the verifier or the interpreter is wrong."""

    def __init__(self, pc: int, address: int, size: int, write: bool) -> None:
        kind = "store to" if write else "load from"
        super().__init__(errno.EFAULT, f"insn {pc}: {kind} {address:#x}, {size} bytes")
        self.pc = pc


class Memory:
    """The memory a program may touch: ranges of host addresses, each writable or not."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int, bool]] = []

    def allow(self, start: int, size: int, *, writable: bool = True) -> None:
        """Allow [start, start + size)."""
        self._ranges.append((start, start + size, writable))

    def permits(self, address: int, size: int, write: bool) -> bool:
        """Whether one range holds the whole access."""
        return any(
            start <= address and address + size <= end and (writable or not write)
            for start, end, writable in self._ranges
        )


@dataclass(slots=True)
class _Frame:
    """One activation of a subprogram."""

    regs: list[int]
    pc: int
    turns: int = MAY_GOTO_TURNS
    """Turns left until may_goto asks for more."""
    since: int = 0
    """When it did so first; 0 before."""


Trace = Callable[[int, Insn, list[int]], None]


class Interpreter:
    """Runs one verified program.

    helpers: by number. memory: when given, every access is checked and a bad one raises Fault. trace: called
    before each instruction with its index and the eleven registers. programs: other programs by the
    address of their header, for tail calls; one that is missing there is called natively. limit: most
    instructions of a run, None for no limit; KernelError ETIME beyond.
    """

    def __init__(
        self,
        verified: Verified,
        helpers: Mapping[int, HelperLike],
        *,
        memory: Memory | None = None,
        trace: Trace | None = None,
        programs: "Mapping[int, Interpreter] | None" = None,
        limit: int | None = None,
    ) -> None:
        self._verified = verified
        self._insns = verified.insns
        self._helpers = helpers
        self._memory = memory
        self._trace = trace
        self._programs = programs if programs is not None else {}
        self._limit = limit
        self._stack = ctypes.create_string_buffer(MAX_FRAMES * STACK_SIZE + 16)
        self._stack_base = ctypes.addressof(self._stack) + 15 & ~15
        self._frames: list[_Frame] = []
        self._callbacks: dict[int, object] = {}
        self._addresses: dict[int, int] = {}
        self._env = 0
        self._steps = 0
        self._failure: KernelError | None = None

    def run(self, ctx: int, env: int, *further: int) -> int:
        """r0 (unsigned) of a run with r1 = `ctx`, r2 and up = `further`; `env` is an environment."""
        self._env, self._steps, self._failure = env, 0, None
        self._frames.clear()
        return self._call(0, ([ctx & _U64, *further] + [0] * 4)[:5])

    # Frames

    def _call(self, start: int, arguments: list[int]) -> int:
        """Run the subprogram that begins at `start` to its exit."""
        depth = len(self._frames)
        if depth >= MAX_FRAMES:
            raise KernelError(errno.E2BIG, f"more than {MAX_FRAMES} frames")
        bottom = self._stack_base + depth * STACK_SIZE
        ctypes.memset(bottom, 0, STACK_SIZE)
        frame = _Frame([0, *arguments, 0, 0, 0, 0, bottom + STACK_SIZE], start)
        self._frames.append(frame)
        try:
            while (result := self._step(frame)) is None:
                pass
        finally:
            self._frames.pop()
        return result

    def _step(self, frame: _Frame) -> int | None:
        """One instruction; r0 when it leaves the subprogram."""
        insn = self._insns[frame.pc]
        row = insn.opcode
        if row is None:
            raise KernelError(errno.EINVAL, f"insn {frame.pc}: unknown opcode {insn.code:02x}")
        if self._trace is not None:
            self._trace(frame.pc, insn, frame.regs)
        self._steps += 1
        if self._limit is not None and self._steps > self._limit:
            raise KernelError(errno.ETIME, f"more than {self._limit} instructions")
        return _STEPS[row.form](self, frame, insn, row)

    # Memory

    def _check(self, pc: int, address: int, size: int, write: bool) -> None:
        if self._memory is None:
            return
        depth = len(self._frames) * STACK_SIZE
        in_stack = self._stack_base <= address and address + size <= self._stack_base + depth
        if not in_stack and not self._memory.permits(address, size, write):
            raise Fault(pc, address, size, write)

    def _load(self, pc: int, address: int, size: int) -> int:
        self._check(pc, address, size, False)
        return _CELLS[size].from_address(address).value

    def _store(self, pc: int, address: int, size: int, value: int) -> None:
        self._check(pc, address, size, True)
        _CELLS[size].from_address(address).value = value & (1 << size * 8) - 1

    def _guarded(self, address: int, size: int) -> int:
        """A load through a pointer that may be wild: from the kernel arena at its kernel alias, else 0."""
        ctl = peek64(self._env + Env.CTL)
        inside = (address - KERNEL_BASE + WINDOW_BASE - peek64(ctl + Ctl.KERNEL_ARENA)) & _U64
        if inside > peek64(ctl + Ctl.KERNEL_ARENA_SIZE) - size:
            return 0
        return _CELLS[size].from_address(address - KERNEL_BASE + WINDOW_BASE).value

    # One method for each form; each moves pc on

    def _alu(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        operand = frame.regs[insn.src] if row.reg else insn.imm
        frame.regs[insn.dst] = alu(row, insn.off, frame.regs[insn.dst], operand)
        frame.pc += 1

    def _neg(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        frame.regs[insn.dst] = -frame.regs[insn.dst] & (1 << row.bits) - 1
        frame.pc += 1

    def _end(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        frame.regs[insn.dst] = byte_order(row, insn.imm, frame.regs[insn.dst])
        frame.pc += 1

    def _jump(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        operand = frame.regs[insn.src] if row.reg else insn.imm
        frame.pc += 1 + (insn.off if compare(row, frame.regs[insn.dst], operand) else 0)

    def _goto(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        frame.pc += 1 + (insn.off if row.symbol == "goto" else insn.imm)

    def _may_goto(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        if not frame.turns:
            frame.pc += 1 + insn.off
            return
        frame.turns -= 1
        if not frame.turns:
            now = monotonic_ns()
            frame.since = frame.since or now
            frame.turns = MAY_GOTO_TURNS if now - frame.since < MAY_GOTO_NS else 0
        frame.pc += 1

    def _exit(self, frame: _Frame, insn: Insn, row: Opcode) -> int:
        return frame.regs[0]

    def _mem_load(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        address = frame.regs[insn.src] + insn.off & _U64
        if self._verified.aux[frame.pc].ptr is PtrClass.BTF:
            value = self._guarded(address, row.size)
        else:
            value = self._load(frame.pc, address, row.size)
        frame.regs[insn.dst] = sign_extend(value, row.size * 8) if row.signed else value
        frame.pc += 1

    def _mem_store(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        value = frame.regs[insn.src] if row.reg else insn.imm
        self._store(frame.pc, frame.regs[insn.dst] + insn.off & _U64, row.size, value)
        frame.pc += 1

    def _atomic(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        """Atomic with respect to other runs of this interpreter only (one thread holds Python's lock)."""
        regs, size, pc = frame.regs, row.size, frame.pc
        frame.pc += 1
        if insn.imm == Atomic.LOAD_ACQ:
            regs[insn.dst] = self._load(pc, regs[insn.src] + insn.off & _U64, size)
            return
        address = regs[insn.dst] + insn.off & _U64
        if insn.imm == Atomic.STORE_REL:
            self._store(pc, address, size, regs[insn.src])
            return
        self._check(pc, address, size, True)
        old = self._load(pc, address, size)
        mask = (1 << size * 8) - 1
        if insn.imm == Atomic.CMPXCHG:
            if old == regs[0] & mask:
                self._store(pc, address, size, regs[insn.src])
            regs[0] = old
            return
        self._store(pc, address, size, atomic(insn.imm, old, regs[insn.src] & mask))
        if insn.imm & Atomic.FETCH:
            regs[insn.src] = old

    def _imm64(self, frame: _Frame, insn: Insn, row: Opcode) -> None:
        aux = self._verified.aux[frame.pc]
        if aux.map is not None:
            header = cast(NativeMap, aux.map).address
            value = insn.src in (PseudoSrc.MAP_VALUE, PseudoSrc.MAP_IDX_VALUE)
            word = peek64(header + MapHdr.DATA) + aux.map_off if value else header
        elif insn.src == PseudoSrc.FUNC:
            assert aux.target is not None
            word = self._callback(aux.target)
        else:
            word = insn.imm & 0xFFFFFFFF | (self._insns[frame.pc + 1].imm & 0xFFFFFFFF) << 32
        frame.regs[insn.dst] = word
        frame.pc += 2

    def _packet(self, frame: _Frame, insn: Insn, row: Opcode) -> int | None:
        """LD_ABS and LD_IND: network-order load from the packet of r6; outside: the frame ends with 0."""
        context = frame.regs[6]
        data = peek64(context + SkBuff.NATIVE_DATA)
        index = frame.regs[insn.src] if row.form is Form.LD_IND else 0
        offset = _word(sign_extend(insn.imm + index, 32))
        if offset < 0 or offset + row.size > peek64(context + SkBuff.NATIVE_DATA_END) - data:
            return 0
        value = self._load(frame.pc, data + offset, row.size)
        frame.regs[0] = int.from_bytes(value.to_bytes(row.size, "little"), "big")
        frame.pc += 1
        return None

    # Calls

    def _call_insn(self, frame: _Frame, insn: Insn, row: Opcode) -> int | None:
        arguments = frame.regs[1:6]
        pc = frame.pc
        frame.pc += 1
        if insn.src == PseudoSrc.CALL:
            target = self._verified.aux[pc].target
            assert target is not None
            frame.regs[0] = self._call(target, arguments)
            return None
        if insn.imm == FuncId.tail_call:
            return self._tail_call(frame, arguments)
        if insn.imm == FuncId.loop and self._too_many(pc, arguments):
            frame.regs[0] = -errno.E2BIG & _U64
            return None
        native = self._helpers[insn.imm].native
        frame.regs[0] = native(self._env, *map(_word, arguments[: native.arity - 1])) & _U64
        if self._failure is not None:
            raise self._failure
        return None

    def _too_many(self, pc: int, arguments: list[int]) -> bool:
        """Whether an inlined bpf_loop refuses r1, whose upper half the helper does not look at."""
        inlined = self._verified.aux[pc].call_subprog is not None and not arguments[3]
        return inlined and arguments[0] > _MAX_LOOPS

    def _tail_call(self, frame: _Frame, arguments: list[int]) -> int | None:
        """Run the program in slot r3 of array r2 in place of this frame; None when there is none."""
        context, header, slot = arguments[0], arguments[1], arguments[2] & 0xFFFFFFFF
        frame.regs[0] = 0
        counter = self._env + Env.TAIL_CALLS
        if slot >= peek32(header + MapHdr.MAX_ENTRIES) or peek64(counter) >= MAX_TAIL_CALLS:
            return None
        program = peek64(peek64(header + MapHdr.DATA) + slot * 8)
        if not program:
            return None
        poke64(counter, peek64(counter) + 1)
        known = self._programs.get(program)
        if known is not None:
            return known._anew().run(context, self._env)
        return int(_PROGRAM(peek64(program))(_word(context), self._env)) & _U64

    def _anew(self) -> "Interpreter":
        """One that runs the same program while this one is still at it: programs may tail-call themselves."""
        return Interpreter(
            self._verified,
            self._helpers,
            memory=self._memory,
            trace=self._trace,
            programs=self._programs,
            limit=self._limit,
        )

    def _callback(self, start: int) -> int:
        """Native address of subprogram `start`, for helpers that call back."""
        if start not in self._addresses:

            def enter(*words: int) -> int:
                try:
                    return _word(self._call(start, [word & _U64 for word in words[:5]]))
                except KernelError as error:
                    self._failure = error
                    return 1

            function = _CALLBACK(enter)
            self._callbacks[start] = function
            self._addresses[start] = ctypes.cast(function, ctypes.c_void_p).value or 0
        return self._addresses[start]


def _word(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_STEPS: dict[Form, Callable[[Interpreter, _Frame, Insn, Opcode], int | None]] = {
    Form.ALU: Interpreter._alu,
    Form.NEG: Interpreter._neg,
    Form.END: Interpreter._end,
    Form.BSWAP: Interpreter._end,
    Form.JUMP: Interpreter._jump,
    Form.GOTO: Interpreter._goto,
    Form.MAY_GOTO: Interpreter._may_goto,
    Form.EXIT: Interpreter._exit,
    Form.CALL: Interpreter._call_insn,
    Form.LOAD: Interpreter._mem_load,
    Form.STORE: Interpreter._mem_store,
    Form.ATOMIC: Interpreter._atomic,
    Form.LD_IMM64: Interpreter._imm64,
    Form.LD_ABS: Interpreter._packet,
    Form.LD_IND: Interpreter._packet,
}
"""The method for each form. Programs with other forms are refused before they get here."""
