"""Checks a blob as the kernel does before it takes it (`btf_parse`), with the kernel's log.

The first pass checks each type for itself and logs it (`check_meta` of kernel/bpf/btf.c); the second, in
`engine.btf.resolve`, follows references. What is verified has no loops: whoever walks it terminates.
"""

import errno
import re

from engine.btf.btf import Btf
from engine.btf.parse import HEADER, MAGIC, MAX_TYPES, Header
from engine.btf.resolve import Resolver
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
    Kind,
    Linkage,
    Member,
    Modifier,
    Pointer,
    SecVar,
    Type,
    Typedef,
    Var,
)
from engine.btf.verifylog import VerifyLog
from engine.errors import KernelError

__all__ = ["ENOTSUPP", "BtfError", "verify", "verify_blob"]

ENOTSUPP = 524
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,511}", re.ASCII)
_SECTION = re.compile(r"[A-Za-z_.][A-Za-z0-9_.]{0,511}", re.ASCII)
_FLOAT_SIZES = (2, 4, 8, 12, 16)


class BtfError(KernelError):
    """A blob was refused. `log` is what the kernel would have logged at level 1."""

    def __init__(self, number: int, log: str) -> None:
        lines = log.splitlines()
        super().__init__(number, lines[-1].strip() if lines else "")
        self.log = log


def verify_blob(data: bytes) -> tuple[Btf, str]:
    """BPF_BTF_LOAD: the parsed blob, and the log. Raises BtfError: EINVAL, E2BIG, ENOTSUPP, ELOOP."""
    log = VerifyLog()
    try:
        if _has_header(data):
            log.header(data)
            if int.from_bytes(data[:2], "little") != MAGIC:
                raise KernelError(errno.EINVAL, "Invalid magic")
        header = Header(data)
        _sections(header, log)
        btf = Btf(data)
    except KernelError as error:
        number = ENOTSUPP if error.errno == errno.EOPNOTSUPP else error.errno
        raise BtfError(number, log.text + error.message) from None
    _check(btf, log)
    return btf, log.text


def _has_header(data: bytes) -> bool:
    """Whether a header is there to be logged, good or bad."""
    length = int.from_bytes(data[4:8], "little")
    return HEADER.size <= length <= len(data) and not any(data[HEADER.size : length])


def verify(btf: Btf) -> str:
    """Check types that are parsed already; returns the log. Raises BtfError."""
    log = VerifyLog()
    _check(btf, log)
    return log.text


def _check(btf: Btf, log: VerifyLog) -> None:
    """Both passes."""
    try:
        _Meta(btf, log).run()
        Resolver(btf, log).run()
        _type_tags(btf, log)
    except KernelError as error:
        raise BtfError(error.errno, log.text) from None


def _sections(header: Header, log: VerifyLog) -> None:
    """`btf_check_sec_info`: types and strings fill the blob, in this order or the other, strings last."""
    places = sorted([(header.type_off, header.type_len), (header.str_off, header.str_len)])
    total = 0
    for offset, length in places:
        if total != offset:
            text = "Unsupported section found" if total < offset else "Section overlap found"
            raise KernelError(errno.EINVAL, text)
        total += length
    if total != header.room:
        raise KernelError(errno.EINVAL, "Unsupported section found")
    if header.str_off + header.str_len != header.room:
        raise KernelError(errno.EINVAL, "String section is not at the end")
    if not header.type_len:
        raise KernelError(errno.EINVAL, "No type found")


class _Meta:
    """First pass: every type for itself."""

    def __init__(self, btf: Btf, log: VerifyLog) -> None:
        self._btf = btf
        self._log = log
        self._id = 0

    def run(self) -> None:
        """Check and log all types. Raises KernelError after the last line of the log."""
        for type_id, record in enumerate(self._btf.types):
            self._id = type_id
            if type_id in self._btf.odd:
                raise self._bad(record, self._btf.odd[type_id])
            if type_id:
                self._type(record)

    def _bad(self, record: Type, reason: str, number: int = errno.EINVAL) -> KernelError:
        self._log.type(self._id, record, reason)
        return KernelError(number, reason)

    def _name(self, record: Type, *, needed: bool, pattern: re.Pattern[str] = _IDENTIFIER) -> None:
        if (needed or record.name) and not pattern.fullmatch(record.name):
            raise self._bad(record, "Invalid name")

    def _reference(self, record: Type, type_id: int, reason: str, *, void: bool = False) -> None:
        if (not type_id and not void) or type_id > MAX_TYPES:
            raise self._bad(record, reason)

    def _type(self, record: Type) -> None:
        match record:
            case Int():
                self._int(record)
            case Pointer():
                self._reference(record, record.type, "Invalid type_id", void=True)
            case Modifier():
                self._reference(record, record.type, "Invalid type_id", void=True)
                if record.kind is Kind.TYPE_TAG and not record.name:
                    raise self._bad(record, "Invalid name")
                if record.kind is not Kind.TYPE_TAG and record.name:
                    raise self._bad(record, "Invalid name")
            case Typedef():
                self._reference(record, record.type, "Invalid type_id", void=True)
                self._name(record, needed=True)
            case Array():
                self._reference(record, record.type, "Invalid elem")
                self._reference(record, record.index, "Invalid index")
            case Composite() | Enum() | DataSec():
                self._listed(record)
                return
            case Fwd() | Func():
                self._name(record, needed=True)
                if isinstance(record, Func) and record.linkage > Linkage.GLOBAL:
                    raise self._bad(record, "Invalid func linkage")
            case Var():
                self._name(record, needed=True, pattern=_SECTION)
                self._reference(record, record.type, "Invalid type_id")
                if record.linkage not in (Linkage.STATIC, Linkage.GLOBAL):
                    raise self._bad(record, "Linkage not supported")
            case Float():
                if record.size not in _FLOAT_SIZES:
                    raise self._bad(record, "Invalid type_size")
            case DeclTag():
                if not record.name:
                    raise self._bad(record, "Invalid value")
                if record.component < -1:
                    raise self._bad(record, "Invalid component_idx")
            case FuncProto():
                pass
        self._log.type(self._id, record)

    def _int(self, record: Int) -> None:
        bits = record.bits + record.offset
        if bits > 128:
            raise self._bad(record, "nr_bits exceeds 128")
        if (bits + 7) // 8 > record.size:
            raise self._bad(record, "nr_bits exceeds type_size")
        if record.encoding not in (Encoding.NONE, Encoding.SIGNED, Encoding.CHAR, Encoding.BOOL):
            raise self._bad(record, "Unsupported encoding", ENOTSUPP)

    def _listed(self, record: Composite | Enum | DataSec) -> None:
        """Kinds that are logged before what is in them."""
        if isinstance(record, Enum) and record.size not in (1, 2, 4, 8):
            raise self._bad(record, "Unexpected size")
        if isinstance(record, DataSec):
            if not record.size:
                raise self._bad(record, "size == 0")
            self._name(record, needed=True, pattern=_SECTION)
        else:
            self._name(record, needed=False)
        self._log.type(self._id, record)
        if isinstance(record, Composite):
            self._members(record)
        elif isinstance(record, Enum):
            for row in record.values:
                if not _IDENTIFIER.fullmatch(row.name):
                    raise self._bad(record, "Invalid name")
                self._log.line(f"\t{row.name} val={row.value}")
        else:
            self._placed(record)

    def _bad_member(self, record: Composite, member: Member, reason: str) -> KernelError:
        self._log.member(record, member, reason)
        return KernelError(errno.EINVAL, reason)

    def _members(self, record: Composite) -> None:
        last = 0
        for member in record.members:
            if member.name and not _IDENTIFIER.fullmatch(member.name):
                raise self._bad_member(record, member, "Invalid name")
            if not member.type or member.type > MAX_TYPES:
                raise self._bad_member(record, member, "Invalid type_id")
            if (record.kind is Kind.UNION and member.bit_offset) or last > member.bit_offset:
                raise self._bad_member(record, member, "Invalid member bits_offset")
            if (member.bit_offset + 7) // 8 > record.size:
                raise self._bad_member(record, member, "Member bits_offset exceeds its struct size")
            self._log.member(record, member)
            last = member.bit_offset

    def _bad_var(self, var: SecVar, reason: str) -> KernelError:
        self._log.var(var, reason)
        return KernelError(errno.EINVAL, reason)

    def _placed(self, record: DataSec) -> None:
        end = 0
        for var in record.vars:
            if not var.type or var.type > MAX_TYPES:
                raise self._bad_var(var, "Invalid type_id")
            if var.offset < end or var.offset >= record.size:
                raise self._bad_var(var, "Invalid offset")
            if not var.size or var.size > record.size:
                raise self._bad_var(var, "Invalid size")
            end = var.offset + var.size
            if end > record.size:
                raise self._bad_var(var, "Invalid offset+size")
            self._log.var(var)


def _type_tags(btf: Btf, log: VerifyLog) -> None:
    """Type tags come before other modifiers (`btf_check_type_tags`)."""
    for type_id, record in enumerate(btf.types):
        current = record
        in_tags = record.kind is Kind.TYPE_TAG
        while isinstance(current, Typedef | Modifier):
            if current.kind is Kind.TYPE_TAG and not in_tags:
                log.line("Type tags don't precede modifiers")
                raise KernelError(errno.EINVAL, f"[{type_id}] type tags don't precede modifiers")
            in_tags = current.kind is Kind.TYPE_TAG
            current = btf.type(current.type)
