"""The native language: typed Python in a small subset, compiled to machine code.

Every value is one 64-bit word; `+ - *` wrap, `<` and its kin compare signed, `>>` is logical and shift
counts are taken modulo 64. Statements: assignment to names, `if`, `while`, `for i in range(...)` with a
constant positive step, `x in (a, b)` with a plain `x`, `break`, `continue`, `return`, `pass`, calls. Names
that are not local must be integer constants, IntEnum members, other native functions or the words below. A
function never raises: it reports by its return value, a negative errno as in the kernel.

Called from Python, a native function (or a word) is compiled with everything it reaches, once, and runs
without the GIL; the result is a signed 64-bit integer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import overload

__all__ = [
    "Native",
    "Word",
    "address_of",
    "atomic_add32",
    "atomic_add64",
    "atomic_and64",
    "atomic_or64",
    "bswap16",
    "bswap32",
    "bswap64",
    "c_call",
    "call",
    "cas32",
    "cas64",
    "clz64",
    "compile_native",
    "cstr",
    "ctz64",
    "errno_",
    "fence",
    "load_acquire32",
    "load_acquire64",
    "local",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "native",
    "pause",
    "popcnt64",
    "put8",
    "put16",
    "put32",
    "put64",
    "rotl32",
    "s8",
    "s16",
    "s32",
    "sdiv",
    "sext8",
    "sext16",
    "sext32",
    "srem",
    "store_release32",
    "store_release64",
    "strnlen",
    "u8",
    "u16",
    "u32",
    "u64",
    "udiv",
    "uge",
    "ugt",
    "ule",
    "ult",
    "urem",
    "xchg32",
    "xchg64",
    "zext8",
    "zext16",
    "zext32",
]


class Native:
    """A native function. `address` is its machine code, for tables that native code follows."""

    def __init__(self, function: Callable[..., int], inline: bool) -> None:
        self.function = function
        self.inline = inline
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self._entry: Callable[..., int] | None = None
        self._address = 0

    @property
    def arity(self) -> int:
        """Number of arguments."""
        return self.function.__code__.co_argcount

    @property
    def compiled(self) -> bool:
        """Whether its code is there already."""
        return self._entry is not None

    @property
    def address(self) -> int:
        """Where the compiled code is. It stays there as long as the process lives."""
        if not self._address:
            compile_native([self])
        return self._address

    def bind(self, address: int) -> None:
        """Take the code at `address` as this function's; called by the compiler, once."""
        word = ctypes.c_int64
        self._entry = ctypes.CFUNCTYPE(word, *[word] * self.arity)(address)
        self._address = address

    def __call__(self, *args: int) -> int:
        if self._entry is None:
            compile_native([self])
            assert self._entry is not None
        return self._entry(*args)

    def __repr__(self) -> str:
        return f"<native {self.__module__}.{self.__name__}>"


@overload
def native(function: Callable[..., int], /) -> Native: ...
@overload
def native(*, inline: bool) -> Callable[[Callable[..., int]], Native]: ...
def native(
    function: Callable[..., int] | None = None, /, *, inline: bool = False
) -> Native | Callable[[Callable[..., int]], Native]:
    """Make a function native. `inline=True` puts its body into every caller."""
    if function is not None:
        return Native(function, False)
    return lambda wrapped: Native(wrapped, inline)


def compile_native(functions: list[Native]) -> None:
    """Compile `functions` and all they reach in one module, from the cache where it has them.

    Raises SyntaxError, with file and line, for what is not in the language.
    """
    # llvmlite is needed only when something native is first used, not when its module is imported.
    from engine.jit.build import build_functions

    build_functions(functions)


class Word:
    """A word of the language: an operation that the compiler knows by name."""

    def __init__(self, name: str, arity: int) -> None:
        self.name = name
        self.arity = arity
        self._wrapper: Callable[..., int] | None = None

    def __call__(self, *args: int) -> int:
        if self._wrapper is None:
            from engine.jit.build import build_word

            word = ctypes.c_int64
            self._wrapper = ctypes.CFUNCTYPE(word, *[word] * self.arity)(build_word(self))
        return self._wrapper(*args)

    def __repr__(self) -> str:
        return f"<word {self.name}>"


class _CompileTime:
    """A word whose arguments must be known when the caller is compiled; it has no meaning in plain Python."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: int | str | Native) -> int:
        raise TypeError(f"{self.name}() is a word of the native language: call it from a native function")


# Loads zero-extend (u*) or sign-extend (s*); they and stores need no alignment.
u8, u16, u32, u64 = (Word(name, 1) for name in ("u8", "u16", "u32", "u64"))
s8, s16, s32 = (Word(name, 1) for name in ("s8", "s16", "s32"))
put8, put16, put32, put64 = (Word(name, 2) for name in ("put8", "put16", "put32", "put64"))
zext8, zext16, zext32 = (Word(name, 1) for name in ("zext8", "zext16", "zext32"))
sext8, sext16, sext32 = (Word(name, 1) for name in ("sext8", "sext16", "sext32"))

# Unsigned comparison and division. A zero divisor is the caller's error.
ult, ule, ugt, uge = (Word(name, 2) for name in ("ult", "ule", "ugt", "uge"))
udiv, urem, sdiv, srem = (Word(name, 2) for name in ("udiv", "urem", "sdiv", "srem"))

# memcpy, memmove and memset return 0; memcmp returns the sign-extended int of memcmp(3).
memcpy, memmove, memset, memcmp = (Word(name, 3) for name in ("memcpy", "memmove", "memset", "memcmp"))
strnlen = Word("strnlen", 2)

bswap16, bswap32, bswap64 = (Word(name, 1) for name in ("bswap16", "bswap32", "bswap64"))
clz64, ctz64, popcnt64 = (Word(name, 1) for name in ("clz64", "ctz64", "popcnt64"))
rotl32 = Word("rotl32", 2)

# Atomics are sequentially consistent and return what was there before; addresses must be aligned.
atomic_add64, atomic_add32 = Word("atomic_add64", 2), Word("atomic_add32", 2)
atomic_or64, atomic_and64 = Word("atomic_or64", 2), Word("atomic_and64", 2)
xchg64, xchg32 = Word("xchg64", 2), Word("xchg32", 2)
cas64, cas32 = Word("cas64", 3), Word("cas32", 3)
load_acquire64, load_acquire32 = Word("load_acquire64", 1), Word("load_acquire32", 1)
store_release64, store_release32 = Word("store_release64", 2), Word("store_release32", 2)
fence, pause = Word("fence", 0), Word("pause", 0)
errno_ = Word("errno_", 0)

local = _CompileTime("local")
"""`local(n)`: address of `n` bytes, 16-aligned, in this function's frame, one buffer per mention."""

call = _CompileTime("call")
"""`call(address, a, b, ...)`: call a function of words by address."""

c_call = _CompileTime("c_call")
"""`c_call("name", a, ...)`: call a C library function; `sext32` the result of one that returns int."""

address_of = _CompileTime("address_of")
"""`address_of(f)`: the address of native function `f`."""

cstr = _CompileTime("cstr")
"""`cstr("text")`: address of a constant NUL-terminated string."""
