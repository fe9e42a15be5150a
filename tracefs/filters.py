"""Filters of events: what a file `filter` holds and the native table behind it."""

import ctypes
import errno

from engine.env import poke32, poke64
from engine.epoch import publish
from engine.errors import KernelError
from engine.memory import Heap
from tracefs.context import Context
from tracefs.event_hit import Desc
from tracefs.fields import Field
from tracefs.filter_match import DROP, FILTER_HEAD, PASS, Row, filter_match
from tracefs.filter_parse import FilterError, Junction, Negation, Predicate, Term, parse_filter
from tracefs.ktext import c_string

__all__ = ["CompiledFilter", "EventFilter", "read_filter"]

_PAGE = 4096
_SUBSYSTEM = "event filter parse error"


def _wrap(value: int, field: Field) -> int:
    """`value` as wide as the field, extended as the field's own value is."""
    bits = field.size * 8
    value &= (1 << bits) - 1
    return value - (1 << bits) if field.signed and value >> bits - 1 else value


class CompiledFilter:
    """A parsed filter as a native table; `address` is what `Desc.FILTER` takes."""

    def __init__(self, heap: Heap, term: Term) -> None:
        self._heap = heap
        self._rows: list[tuple[Predicate, int, int]] = []
        start = self._place(term, PASS, DROP)
        self.address = heap.alloc(FILTER_HEAD + len(self._rows) * Row.BYTES)
        self._blocks = [self.address]
        poke64(self.address, filter_match.address)
        poke64(self.address + 8, start)
        for index, row in enumerate(self._rows):
            self._fill(self.address + FILTER_HEAD + index * Row.BYTES, *row)

    def _place(self, term: Term, if_true: int, if_false: int) -> int:
        """Number of the row where `term` starts, given where to go after it."""
        if isinstance(term, Negation):
            return self._place(term.term, if_false, if_true)
        if isinstance(term, Junction):
            right = self._place(term.right, if_true, if_false)
            if term.any:
                return self._place(term.left, if_true, right)
            return self._place(term.left, right, if_false)
        self._rows.append((term, if_true, if_false))
        return len(self._rows) - 1

    def _fill(self, row: int, predicate: Predicate, if_true: int, if_false: int) -> None:
        field = predicate.field
        value = _wrap(predicate.value, field) if field.size in (1, 2, 4, 8) else 0
        if predicate.text:
            value = self._heap.alloc(len(predicate.text))
            self._blocks.append(value)
            ctypes.memmove(value, predicate.text, len(predicate.text))
        poke32(row + Row.KIND, predicate.kind)
        poke32(row + Row.COMPARE, predicate.compare)
        poke32(row + Row.OFFSET, field.offset)
        poke32(row + Row.SIZE, field.size)
        poke32(row + Row.SIGNED, field.signed)
        poke32(row + Row.LENGTH, len(predicate.text))
        poke64(row + Row.VALUE, value)
        poke32(row + Row.IF_TRUE, if_true)
        poke32(row + Row.IF_FALSE, if_false)

    def free(self) -> None:
        """Give the table back; no hit may use it any more."""
        for block in self._blocks:
            self._heap.free(block)


def _error_text(text: str, error: FilterError) -> str:
    """What the file shows for a filter that was refused (`append_filter_err`)."""
    if not error.words:
        return f"{text}\nError: (0)\n\n"
    return f"{text}\n{' ' * min(error.position, len(text))}^\nparse_error: {error.words}\n\n"


def read_filter(data: bytes) -> str:
    """The text of a write, without white space at its end. EINVAL from one page on."""
    if len(data) >= _PAGE:
        raise KernelError(errno.EINVAL)
    return c_string(data).rstrip()


class EventFilter:
    """The filter of the event whose native descriptor is at `address`."""

    def __init__(self, context: Context, address: int, fields: tuple[Field, ...]) -> None:
        self._context = context
        self._address = address
        self.fields = fields
        self._compiled: CompiledFilter | None = None
        self._text = ""

    def text(self) -> bytes:
        """The filter, or what was wrong with the last one, or `none`."""
        return (self._text or "none\n").encode("latin-1")

    def store(self, data: bytes) -> None:
        """Set a filter; 0 removes it. A refused one removes it too, and is shown with its fault."""
        self.set(read_filter(data))

    def set(self, text: str) -> None:
        """Set the filter `text`. FilterError with an entry in error_log."""
        if text.strip() == "0":
            self._publish(None)
            self._text = ""
            return
        try:
            term = parse_filter(text, self.fields)
        except FilterError as error:
            self.refuse(text, error)
            raise
        self._publish(CompiledFilter(self._context.machine.heap, term))
        self._text = text + "\n"

    def refuse(self, text: str, error: FilterError) -> None:
        """Show `text` with its fault; nothing is filtered."""
        self._publish(None)
        self._text = _error_text(text, error)
        self._context.errors.add(_SUBSYSTEM, text, error.words or "Error", error.position)

    def release(self) -> None:
        """The event is gone."""
        self._publish(None)

    def _publish(self, compiled: CompiledFilter | None) -> None:
        old, self._compiled = self._compiled, compiled
        publish(self._address + Desc.FILTER, compiled.address if compiled else 0)
        if old is not None:
            self._context.machine.epoch.retire(old.free)
