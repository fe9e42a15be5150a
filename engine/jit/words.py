"""One row per word of the native language: how it becomes LLVM IR.

A row takes the builder and the argument words (i64) and gives the result word.
"""

from collections.abc import Callable

from llvmlite import ir

__all__ = ["I1", "I64", "WORDS", "Emitter", "pointer", "word"]

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_TYPES = {8: I8, 16: I16, 32: I32, 64: I64}
_VOID = ir.VoidType()
Emitter = Callable[..., ir.Value]


def word(value: int) -> ir.Constant:
    """`value` as a constant of type i64; any integer is taken modulo 2**64."""
    value &= (1 << 64) - 1
    return ir.Constant(I64, value - (1 << 64) if value >> 63 else value)


def pointer(b: ir.IRBuilder, address: ir.Value, bits: int) -> ir.Value:
    """`address` as a pointer to an integer of `bits`."""
    return b.inttoptr(address, _TYPES[bits].as_pointer())


def _widen(b: ir.IRBuilder, value: ir.Value, signed: bool = False) -> ir.Value:
    if value.type == I64:
        return value
    return b.sext(value, I64) if signed else b.zext(value, I64)


def _narrow(b: ir.IRBuilder, value: ir.Value, bits: int) -> ir.Value:
    return value if bits == 64 else b.trunc(value, _TYPES[bits])


def _load(bits: int, signed: bool = False) -> Emitter:
    return lambda b, p: _widen(b, b.load(pointer(b, p, bits), align=1), signed)


def _store(bits: int) -> Emitter:
    def emit(b: ir.IRBuilder, p: ir.Value, v: ir.Value) -> ir.Value:
        b.store(_narrow(b, v, bits), pointer(b, p, bits), align=1)
        return word(0)

    return emit


def _extend(bits: int, signed: bool) -> Emitter:
    return lambda b, v: _widen(b, _narrow(b, v, bits), signed)


def _compare(op: str) -> Emitter:
    return lambda b, x, y: b.zext(b.icmp_unsigned(op, x, y), I64)


def _intrinsic(b: ir.IRBuilder, name: str, result: ir.Type, args: list[ir.Value]) -> ir.Value:
    return b.call(_declare(b, name, result, [a.type for a in args]), args)


def _declare(b: ir.IRBuilder, name: str, result: ir.Type, types: list[ir.Type]) -> ir.Value:
    module = b.module
    if name in module.globals:
        return module.globals[name]
    return ir.Function(module, ir.FunctionType(result, types), name)


def _block_copy(name: str) -> Emitter:
    def emit(b: ir.IRBuilder, d: ir.Value, s: ir.Value, n: ir.Value) -> ir.Value:
        args = [pointer(b, d, 8), pointer(b, s, 8), n, ir.Constant(I1, 0)]
        _intrinsic(b, f"llvm.{name}.p0.p0.i64", _VOID, args)
        return word(0)

    return emit


def _block_set(b: ir.IRBuilder, d: ir.Value, c: ir.Value, n: ir.Value) -> ir.Value:
    args = [pointer(b, d, 8), b.trunc(c, I8), n, ir.Constant(I1, 0)]
    _intrinsic(b, "llvm.memset.p0.i64", _VOID, args)
    return word(0)


def _block_compare(b: ir.IRBuilder, x: ir.Value, y: ir.Value, n: ir.Value) -> ir.Value:
    args = [pointer(b, x, 8), pointer(b, y, 8), n]
    return b.sext(_intrinsic(b, "memcmp", I32, args), I64)


def _string_length(b: ir.IRBuilder, p: ir.Value, n: ir.Value) -> ir.Value:
    return _intrinsic(b, "strnlen", I64, [pointer(b, p, 8), n])


def _swap(bits: int) -> Emitter:
    def emit(b: ir.IRBuilder, v: ir.Value) -> ir.Value:
        return _widen(b, _intrinsic(b, f"llvm.bswap.i{bits}", _TYPES[bits], [_narrow(b, v, bits)]))

    return emit


def _count_zeros(name: str) -> Emitter:
    return lambda b, v: _intrinsic(b, f"llvm.{name}.i64", I64, [v, ir.Constant(I1, 0)])


def _popcount(b: ir.IRBuilder, v: ir.Value) -> ir.Value:
    return _intrinsic(b, "llvm.ctpop.i64", I64, [v])


def _rotate(b: ir.IRBuilder, v: ir.Value, n: ir.Value) -> ir.Value:
    low = b.trunc(v, I32)
    return b.zext(_intrinsic(b, "llvm.fshl.i32", I32, [low, low, b.trunc(n, I32)]), I64)


def _rmw(op: str, bits: int) -> Emitter:
    def emit(b: ir.IRBuilder, p: ir.Value, v: ir.Value) -> ir.Value:
        return _widen(b, b.atomic_rmw(op, pointer(b, p, bits), _narrow(b, v, bits), "seq_cst"))

    return emit


def _compare_and_swap(bits: int) -> Emitter:
    def emit(b: ir.IRBuilder, p: ir.Value, old: ir.Value, new: ir.Value) -> ir.Value:
        seen = b.cmpxchg(
            pointer(b, p, bits), _narrow(b, old, bits), _narrow(b, new, bits), "seq_cst", "seq_cst"
        )
        return _widen(b, b.extract_value(seen, 0))

    return emit


def _load_acquire(bits: int) -> Emitter:
    return lambda b, p: _widen(b, b.load_atomic(pointer(b, p, bits), "acquire", bits // 8))


def _store_release(bits: int) -> Emitter:
    def emit(b: ir.IRBuilder, p: ir.Value, v: ir.Value) -> ir.Value:
        b.store_atomic(_narrow(b, v, bits), pointer(b, p, bits), "release", bits // 8)
        return word(0)

    return emit


def _fence(b: ir.IRBuilder) -> ir.Value:
    b.fence("seq_cst")
    return word(0)


def _pause(b: ir.IRBuilder) -> ir.Value:
    b.asm(ir.FunctionType(_VOID, []), "pause", "~{memory}", [], True)
    return word(0)


def _errno(b: ir.IRBuilder) -> ir.Value:
    where = b.call(_declare(b, "__errno_location", I32.as_pointer(), []), [])
    return b.sext(b.load(where), I64)


WORDS: dict[str, Emitter] = {
    "u8": _load(8),
    "u16": _load(16),
    "u32": _load(32),
    "u64": _load(64),
    "s8": _load(8, True),
    "s16": _load(16, True),
    "s32": _load(32, True),
    "put8": _store(8),
    "put16": _store(16),
    "put32": _store(32),
    "put64": _store(64),
    "zext8": _extend(8, False),
    "zext16": _extend(16, False),
    "zext32": _extend(32, False),
    "sext8": _extend(8, True),
    "sext16": _extend(16, True),
    "sext32": _extend(32, True),
    "ult": _compare("<"),
    "ule": _compare("<="),
    "ugt": _compare(">"),
    "uge": _compare(">="),
    "udiv": lambda b, x, y: b.udiv(x, y),
    "urem": lambda b, x, y: b.urem(x, y),
    "sdiv": lambda b, x, y: b.sdiv(x, y),
    "srem": lambda b, x, y: b.srem(x, y),
    "memcpy": _block_copy("memcpy"),
    "memmove": _block_copy("memmove"),
    "memset": _block_set,
    "memcmp": _block_compare,
    "strnlen": _string_length,
    "bswap16": _swap(16),
    "bswap32": _swap(32),
    "bswap64": _swap(64),
    "clz64": _count_zeros("ctlz"),
    "ctz64": _count_zeros("cttz"),
    "popcnt64": _popcount,
    "rotl32": _rotate,
    "atomic_add64": _rmw("add", 64),
    "atomic_add32": _rmw("add", 32),
    "atomic_or64": _rmw("or", 64),
    "atomic_and64": _rmw("and", 64),
    "xchg64": _rmw("xchg", 64),
    "xchg32": _rmw("xchg", 32),
    "cas64": _compare_and_swap(64),
    "cas32": _compare_and_swap(32),
    "load_acquire64": _load_acquire(64),
    "load_acquire32": _load_acquire(32),
    "store_release64": _store_release(64),
    "store_release32": _store_release(32),
    "fence": _fence,
    "pause": _pause,
    "errno_": _errno,
}
