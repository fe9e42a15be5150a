"""From the syntax tree of a native function to LLVM IR.

Locals are stack slots, which LLVM promotes to registers. A module gets each function once, under its
qualified name; `Emission.include` is how an eBPF program's module takes native functions in.
"""

import ast
import inspect
from typing import NoReturn

from llvmlite import ir

from engine.jit.lang import Native, Word, _CompileTime
from engine.jit.source import scope_of, tree_of
from engine.jit.words import I64, WORDS, word

__all__ = ["Emission"]

_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.BitAnd: "and_",
    ast.BitOr: "or_",
    ast.BitXor: "xor",
    ast.LShift: "shl",
    ast.RShift: "lshr",
}
_COMPARISON: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


class Emission:
    """Native functions emitted into one LLVM module."""

    def __init__(self, module: ir.Module) -> None:
        self.module = module
        self._functions: dict[Native, ir.Function] = {}

    def include(self, function: Native, *, exported: bool = False) -> ir.Function:
        """The IR of `function` in this module, emitted at first use; internal unless `exported`."""
        found = self._functions.get(function)
        if found is None:
            kind = ir.FunctionType(I64, [I64] * function.arity)
            found = ir.Function(self.module, kind, f"{function.__module__}.{function.__name__}")
            found.linkage = "internal"
            found.attributes.add("nounwind")
            if function.inline:
                found.attributes.add("alwaysinline")
            self._functions[function] = found
            _Body(self, function, found).emit()
        if exported:
            found.linkage = "external"
        return found

    def extern(self, name: str, arity: int) -> ir.Function:
        """A C library function, taking and returning words."""
        alias = f"{name}/{arity}"
        known = self.module.globals
        if name in known and len(known[name].args) == arity:
            return known[name]
        if name in known:
            raise SyntaxError(f"{alias}: called with another number of arguments in the same module")
        return ir.Function(self.module, ir.FunctionType(I64, [I64] * arity), name)

    def text(self, value: str) -> ir.Value:
        """Address of a constant NUL-terminated string, as a word."""
        data = bytearray(value.encode() + b"\0")
        kind = ir.ArrayType(ir.IntType(8), len(data))
        constant = ir.GlobalVariable(self.module, kind, self.module.get_unique_name("text"))
        constant.linkage = "internal"
        constant.global_constant = True
        constant.initializer = ir.Constant(kind, data)
        return constant.ptrtoint(I64)


class _Body:
    """One function being emitted."""

    def __init__(self, emission: Emission, native: Native, function: ir.Function) -> None:
        self._emission = emission
        self._native = native
        self._function = function
        self._scope = scope_of(native)
        self._entry = ir.IRBuilder(function.append_basic_block("entry"))
        self._b = ir.IRBuilder(function.append_basic_block("body"))
        self._slots: dict[str, ir.Value] = {}
        self._loops: list[tuple[ir.Block, ir.Block]] = []

    def emit(self) -> None:
        definition = tree_of(self._native)
        first = self._b.block
        for argument, value in zip(definition.args.args, self._function.args, strict=True):
            self._entry.store(value, self._slot(argument.arg))
        self._block(definition.body)
        if not self._b.block.is_terminated:
            self._b.ret(word(0))
        self._entry.branch(first)

    def _fail(self, node: ast.AST, why: str) -> NoReturn:
        file = inspect.getsourcefile(self._native.function) or "?"
        raise SyntaxError(f"{file}:{getattr(node, 'lineno', 0)}: {self._native.__name__}: {why}")

    def _slot(self, name: str) -> ir.Value:
        if name not in self._slots:
            self._slots[name] = self._entry.alloca(I64, name=name)
            self._entry.store(word(0), self._slots[name])
        return self._slots[name]

    def _new_block(self, name: str) -> ir.Block:
        return self._function.append_basic_block(name)

    # Statements

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self._b.block.is_terminated:
                self._fail(statement, "unreachable statement")
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                result = self._value(value)
                self._b.store(result, self._slot(name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                result = self._value(value)
                self._b.store(result, self._slot(name))
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                loaded = self._local(target, name)
                self._b.store(self._binary(node, op, loaded, self._value(value)), self._slot(name))
            case ast.If(test=test, body=body, orelse=orelse):
                self._if(test, body, orelse)
            case ast.While(test=test, body=body, orelse=[]):
                self._while(test, body)
            case ast.For(target=ast.Name(id=name), iter=ast.Call() as over, body=body, orelse=[]):
                self._for(name, over, body)
            case ast.Return(value=value):
                self._b.ret(word(0) if value is None else self._value(value))
            case ast.Break() | ast.Continue():
                self._b.branch(self._loops[-1][isinstance(node, ast.Continue)])
            case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                pass
            case ast.Expr(value=value):
                self._value(value)
            case _:
                self._fail(node, f"statement {type(node).__name__} is not in the native language")

    def _if(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        then, other, after = (self._new_block(n) for n in ("then", "else", "endif"))
        self._branch(test, then, other)
        for block, statements in ((then, body), (other, orelse)):
            self._b.position_at_end(block)
            self._block(statements)
            if not self._b.block.is_terminated:
                self._b.branch(after)
        self._after(after)

    def _after(self, block: ir.Block) -> None:
        """Go on at `block`; drop it where nothing leads there, so that what follows counts as unreachable."""
        self._b.position_at_end(block)
        if not any(block in b.terminator.operands for b in self._function.blocks if b.is_terminated):
            self._b.unreachable()

    def _while(self, test: ast.expr, body: list[ast.stmt]) -> None:
        head, inside, after = (self._new_block(n) for n in ("while", "do", "done"))
        self._b.branch(head)
        self._b.position_at_end(head)
        self._branch(test, inside, after)
        self._loop_body(inside, body, head, after)

    def _loop_body(self, inside: ir.Block, body: list[ast.stmt], again: ir.Block, after: ir.Block) -> None:
        self._b.position_at_end(inside)
        self._loops.append((after, again))
        self._block(body)
        self._loops.pop()
        if not self._b.block.is_terminated:
            self._b.branch(again)
        self._after(after)

    def _for(self, name: str, over: ast.Call, body: list[ast.stmt]) -> None:
        if not (isinstance(over.func, ast.Name) and over.func.id == "range" and not over.keywords):
            self._fail(over, "for loops go over range()")
        bounds = [self._value(argument) for argument in over.args]
        start, stop = (word(0), bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
        step = bounds[2] if len(bounds) == 3 else word(1)
        if not isinstance(step, ir.Constant) or step.constant <= 0:
            self._fail(over, "the step of range() is a positive constant")
        counter = self._entry.alloca(I64, name=f"{name}.next")
        self._b.store(start, counter)
        head, inside, following, after = (self._new_block(n) for n in ("for", "do", "next", "done"))
        self._b.branch(head)
        self._b.position_at_end(head)
        now = self._b.load(counter)
        self._b.cbranch(self._b.icmp_signed("<", now, stop), inside, after)
        self._b.position_at_end(following)
        self._b.store(self._b.add(now, step), counter)
        self._b.branch(head)
        self._b.position_at_end(inside)
        self._b.store(now, self._slot(name))
        self._loop_body(inside, body, following, after)

    # Conditions

    def _branch(self, test: ast.expr, yes: ir.Block, no: ir.Block) -> None:
        """Jump to `yes` or `no`, evaluating no more of `test` than decides it."""
        match test:
            case ast.BoolOp(op=op, values=values):
                for value in values[:-1]:
                    following = self._new_block("test")
                    if isinstance(op, ast.And):
                        self._branch(value, following, no)
                    else:
                        self._branch(value, yes, following)
                    self._b.position_at_end(following)
                self._branch(values[-1], yes, no)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self._branch(operand, no, yes)
            case ast.Constant(value=value):
                self._b.branch(yes if value else no)
            case _:
                self._b.cbranch(self._b.icmp_unsigned("!=", self._value(test), word(0)), yes, no)

    def _select(self, test: ast.expr, body: ast.expr | None, orelse: ast.expr | None) -> ir.Value:
        """`body if test else orelse`; without the two, the truth of `test` as 1 or 0."""
        result = self._entry.alloca(I64)
        yes, no, after = (self._new_block(n) for n in ("yes", "no", "chosen"))
        self._branch(test, yes, no)
        for block, value, truth in ((yes, body, 1), (no, orelse, 0)):
            self._b.position_at_end(block)
            self._b.store(word(truth) if value is None else self._value(value), result)
            self._b.branch(after)
        self._b.position_at_end(after)
        return self._b.load(result)

    # Expressions

    def _value(self, node: ast.expr) -> ir.Value:
        match node:
            case ast.Constant(value=int() as value):
                return word(int(value))
            case ast.Name(id=name):
                return self._local(node, name)
            case ast.Attribute(value=ast.Name(id=owner), attr=attribute):
                member = getattr(self._scope.get(owner), attribute, None)
                if not isinstance(member, int):
                    self._fail(node, f"{owner}.{attribute} is not an integer constant")
                return word(int(member))
            case ast.BinOp(left=left, op=op, right=right):
                first = self._value(left)
                return self._binary(node, op, first, self._value(right))
            case ast.UnaryOp(op=op, operand=operand):
                return self._unary(node, op, operand)
            case ast.Compare(
                left=left, ops=[ast.In() | ast.NotIn() as op], comparators=[ast.Tuple(elts=members)]
            ):
                if not _is_plain(left):
                    self._fail(node, "what is looked for with `in` is a name or a constant")
                equal: list[ast.expr] = [ast.Compare(left, [ast.Eq()], [member]) for member in members]
                found = ast.BoolOp(ast.Or(), equal)
                return self._select(
                    found if isinstance(op, ast.In) else ast.UnaryOp(ast.Not(), found), None, None
                )
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                if type(op) not in _COMPARISON:
                    self._fail(node, "this comparison is not in the native language")
                first = self._value(left)
                return self._b.zext(
                    self._b.icmp_signed(_COMPARISON[type(op)], first, self._value(right)), I64
                )
            case ast.Compare(left=left, ops=ops, comparators=[middle, *rest]) if _is_plain(middle):
                pairs = [ast.Compare(left, [ops[0]], [middle]), ast.Compare(middle, ops[1:], rest)]
                return self._select(ast.BoolOp(ast.And(), list(pairs)), None, None)
            case ast.BoolOp():
                return self._select(node, None, None)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._select(test, body, orelse)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(node, name, args)
            case _:
                self._fail(node, f"expression {type(node).__name__} is not in the native language")

    def _local(self, node: ast.AST, name: str) -> ir.Value:
        if name in self._slots:
            return self._b.load(self._slots[name])
        value = self._scope.get(name)
        if isinstance(value, int):
            return word(int(value))
        self._fail(node, f"{name} is neither a local nor an integer constant")

    def _binary(self, node: ast.AST, op: ast.operator, left: ir.Value, right: ir.Value) -> ir.Value:
        if type(op) not in _ARITHMETIC:
            self._fail(node, f"operator {type(op).__name__} is not in the native language")
        if isinstance(op, ast.LShift | ast.RShift):
            right = self._b.and_(right, word(63))
        if isinstance(left, ir.Constant) and isinstance(right, ir.Constant):
            return _fold(op, left.constant, right.constant)
        return getattr(self._b, _ARITHMETIC[type(op)])(left, right)

    def _unary(self, node: ast.AST, op: ast.unaryop, operand: ast.expr) -> ir.Value:
        if isinstance(op, ast.Not):
            return self._select(operand, ast.Constant(0), ast.Constant(1))
        value = self._value(operand)
        match op:
            case ast.USub():
                return word(-value.constant) if isinstance(value, ir.Constant) else self._b.neg(value)
            case ast.Invert():
                return word(~value.constant) if isinstance(value, ir.Constant) else self._b.not_(value)
            case _:
                self._fail(node, "unary plus is not in the native language")

    def _call(self, node: ast.Call, name: str, args: list[ast.expr]) -> ir.Value:
        target = self._scope.get(name)
        match target:
            case _CompileTime():
                return self._compile_time(node, target.name, args)
            case Word():
                self._arity(node, name, target.arity)
                return WORDS[target.name](self._b, *[self._value(a) for a in args])
            case Native():
                self._arity(node, name, target.arity)
                return self._b.call(self._emission.include(target), [self._value(a) for a in args])
        self._fail(node, f"{name} is neither a native function nor a word")

    def _arity(self, node: ast.Call, name: str, arity: int) -> None:
        if len(node.args) != arity:
            self._fail(node, f"{name} takes {arity} arguments, not {len(node.args)}")

    def _compile_time(self, node: ast.Call, name: str, args: list[ast.expr]) -> ir.Value:
        match name, args:
            case "local", [size]:
                count = self._value(size)
                if not isinstance(count, ir.Constant):
                    self._fail(node, "the size of local() is a constant")
                buffer = self._entry.alloca(ir.IntType(8), size=count.constant)
                buffer.align = 16
                return self._b.ptrtoint(buffer, I64)
            case "call", [target, *rest]:
                address = self._value(target)
                kind = ir.FunctionType(I64, [I64] * len(rest))
                return self._b.call(
                    self._b.inttoptr(address, kind.as_pointer()), [self._value(a) for a in rest]
                )
            case "c_call", [ast.Constant(value=str() as symbol), *rest]:
                return self._b.call(self._emission.extern(symbol, len(rest)), [self._value(a) for a in rest])
            case "cstr", [ast.Constant(value=str() as text)]:
                return self._emission.text(text)
            case "address_of", [ast.Name(id=function)]:
                target_function = self._scope.get(function)
                if isinstance(target_function, Native):
                    return self._b.ptrtoint(self._emission.include(target_function), I64)
        self._fail(node, f"{name}() is not used so")


def _is_plain(node: ast.expr) -> bool:
    """Whether evaluating `node` twice is the same as once."""
    return isinstance(node, ast.Name | ast.Constant | ast.Attribute)


def _fold(op: ast.operator, left: int, right: int) -> ir.Constant:
    match op:
        case ast.Add():
            return word(left + right)
        case ast.Sub():
            return word(left - right)
        case ast.Mult():
            return word(left * right)
        case ast.BitAnd():
            return word(left & right)
        case ast.BitOr():
            return word(left | right)
        case ast.BitXor():
            return word(left ^ right)
        case ast.LShift():
            return word(left << right)
        case _:
            return word((left & (1 << 64) - 1) >> right)
