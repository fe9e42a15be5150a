"""The grammar of event filters, with the kernel's errors (kernel/trace/trace_events_filter.c).

FIELD OP VALUE, joined by && and ||, negated by !, grouped by parentheses
"""

import errno
from dataclasses import dataclass
from typing import NoReturn

from engine.errors import KernelError
from tracefs.fields import COMMON_FIELDS, Field
from tracefs.filter_match import Compare, Kind
from tracefs.ktext import kstrtol, kstrtoul

__all__ = ["FilterError", "Junction", "Negation", "Predicate", "Term", "parse_filter"]

_TOO_MANY = "Too many terms in predicate expression"
_ESRCH = errno.ESRCH
_OPS = {
    "~": None, "!=": Compare.NE, "==": Compare.EQ, "<=": Compare.LE, "<": Compare.LT,
    ">=": Compare.GE, ">": Compare.GT, "&": Compare.AND,
}  # fmt: skip
_SPACE = " \t\n\v\f\r"
_MAX_NUMBER = 24
_MAX_TEXT = 256
_COMM = "char *"
_GENERIC = {
    "CPU": Field("int", "CPU", 0, 4, True),
    "cpu": Field("int", "cpu", 0, 4, True),
    "COMM": Field(_COMM, "COMM", 0, 16, True),
    "comm": Field(_COMM, "comm", 0, 16, True),
}


def _text_kind(field: Field) -> Kind | None:
    """How a field is compared with a string; None if it cannot be."""
    if field.name in _GENERIC and field is _GENERIC[field.name]:
        return Kind.COMM if field.type == _COMM else None
    if field.type.startswith("__data_loc"):
        return Kind.TEXT
    if field.type == "char" and field.suffix:
        return Kind.ARRAY
    return Kind.USER if field.type in ("char *", "const char *") else None


class FilterError(KernelError):
    """A filter that cannot be: errno, the kernel's words, the place of the fault. Without words: `Error`."""

    def __init__(self, number: int, message: str = "", position: int = 0) -> None:
        super().__init__(number, message)
        self.words = message
        self.position = position


@dataclass(frozen=True, slots=True)
class Predicate:
    """A comparison of a field. `text` for strings, else `value`."""

    kind: Kind
    compare: Compare
    field: Field
    value: int = 0
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Negation:
    """`!term`."""

    term: "Term"


@dataclass(frozen=True, slots=True)
class Junction:
    """`left && right`, or `||` when `any` is set."""

    any: bool
    left: "Term"
    right: "Term"


Term = Predicate | Negation | Junction


def _check_balance(text: str) -> None:
    """Quotes and parentheses match, and there is something between them (`calc_stack`)."""
    opened: list[int] = []
    quote, quote_at, terms, inside = "", 0, 0, False
    for i, char in enumerate(text):
        if char in _SPACE:
            continue
        if quote:
            if char == quote:
                quote = ""
            continue
        if char in "|&" and text[i + 1 : i + 2] == char:
            inside = False
            continue
        if char == "(":
            opened.append(i)
            inside = False
            continue
        if char == ")":
            if not opened:
                raise FilterError(errno.EPERM, "Too few '('", i)
            opened.pop()
            inside = False
            continue
        if char in "'\"":
            quote, quote_at = char, i
        if not inside:
            terms += 1
            inside = True
    if quote:
        raise FilterError(_ESRCH, "Missing matching quote", quote_at)
    if opened:
        raise FilterError(errno.ENOENT, "Too many '('", opened[-1])
    if not terms:
        raise FilterError(errno.EINVAL)


class _Parser:
    """Recursive descent; positions of errors in a predicate are one too far, as in the kernel."""

    def __init__(self, text: str, fields: tuple[Field, ...]) -> None:
        self._text = text
        self._at = 0
        self._fields = {field.name: field for field in COMMON_FIELDS} | _GENERIC
        self._fields |= {field.name: field for field in fields}

    def parse(self) -> Term:
        term = self._junctions(any_of=True)
        self._skip()
        if self._at < len(self._text):
            raise FilterError(errno.EPERM, _TOO_MANY, self._at)
        return term

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1

    def _junctions(self, *, any_of: bool) -> Term:
        operator = "||" if any_of else "&&"
        term = self._junctions(any_of=False) if any_of else self._factor()
        while True:
            self._skip()
            if not self._text.startswith(operator, self._at):
                return term
            self._at += 2
            self._skip()
            if self._at == len(self._text):
                raise FilterError(errno.EINVAL, "Meaningless filter expression", self._at)
            right = self._junctions(any_of=False) if any_of else self._factor()
            term = Junction(any_of, term, right)

    def _factor(self) -> Term:
        self._skip()
        char = self._text[self._at : self._at + 1]
        if char == "!":
            self._at += 1
            self._skip()
            if self._at == len(self._text):
                raise FilterError(errno.EINVAL, "No filter found", self._at)
            return Negation(self._factor())
        if char == "(":
            self._at += 1
            term = self._junctions(any_of=True)
            self._skip()
            if self._text[self._at : self._at + 1] != ")":
                raise FilterError(errno.EPERM, _TOO_MANY, self._at)
            self._at += 1
            return term
        return self._predicate()

    def _fail(self, message: str, at: int | None = None) -> NoReturn:
        raise FilterError(errno.EINVAL, message, (self._at if at is None else at) + 1)

    def _predicate(self) -> Predicate:
        """`FIELD OP VALUE` (`parse_pred`)."""
        start = self._at
        while self._at < len(self._text) and (self._text[self._at].isalnum() or self._text[self._at] == "_"):
            self._at += 1
        name = self._text[start : self._at]
        if not name:
            raise FilterError(errno.EPERM)
        field = self._fields.get(name)
        if field is None:
            self._fail("Field not found")
        if self._text.startswith(".ustring", self._at):
            self._at += len(".ustring")
        self._skip()
        operator = next((op for op in _OPS if self._text.startswith(op, self._at)), None)
        if operator is None:
            self._fail("Invalid operator")
        compare = _OPS[operator]
        self._at += len(operator)
        self._skip()
        first = self._text[self._at : self._at + 1]
        if first in ("'", '"') and first:
            return self._text_predicate(field, compare)
        if first.isdigit() or first == "-":
            return self._number_predicate(field, compare)
        self._fail("Invalid value (did you forget quotes)?")

    def _text_predicate(self, field: Field, compare: Compare | None) -> Predicate:
        if compare not in (None, Compare.EQ, Compare.NE):
            self._fail("Illegal operation for field type")
        kind = _text_kind(field)
        if kind is None:
            self._fail("Expecting numeric field")
        quote = self._text[self._at]
        end = self._text.find(quote, self._at + 1)
        body = self._text[self._at + 1 : end]
        if len(body) >= _MAX_TEXT:
            self._fail("Operand too long", end)
        self._at = end + 1
        if compare is not None:
            return Predicate(kind, compare, field, text=body.encode("latin-1"))
        compare = Compare.EQ
        if body.startswith("!"):
            body, compare = body[1:], Compare.NE
        return Predicate(Kind(kind + 1), compare, field, text=body.encode("latin-1"))

    def _number_predicate(self, field: Field, compare: Compare | None) -> Predicate:
        start = self._at
        if _text_kind(field) not in (None, Kind.USER):
            self._fail("Expecting string field")
        if compare is None:
            self._fail("Illegal operation for field type")
        if self._text[self._at] == "-":
            self._at += 1
        while self._at < len(self._text) and self._text[self._at].isalnum():
            self._at += 1
        digits = self._text[start : self._at]
        if len(digits) >= _MAX_NUMBER:
            self._fail("Operand too long")
        try:
            value = kstrtol(digits, 0) if field.signed else kstrtoul(digits, 0)
        except KernelError:
            self._fail("Illegal integer value", start)
        if field.size not in (1, 2, 4, 8):
            self._fail("Invalid operator", start)
        generic_cpu = field is _GENERIC.get(field.name)
        return Predicate(Kind.CPU if generic_cpu else Kind.NUMBER, compare, field, value)


def parse_filter(text: str, fields: tuple[Field, ...]) -> Term:
    """The filter `text` over the fields of an event. Raises FilterError."""
    _check_balance(text)
    return _Parser(text, fields).parse()
