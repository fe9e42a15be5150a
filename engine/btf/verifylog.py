"""The log of BTF verification, line by line as kernel/bpf/btf.c writes it (`btf_verifier_log_*`)."""

from engine.btf.parse import HEADER
from engine.btf.types import (
    Array,
    Composite,
    DataSec,
    DeclTag,
    Encoding,
    Enum,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Modifier,
    Param,
    Pointer,
    SecVar,
    Type,
    Typedef,
    Var,
)

__all__ = ["VerifyLog"]

_ENCODINGS = {
    Encoding.NONE: "(none)",
    Encoding.SIGNED: "SIGNED",
    Encoding.CHAR: "CHAR",
    Encoding.BOOL: "BOOL",
}


class VerifyLog:
    """Collects lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        """All lines so far."""
        return "".join(line + "\n" for line in self._lines)

    def line(self, text: str) -> None:
        """A line as it stands."""
        self._lines.append(text)

    def header(self, data: bytes) -> None:
        """The header's fields."""
        magic, version, flags, hdr_len, type_off, type_len, str_off, str_len = HEADER.unpack_from(data)
        self._lines += [
            f"magic: {magic:#x}",
            f"version: {version}",
            f"flags: {flags:#x}",
            f"hdr_len: {hdr_len}",
            f"type_off: {type_off}",
            f"type_len: {type_len}",
            f"str_off: {str_off}",
            f"str_len: {str_len}",
            f"btf_total_size: {len(data)}",
        ]

    def type(self, type_id: int, record: Type, reason: str = "") -> None:
        """A type with its details, and what is wrong with it."""
        text = f"[{type_id}] {record.kind.name} {record.name or '(anon)'} {_details(record)}"
        self._lines.append(f"{text} {reason}" if reason else text)

    def basic(self, type_id: int, record: Type, reason: str) -> None:
        """A type without details."""
        self._lines.append(f"[{type_id}] {record.kind.name} {record.name or '(anon)'} {reason}")

    def member(self, record: Composite, member: Member, reason: str = "") -> None:
        """A member of a struct."""
        bits = f" bitfield_size={member.bits}" if record.flag else ""
        text = f"\t{member.name or '(anon)'} type_id={member.type}{bits} bits_offset={member.bit_offset}"
        self._lines.append(f"{text} {reason}" if reason else text)

    def var(self, var: SecVar, reason: str = "") -> None:
        """A variable of a section."""
        text = f"\t type_id={var.type} offset={var.offset} size={var.size}"
        self._lines.append(f"{text} {reason}" if reason else text)


def _details(record: Type) -> str:
    match record:
        case Int():
            encoding = _ENCODINGS.get(record.encoding, "UNKN")
            bits = f"bits_offset={record.offset} nr_bits={record.bits}"
            return f"size={record.size} {bits} encoding={encoding}"
        case Pointer() | Typedef() | Modifier() | Func():
            return f"type_id={record.type}"
        case Array():
            return f"type_id={record.type} index_type_id={record.index} nr_elems={record.count}"
        case Composite():
            return f"size={record.size} vlen={len(record.members)}"
        case Enum():
            return f"size={record.size} vlen={len(record.values)}"
        case DataSec():
            return f"size={record.size} vlen={len(record.vars)}"
        case Fwd():
            return "union" if record.union else "struct"
        case FuncProto():
            return f"return={record.type} args=({_arguments(record.params)})"
        case Var():
            return f"type_id={record.type} linkage={record.linkage}"
        case Float():
            return f"size={record.size}"
        case DeclTag():
            return f"type={record.type} component_idx={record.component}"
    return ""


def _arguments(params: tuple[Param, ...]) -> str:
    if not params:
        return "void"
    texts = [f"{param.type} {param.name or '(anon)'}" for param in params]
    if not params[-1].type:
        texts[-1] = "vararg"
    return ", ".join(texts)
