"""Calls of eBPF as LLVM IR: subprograms, helpers, callbacks, tail calls.

Subprograms and callbacks have one signature, fn(r1, r2, r3, r4, r5, env) -> r0, so that a helper written
as a native function calls a callback like any other: `call(callback, a, b, c, d, e, env)`.
"""

import errno

from engine.abi.bpf import FuncId, MapType
from engine.env import Env
from engine.isa import MAX_TAIL_CALLS, Insn, PseudoSrc
from engine.jit.bpf_ir import Body
from engine.jit.bpf_unit import NativeMap, Unit
from engine.maps.header import MapHdr

__all__ = ["emit_call"]

_MAX_LOOPS = 8 << 20
"""Most iterations of one bpf_loop (BPF_MAX_LOOPS, include/linux/bpf.h)."""
_PROG_FN = 0
"""Offset of the function in a program's header."""
_CLOBBERED = 0b111111


def emit_call(unit: Unit, b: Body, insn: Insn, index: int) -> None:
    """CALL: `src` 1 to a subprogram, 0 to a helper."""
    if insn.src == PseudoSrc.CALL:
        target = unit.verified.aux[index].target
        assert target is not None
        symbol, _ = unit.subprog(target)
        result = b.value(f"call i64 {symbol}({_words(b, 5)}, i64 %env)")
        _returned(b, result, None)
        return
    if insn.imm == FuncId.tail_call:
        _tail_call(b)
    elif insn.imm == FuncId.loop:
        _returned(b, _loop(unit, b, index), None)
    elif (flat := unit.flat_map(index, insn.imm)) is not None:
        pointer = _flat_lookup(unit, b, flat, index)
        _returned(b, b.value(f"ptrtoint ptr {pointer} to i64"), pointer)
    else:
        _helper(unit, b, insn, index)


def _words(b: Body, count: int) -> str:
    return ", ".join(f"i64 {b.get(reg)}" for reg in range(1, count + 1))


def _returned(b: Body, word: str, pointer: str | None) -> None:
    """Put a call's result into r0; r1 to r5 hold nothing any more."""
    b.drop_views(_CLOBBERED)
    b.set(0, word, pointer)


def _helper(unit: Unit, b: Body, insn: Insn, index: int) -> None:
    helper = unit.helpers[insn.imm]
    wanted = unit.included(index, insn.imm)
    if wanted is None:
        arity = helper.native.arity
        symbol = f"native.{FuncId(insn.imm).name}"
        unit.declared[symbol] = arity
        args, target = _words(b, arity - 1), f'@"{symbol}"'
    else:
        count = wanted.native.arity - 1 - len(wanted.constants)
        args = ", ".join(filter(None, [_words(b, count), *(f"i64 {value}" for value in wanted.constants)]))
        target = f'@"{unit.emission.include(wanted.native).name}"'
    result = b.value(f"call i64 {target}({', '.join(filter(None, ['i64 %env', args]))})")
    pointer = b.value(f"inttoptr i64 {result} to ptr") if helper.returns_pointer else None
    _returned(b, result, pointer)


def _flat_lookup(unit: Unit, b: Body, used: NativeMap, index: int) -> str:
    """bpf_map_lookup_elem on an array: bounds check and address, as `array_map_gen_lookup` has it."""
    key = unit.verified.aux[index].const_key
    data = f"@map.{unit.map_number(used)}.data"
    if key is not None:
        return _element(b, used, data, str(key)) if key < used.max_entries else "null"
    narrow = b.value(f"load i32, ptr {b.pointer(2)}, align 1")
    word = b.value(f"zext i32 {narrow} to i64")
    inside = b.value(f"icmp ult i64 {word}, {used.max_entries}")
    return b.value(f"select i1 {inside}, ptr {_element(b, used, data, word)}, ptr null")


def _element(b: Body, used: NativeMap, data: str, key: str) -> str:
    """Address of element `key`, this CPU's where every CPU has its own array of values."""
    offset = b.value(f"mul i64 {key}, {used.shape[1]}")
    if used.type == MapType.PERCPU_ARRAY:
        cpu = b.value(f"load i32, ptr {b.gep('%envp', int(Env.CPU))}")
        part = b.value(f"mul i64 {b.value(f'zext i32 {cpu} to i64')}, {used.shape[2]}")
        offset = b.value(f"add i64 {offset}, {part}")
    return b.gep(data, offset)


def _loop(unit: Unit, b: Body, index: int) -> str:
    """bpf_loop(nr, callback, ctx, flags) as a loop around the callback (kernel/bpf/bpf_iter.c).

    `nr` is a u32, but where the callback is always the same Linux inlines the loop too, and there compares
    all of r1 with the limit (`inline_bpf_loop`).
    """
    number = unit.verified.aux[index].call_subprog
    callback = f"@sub.{number}" if number is not None else b.pointer(2)
    nr, context, flags = b.get(1), b.get(3), b.get(4)
    stem = b.fresh("loop")
    b.do(f"br label %{stem}.check")
    b.label(f"{stem}.check")
    bad_flags = b.value(f"icmp ne i64 {flags}, 0")
    times = nr if number is not None else b.value(f"and i64 {nr}, 4294967295")
    too_many = b.value(f"icmp ugt i64 {times}, {_MAX_LOOPS}")
    refused = b.value(f"or i1 {bad_flags}, {too_many}")
    error = b.value(f"select i1 {bad_flags}, i64 {-errno.EINVAL}, i64 {-errno.E2BIG}")
    b.do(f"br i1 {refused}, label %{stem}.end, label %{stem}.head")
    b.label(f"{stem}.head")
    b.do(f"%{stem}.i = phi i64 [0, %{stem}.check], [%{stem}.next, %{stem}.body]")
    more = b.value(f"icmp ult i64 %{stem}.i, {times}")
    b.do(f"br i1 {more}, label %{stem}.body, label %{stem}.end")
    b.label(f"{stem}.body")
    args = f"i64 %{stem}.i, i64 {context}, i64 0, i64 0, i64 0, i64 %env"
    answer = b.value(f"call i64 {callback}({args})")
    b.do(f"%{stem}.next = add i64 %{stem}.i, 1")
    stop = b.value(f"icmp ne i64 {answer}, 0")
    b.do(f"br i1 {stop}, label %{stem}.end, label %{stem}.head")
    b.label(f"{stem}.end")
    done = f"[%{stem}.i, %{stem}.head], [%{stem}.next, %{stem}.body]"
    return b.value(f"phi i64 [{error}, %{stem}.check], {done}")


def _tail_call(b: Body) -> None:
    """bpf_tail_call(ctx, prog_array, index): run that program and return what it returns; else go on.

    As in the kernel the 34th tail call fails, so does an index out of range or an empty slot, and the
    callee gets the frame of the caller, also inside a subprogram.
    """
    context, header = b.get(1), b.pointer(2)
    stem = b.fresh("tail")
    slot = b.value(f"zext i32 {b.get32(3)} to i64")
    size = b.value(f"load i32, ptr {b.gep(header, int(MapHdr.MAX_ENTRIES))}")
    inside = b.value(f"icmp ult i64 {slot}, {b.value(f'zext i32 {size} to i64')}")
    b.do(f"br i1 {inside}, label %{stem}.count, label %{stem}.end")
    b.label(f"{stem}.count")
    counter = b.gep("%envp", int(Env.TAIL_CALLS))
    count = b.value(f"load i64, ptr {counter}")
    allowed = b.value(f"icmp ult i64 {count}, {MAX_TAIL_CALLS}")
    b.do(f"br i1 {allowed}, label %{stem}.find, label %{stem}.end")
    b.label(f"{stem}.find")
    data = b.value(f"load ptr, ptr {b.gep(header, int(MapHdr.DATA))}")
    where = b.value(f"getelementptr i64, ptr {data}, i64 {slot}")
    program = b.value(f"load atomic ptr, ptr {where} acquire, align 8")
    empty = b.value(f"icmp eq ptr {program}, null")
    b.do(f"br i1 {empty}, label %{stem}.end, label %{stem}.go")
    b.label(f"{stem}.go")
    b.do(f"store i64 {b.value(f'add i64 {count}, 1')}, ptr {counter}")
    function = b.value(f"load ptr, ptr {b.gep(program, _PROG_FN)}")
    b.do(f"ret i64 {b.value(f'call i64 {function}(i64 {context}, i64 %env)')}")
    b.label(f"{stem}.end")
    _returned(b, "0", None)
