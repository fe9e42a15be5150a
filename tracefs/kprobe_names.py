"""The head of a kprobe_events line: `p|r[MAXACTIVE][:[GROUP/][EVENT]] PLACE`.

Order of checks, errors and positions of errors as `__trace_kprobe_create` of kernel/trace/trace_kprobe.c.
"""

import errno
import re
from dataclasses import dataclass

from engine.errors import KernelError
from engine.kernel.symbols import SymbolTable
from tracefs.error_log import ProbeLog
from tracefs.fetch_args import is_good_name
from tracefs.fetch_insn import ProbeFlag
from tracefs.ktext import kstrtol, kstrtouint, kstrtoul

__all__ = ["DEFAULT_GROUP", "Place", "parse_event_name", "parse_maxactive", "parse_place"]

DEFAULT_GROUP = "kprobes"
MAX_EVENT_NAME_LEN = 64
_MAXACTIVE_MAX = 4096
_UINT_MAX = (1 << 32) - 1
_SYSTEM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a probe goes: a symbol and an offset, or an address."""

    symbol: str | None
    offset: int
    address: int
    is_return: bool

    @property
    def flags(self) -> ProbeFlag:
        """What its arguments may use."""
        if self.is_return:
            return ProbeFlag.RETURN
        return ProbeFlag.FENTRY if self.symbol is not None and self.offset == 0 else ProbeFlag(0)

    def default_name(self) -> str:
        """The event's name when none is given."""
        kind = "r" if self.is_return else "p"
        if self.symbol is None:
            name = f"{kind}_0x{self.address:016x}"
        else:
            name = f"{kind}_{self.symbol}_{self.offset}"
        return re.sub(r"[^A-Za-z0-9_]", "_", name[: MAX_EVENT_NAME_LEN - 1])


def parse_maxactive(log: ProbeLog, head: str, is_return: bool) -> int:
    """The number behind `r`; 0 if there is none. EINVAL."""
    number = head[1:].split(":", 1)[0]
    if not number[:1].isdigit():
        return 0
    if not is_return:
        raise log.error(1, "Maxactive is not for kprobe")
    try:
        value = kstrtouint(number, 0)
    except KernelError:
        value = 0
    if value == 0:
        raise log.error(1, "Invalid maxactive number")
    if value > _MAXACTIVE_MAX:
        raise log.error(1, "Maxactive is too big")
    return value


def _split_offset(log: ProbeLog, symbol: str) -> tuple[str, int]:
    """`SYMBOL[+OFFSET]` (`traceprobe_split_symbol_offset`)."""
    match = re.search(r"[+-]", symbol)
    if match is None:
        return symbol, 0
    try:
        offset = kstrtol(symbol[match.start() :], 0)
    except KernelError:
        offset = -1
    if not 0 <= offset <= _UINT_MAX:
        raise log.error(0, "Invalid probed address or symbol")
    return symbol[: match.start()], offset


def parse_place(log: ProbeLog, word: str, is_return: bool, symbols: SymbolTable) -> Place:
    """The second word of a line. EINVAL, or ENOENT for a symbol that is not there."""
    try:
        return Place(None, 0, kstrtoul(word, 0), is_return)
    except KernelError:
        pass
    log.index = 1
    if "/" in word and ":" in word:
        raise KernelError(errno.EINVAL)
    symbol, percent, suffix = word.partition("%")
    if percent:
        if suffix != "return":
            raise log.error(len(symbol), "Invalid probed address suffix")
        is_return = True
    symbol, offset = _split_offset(log, symbol)
    in_module = ":" in symbol and "::" not in symbol
    found = symbols.lookup(symbol)
    if found is not None and is_return and offset != 0:
        raise log.error(0, "Retprobe address must be an function entry")
    if found is None and not in_module:
        raise log.error(0, "Invalid probed address or symbol", errno.ENOENT)
    log.index = 0
    return Place(symbol, offset, 0, is_return)


def parse_event_name(log: ProbeLog, text: str, offset: int) -> tuple[str, str | None]:
    """`[GROUP/][EVENT]` at `offset` of the first word: group, and event or None for the default. EINVAL."""
    group = DEFAULT_GROUP
    slash = text.find("/")
    if slash < 0:
        slash = text.find(".")
    event = text
    if slash >= 0:
        group, event = text[:slash], text[slash + 1 :]
        if not group:
            raise log.error(offset, "Group name is not specified")
        if len(group) + 1 > MAX_EVENT_NAME_LEN:
            raise log.error(offset, "Group name is too long")
        if not _SYSTEM_NAME.fullmatch(group):
            raise log.error(offset, "Group name must follow the same rules as C identifiers")
        offset += slash + 1
    if not event:
        if slash >= 0:
            return group, None
        raise log.error(offset, "Event name is not specified")
    if len(event) >= MAX_EVENT_NAME_LEN:
        raise log.error(offset, "Event name is too long")
    if not is_good_name(event):
        raise log.error(offset, "Event name must follow the same rules as C identifiers")
    return group, event
