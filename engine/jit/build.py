"""From native functions to callable code: key, cache, emission, linking."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
from llvmlite import ir

from engine.jit import cache, codegen
from engine.jit.emit import Emission
from engine.jit.lang import Native, Word
from engine.jit.source import closure, key_of
from engine.jit.words import I64, WORDS

__all__ = ["build_functions", "build_word", "cached_object", "new_module"]


def _digest_of_compiler() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


_COMPILER = _digest_of_compiler()
"""Other sources of the compiler may emit other code from the same functions. Taken when they are loaded: a
program that runs on while its files are replaced must not name its code after the new ones."""


def new_module(name: str) -> ir.Module:
    """An empty module for the machine we run on."""
    module = ir.Module(name)
    module.triple = llvm.get_process_triple()
    return module


def cached_object(source_key: str, emit: Callable[[], ir.Module | str], *, level: int = 2) -> bytes:
    """The object for what `source_key` describes: from the cache, else made from `emit()` and kept there."""
    described = f"{_COMPILER} {codegen.host_key()} {source_key}"
    key = hashlib.sha256(described.encode()).hexdigest()
    image = cache.load(key)
    if image is None:
        image = codegen.object_of(str(emit()), level=level)
        cache.store(key, image)
    return image


def build_functions(functions: list[Native]) -> None:
    """Compile `functions` with their closure and bind each to its code."""
    exports = [f"{function.__module__}.{function.__name__}" for function in functions]

    def emit() -> ir.Module:
        emission = Emission(new_module("native"))
        for function in functions:
            emission.include(function, exported=True)
        return emission.module

    image = cached_object(f"{exports} {key_of(closure(functions))}", emit)
    addresses = codegen.link(image, exports)
    for function, name in zip(functions, exports, strict=True):
        function.bind(addresses[name])


def build_word(word: Word) -> int:
    """Address of a function that does just `word`, for calls from plain Python."""
    name = f"word.{word.name}"

    def emit() -> ir.Module:
        module = new_module(name)
        function = ir.Function(module, ir.FunctionType(I64, [I64] * word.arity), name)
        builder = ir.IRBuilder(function.append_basic_block())
        builder.ret(WORDS[word.name](builder, *function.args))
        return module

    return codegen.link(cached_object(name, emit), [name])[name]
