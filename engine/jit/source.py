"""What a native function reaches and what it says: closure, cache key, syntax tree.

The key covers byte code and the values of all constants, so that a warm start reads no source text.
"""

import ast
import enum
import errno
import hashlib
import inspect
import linecache
import textwrap
from collections.abc import Iterator
from types import CodeType

from engine.errors import KernelError
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
    """Syntax tree of `function`, with line numbers of its file.

    KernelError ESTALE when the file was changed since the function was loaded: its text is not what `key_of`
    names, and code made from it would stay in the cache under the wrong name.
    """
    linecache.checkcache(inspect.getsourcefile(function.function))
    try:
        lines, first = inspect.getsourcelines(function.function)
        definition = ast.parse(textwrap.dedent("".join(lines))).body[0]
    except (OSError, SyntaxError, IndexError):
        definition = None
    if not isinstance(definition, ast.FunctionDef) or not _compiles_to(definition, function):
        raise KernelError(errno.ESTALE, f"{function!r}: its source file was changed since it was loaded")
    ast.increment_lineno(definition, first - 1)
    return definition


def _compiles_to(definition: ast.FunctionDef, function: Native) -> bool:
    """Whether `definition` is what `function` was compiled from, by its byte code."""
    code: CodeType = function.function.__code__
    outer = ast.parse(f"def outer({', '.join(code.co_freevars)}): pass")
    shell = outer.body[0]
    assert isinstance(shell, ast.FunctionDef)
    shell.body = [definition]
    found = _functions_in(compile(ast.fix_missing_locations(outer), "source", "exec"), 2)
    return len(found) == 1 and _parts(found[0]) == _parts(code)


def _parts(code: CodeType) -> tuple[object, ...]:
    return code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_consts


def _functions_in(code: CodeType, depth: int) -> list[CodeType]:
    """Code of the functions `depth` levels inside of `code`."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return inner if depth == 1 else [found for each in inner for found in _functions_in(each, depth - 1)]
