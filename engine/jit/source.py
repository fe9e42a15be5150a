"""What a native function reaches and what it says: closure, cache key, syntax tree.

The key covers byte code and the values of all constants, so that a warm start reads no source text.
"""

import ast
import enum
import hashlib
import inspect
import textwrap
from collections.abc import Iterator
from types import CodeType

from engine.jit.lang import Native

__all__ = ["closure", "key_of", "scope_of", "tree_of"]


def scope_of(function: Native) -> dict[str, object]:
    """Names that `function` may use besides its locals."""
    scope = dict(function.function.__globals__)
    cells = inspect.getclosurevars(function.function).nonlocals
    scope.update(cells)
    return scope


def _names(function: Native) -> Iterator[tuple[str, object]]:
    scope = scope_of(function)
    code: CodeType = function.function.__code__
    for name in (*code.co_names, *code.co_freevars):
        if name in scope:
            yield name, scope[name]


def closure(functions: list[Native]) -> list[Native]:
    """`functions` and every native function that they reach, each once."""
    found: dict[Native, None] = {}
    todo = list(functions)
    while todo:
        function = todo.pop(0)
        if function in found:
            continue
        found[function] = None
        todo += [value for _, value in _names(function) if isinstance(value, Native)]
    return list(found)


def _describe(value: object) -> str:
    if isinstance(value, Native):
        return f"native {value.__module__}.{value.__name__}"
    if isinstance(value, enum.EnumMeta):
        members: dict[str, enum.Enum] = dict(value.__members__)
        return repr([(name, member.value) for name, member in members.items()])
    if isinstance(value, int):
        return str(int(value))
    return getattr(value, "name", type(value).__name__)


def key_of(functions: list[Native]) -> str:
    """A digest that changes whenever the machine code of `functions` could."""
    digest = hashlib.sha256()
    for function in functions:
        code = function.function.__code__
        digest.update(f"{function!r} {function.inline} {code.co_varnames} {code.co_names}\n".encode())
        digest.update(repr(code.co_consts).encode() + code.co_code)
        for name, value in _names(function):
            digest.update(f"{name}={_describe(value)}\n".encode())
    return digest.hexdigest()


def tree_of(function: Native) -> ast.FunctionDef:
    """Syntax tree of `function`, with line numbers of its file."""
    lines, first = inspect.getsourcelines(function.function)
    module = ast.parse(textwrap.dedent("".join(lines)))
    ast.increment_lineno(module, first - 1)
    definition = module.body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition
