"""Fetch arguments: `NAME=FETCHARG[:TYPE]` parsed to fetch instructions, with the kernel's errors.

The grammar, the order of checks and the positions of errors are those of kernel/trace/trace_probe.c.
"""

import errno
from dataclasses import replace

from engine.errors import KernelError
from tracefs.error_log import ProbeLog
from tracefs.fetch_insn import FETCH_INSN_MAX, REGISTER_OFFSETS, FetchInsn, Op, ProbeArg, ProbeFlag
from tracefs.fetch_types import FetchType, find_fetch_type
from tracefs.ktext import kstrtol, kstrtouint, kstrtoul, simple_strtoul

__all__ = ["MAX_TRACE_ARGS", "is_good_name", "parse_probe_arg"]

MAX_TRACE_ARGS = 128
MAX_ARG_NAME_LEN = 32
MAX_ARGSTR_LEN = 63
MAX_ARRAY_LEN = 64
PARAM_MAX_STACK = 16384 // 8
"""Words in a kernel stack (THREAD_SIZE)."""

_RESERVED = (
    "common_type",
    "common_flags",
    "common_preempt_count",
    "common_pid",
    "common_tgid",
    "__probe_ip",
    "__probe_ret_ip",
    "__probe_func",
)


def is_good_name(name: str) -> bool:
    """Whether `name` follows the rules of C identifiers."""
    return name != "" and name.isascii() and not name[0].isdigit() and name.replace("_", "a").isalnum()


class _Parser:
    """One argument's parse: `offset` positions are relative to the argument's word."""

    def __init__(self, log: ProbeLog, flags: ProbeFlag) -> None:
        self._log = log
        self._flags = flags
        self.code: list[FetchInsn] = []

    def fail(self, offset: int, message: str, number: int = errno.EINVAL) -> KernelError:
        return self._log.error(offset, message, number)

    def push(self, insn: FetchInsn, offset: int, message: str = "Dereference is too much nested") -> None:
        """Add an instruction; the last place is END's."""
        if len(self.code) >= FETCH_INSN_MAX - 1:
            raise self.fail(offset, message)
        self.code.append(insn)

    def expression(self, text: str, offset: int) -> None:
        """`parse_probe_arg`: what to fetch, without its type."""
        first = text[:1]
        if first == "$":
            self._variable(text[1:], offset)
        elif first == "%":
            if text[1:] not in REGISTER_OFFSETS:
                raise self.fail(offset, "Invalid register name")
            self.push(FetchInsn(Op.REG, REGISTER_OFFSETS[text[1:]]), offset)
        elif first == "@":
            self._memory(text, offset)
        elif first in ("+", "-") and first:
            self._dereference(text, offset)
        elif first == "\\":
            self._immediate(text, offset)
        else:
            raise self.fail(offset, "Invalid fetch argument")

    def _variable(self, name: str, offset: int) -> None:
        """`parse_probe_vars`."""
        if name == "retval":
            if not self._flags & ProbeFlag.RETURN:
                raise self.fail(offset, "$retval is not available on probe")
            self.push(FetchInsn(Op.RETVAL), offset)
        elif name == "stack":
            self.push(FetchInsn(Op.STACKP), offset)
        elif name.startswith("stack") and name[5].isdigit():
            index = self._index(name[5:], offset)
            if index > PARAM_MAX_STACK:
                raise self.fail(offset, "Invalid stack number")
            self.push(FetchInsn(Op.STACK, index), offset)
        elif name in ("comm", "COMM"):
            self.push(FetchInsn(Op.COMM), offset)
        elif name.startswith("arg") and self._flags == ProbeFlag.FENTRY:
            number = self._index(name[3:], offset)
            if number == 0 or number > PARAM_MAX_STACK:
                raise self.fail(offset, "Invalid argument number")
            self.push(FetchInsn(Op.ARG, number - 1), offset)
        else:
            raise self.fail(offset, "Invalid $-variable specified")

    def _index(self, digits: str, offset: int) -> int:
        try:
            return kstrtoul(digits, 10)
        except KernelError:
            raise self.fail(offset, "Invalid $-variable specified") from None

    def _memory(self, text: str, offset: int) -> None:
        """`@ADDRESS`, `@SYMBOL[+|-OFFSET]`."""
        if text[1:2].isdigit():
            try:
                address = kstrtoul(text[1:], 0)
            except KernelError as error:
                raise self.fail(offset, "Invalid memory address", error.errno) from None
            self.push(FetchInsn(Op.IMM, address), offset)
        elif text[1:2] == "+":
            raise self.fail(offset, "File offset is not available with kprobe")
        else:
            self.push(FetchInsn(Op.IMM, symbol=text[1:] or "\0"), offset)
        self.push(FetchInsn(Op.DEREF), offset)

    def _dereference(self, text: str, offset: int) -> None:
        """`+|-[u]OFFSET(FETCHARG)`."""
        op = Op.DEREF
        if text[1:2] == "u":
            op = Op.UDEREF
            text = text[0] + text[2:]
            offset += 1
        start = offset
        negative = text[0] == "-"
        body = text if negative else text[1:]
        number, brace, inner = body.partition("(")
        if not brace:
            raise self.fail(start - (op == Op.UDEREF), "Dereference needs a brace")
        try:
            distance = kstrtol(number, 0)
        except KernelError as error:
            place = start - (op == Op.UDEREF)
            raise self.fail(place, "Invalid dereference offset", error.errno) from None
        offset += len(number) + 1 + (0 if negative else 1)
        inner, brace, _ = inner.rpartition(")") if ")" in inner else (inner, "", "")
        if not brace:
            raise self.fail(offset + len(inner), "Dereference brace is not closed")
        self.expression(inner, offset)
        if self.code[-1].op in (Op.COMM, Op.DATA):
            raise self.fail(offset, "$comm can not be dereferenced")
        self.push(FetchInsn(op, distance), offset)

    def _immediate(self, text: str, offset: int) -> None:
        """`\\VALUE` or `\\"STRING"`."""
        if text[1:2] == '"':
            body = text[2:]
            if not body.endswith('"'):
                raise self.fail(offset + 2 + len(body), "String is not closed with '\"'")
            data = body[:-1].encode("latin-1")
            self.push(FetchInsn(Op.DATA, data=data), offset)
            return
        value = text[1:]
        try:
            if value[:1].isdigit():
                number = kstrtoul(value, 0)
            elif value[:1] == "-":
                number = kstrtol(value, 0)
            elif value[:1] == "+":
                number = kstrtol(value[1:], 0)
            else:
                raise KernelError(errno.EINVAL)
        except KernelError as error:
            raise self.fail(offset + 1, "Invalid immediate value", error.errno) from None
        self.push(FetchInsn(Op.IMM, number), offset)

    def store(self, kind: FetchType, count: int, offset: int, type_offset: int) -> int:
        """Add the storing instruction for `kind`; its index. A memory access is turned into one."""
        last = self.code[-1]
        if kind.is_string:
            self._store_string(kind, count, offset, type_offset)
        elif last.op in (Op.DEREF, Op.UDEREF):
            op = Op.ST_MEM if last.op == Op.DEREF else Op.ST_UMEM
            self.code[-1] = replace(last, op=op, size=kind.size)
        else:
            self.push(FetchInsn(Op.ST_RAW, size=kind.size), offset)
        return len(self.code) - 1

    def _store_string(self, kind: FetchType, count: int, offset: int, type_offset: int) -> None:
        last = self.code[-1]
        if kind.name == "symstr":
            allowed = (Op.REG, Op.STACK, Op.RETVAL, Op.ARG, Op.DEREF)
            if last.op not in allowed:
                raise self.fail(type_offset, "Symbol string accepts only memory argument")
        elif last.op not in (Op.DEREF, Op.UDEREF, Op.IMM, Op.COMM, Op.DATA):
            raise self.fail(type_offset, "String accepts only memory argument")
        user = kind.name == "ustring" or last.op == Op.UDEREF
        op = Op.ST_USTRING if user else Op.ST_SYMSTR if kind.name == "symstr" else Op.ST_STRING
        if kind.name == "symstr" or last.op in (Op.IMM, Op.COMM, Op.DATA) or count:
            if op == Op.ST_USTRING and last.op == Op.UDEREF and kind.name != "ustring":
                op = Op.ST_STRING
            self.push(FetchInsn(op, size=kind.size), offset)
        else:
            self.code[-1] = replace(last, op=op, size=kind.size)

    def bitfield(self, spec: str, kind: FetchType, offset: int) -> None:
        """`bWIDTH@OFFSET/CONTAINER` (`__parse_bitfield_probe_arg`)."""
        if not spec.startswith("b"):
            return
        width, rest = simple_strtoul(spec[1:])
        shift, tail = simple_strtoul(rest[1:])
        bits = kind.size * 8
        good = width != 0 and rest[:1] == "@" and tail != rest[1:] and tail[:1] == "/"
        if not good or width + shift > bits:
            raise self.fail(offset, "Invalid bitfield")
        self.push(
            FetchInsn(Op.MOD_BF, size=kind.size, lshift=bits - (width + shift), rshift=bits - width), offset
        )


def _split_array(log: ProbeLog, text: str, offset: int) -> tuple[str, int]:
    """`TYPE[COUNT]` of `text`, which starts at `offset`: the type and the count, 0 without one."""
    kind, bracket, rest = text.partition("[")
    if not bracket:
        return kind, 0
    at = offset + len(kind) + 1
    number, close, suffix = rest.partition("]")
    if not close:
        raise log.error(at + len(rest), "Array is not closed")
    if suffix:
        raise log.error(at + len(number) + 1, "Array has wrong suffix")
    try:
        count = kstrtouint(number, 0)
    except KernelError:
        count = 0
    if not count:
        raise log.error(at, "Invalid array size")
    if count > MAX_ARRAY_LEN:
        raise log.error(at, "Array number is too big")
    return kind, count


def _parse_body(log: ProbeLog, body: str, offset: int, name: str, place: int, flags: ProbeFlag) -> ProbeArg:
    """`traceprobe_parse_probe_arg_body`: `body` starts at `offset` in its word."""
    if len(body) > MAX_ARGSTR_LEN:
        raise log.error(offset, "Argument expression is too long")
    if not body:
        raise log.error(offset, "No argument expression")
    expression, colon, spec = body.partition(":")
    type_name: str | None = None
    count = 0
    type_offset = offset
    if colon:
        type_offset = offset + len(expression) + 1
        type_name, count = _split_array(log, spec, type_offset)
    if expression in ("$comm", "$COMM") or expression.startswith('\\"'):
        if count or type_name not in (None, "string"):
            raise KernelError(errno.EINVAL)
        type_name_found = "string"
    else:
        type_name_found = type_name if type_name is not None else "x64"
    kind = find_fetch_type(type_name_found)
    if kind is None:
        raise log.error(type_offset, "Unknown type is specified")
    parser = _Parser(log, flags)
    parser.expression(expression, offset)
    stored = parser.store(kind, count, offset, type_offset)
    if type_name is not None:
        parser.bitfield(type_name, kind, type_offset)
    if count:
        if parser.code[stored].op not in (Op.ST_MEM, Op.ST_STRING, Op.ST_USTRING):
            raise log.error(type_offset, "String accepts only memory argument")
        parser.push(FetchInsn(Op.LP_ARRAY, count), offset)
    return ProbeArg(name, body, kind, count, place, tuple(parser.code))


def parse_probe_arg(
    log: ProbeLog, word: str, index: int, place: int, before: list[ProbeArg], flags: ProbeFlag
) -> ProbeArg:
    """Argument number `index` (from 0), whose fixed part lies `place` bytes behind the probe's own fields.

    Raises KernelError, usually EINVAL, after logging where and why.
    """
    name, equals, body = word.partition("=")
    if equals:
        if len(name) > MAX_ARG_NAME_LEN:
            raise log.error(0, "Argument name is too long")
        if not name:
            raise log.error(0, "Argument name is not specified")
    else:
        name, body = f"arg{index + 1}", word
    if not is_good_name(name):
        raise log.error(0, "Argument name must follow the same rules as C identifiers")
    if name in _RESERVED or any(arg.name == name for arg in before):
        raise log.error(0, "This argument name is already used")
    return _parse_body(log, body, len(name) + 1 if equals else 0, name, place, flags)
