"""bpftool's words for maps: `type hash key 4 value 8 entries 1024`, `update key 1 0 0 0 value 9 0`.

As bpftool-map(8): numbers are C's (0x.., 0..), `hex` makes them hexadecimal without prefix, a key or value
is a list of bytes, a map or program is `id N`, `name S` or `pinned FILE`. With one more form: a single number
stands for the whole key or value, little-endian.
"""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from engine.abi.bpf import MapType, UpdateFlag
from engine.errors import KernelError
from engine.maps import Map, MapSpec
from engine.maps.hash_of_maps import HashOfMaps
from engine.maps.objects import ObjectArray
from engine.progs import Prog

__all__ = ["Command", "Names", "parse_command", "parse_map"]

_SIZES = {"key": "key_size", "value": "value_size", "entries": "max_entries", "flags": "flags"}
_WORDS = frozenset({"key", "value", "any", "exist", "noexist"})
_OF_OBJECTS = frozenset({MapType.PROG_ARRAY, MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_REFERRING = ("id", "name", "pinned")
_FLAGS = {"any": UpdateFlag.ANY, "noexist": UpdateFlag.NOEXIST, "exist": UpdateFlag.EXIST}


class Names(Protocol):
    """Finds what bpftool's words refer to; `word` is `id`, `name` or `pinned`. Raises KernelError."""

    def find_map(self, word: str, name: str) -> Map:
        """A map."""

    def find_prog(self, word: str, name: str) -> Prog:
        """A program."""


def _refuse(message: str) -> KernelError:
    return KernelError(errno.EINVAL, message)


def _number(word: str, base: int = 0) -> int:
    """strtoul(3) of a whole word."""
    try:
        if base == 0 and len(word) > 1 and word[0] == "0" and word.isdigit():
            return int(word, 8)
        return int(word, base)
    except ValueError:
        raise _refuse(f"not a number: {word}") from None


def parse_map(text: str, name: str, names: Names) -> MapSpec:
    """The map that a line describes; it is called `name` unless the line says otherwise.

    Raises KernelError(EINVAL), and what `names` raises.
    """
    line = _Line(text.split())
    if not line.has():
        raise _refuse("expected type T key N value N entries N [name S] [flags N] [inner_map M]")
    spec = MapSpec(MapType.UNSPEC, 0, 0, 0, name=name[:15])
    while line.has():
        word = line.take()
        if word == "type":
            given = line.take()
            known = MapType.__members__.get(given.upper())
            if known is None:
                raise _refuse(f"unknown map type: {given}")
            spec.type = known
        elif word == "name":
            spec.name = line.take()
        elif word == "inner_map":
            spec.inner = names.find_map(*line.reference())
        elif word in _SIZES:
            setattr(spec, _SIZES[word], _number(line.take()))
        else:
            raise _refuse(f"unknown word: {word}")
    return spec


@dataclass(frozen=True, slots=True)
class Command:
    """What a line asks of a map: the verb and what it needs. `item` is a value that is a map or program."""

    verb: str
    key: bytes = b""
    value: bytes = b""
    flags: int = 0
    item: Map | Prog | None = None

    def apply(self, target: Map) -> None:
        """Do it. Raises KernelError as the map does."""
        _VERBS[self.verb](target, self)


def _update(target: Map, command: Command) -> None:
    if isinstance(target, ObjectArray | HashOfMaps):
        target.update_object(command.key, command.item, command.flags)
        return
    target.update(command.key, command.value, command.flags)


def _delete(target: Map, command: Command) -> None:
    target.delete(command.key)


def _push(target: Map, command: Command) -> None:
    target.push(command.value, command.flags)


def _pop(target: Map, _: Command) -> None:
    target.pop()


def _freeze(target: Map, _: Command) -> None:
    target.freeze()


_VERBS: dict[str, Callable[[Map, Command], None]] = {
    "update": _update,
    "delete": _delete,
    "push": _push,
    "enqueue": _push,
    "pop": _pop,
    "dequeue": _pop,
    "freeze": _freeze,
}


class _Line:
    """The words of a command, read from the left."""

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def has(self) -> bool:
        return bool(self._words)

    def take(self) -> str:
        if not self._words:
            raise _refuse("the line ends too early")
        return self._words.pop(0)

    def expect(self, word: str) -> None:
        if self.take() != word:
            raise _refuse(f"expected '{word}'")

    def data(self, size: int) -> bytes:
        """Bytes one by one, or one number for all of them."""
        base = 0
        if self._words[:1] == ["hex"]:
            base = 16
            del self._words[0]
        words = list(self._until_keyword())
        if not words:
            raise _refuse("expected bytes")
        numbers = [_number(word, base) for word in words]
        if len(numbers) == 1 and size in (1, 2, 4, 8):
            return _whole(numbers[0], size)
        if len(numbers) != size or any(not 0 <= number <= 255 for number in numbers):
            raise _refuse(f"expected {size} bytes, not {len(numbers)}")
        return bytes(numbers)

    def reference(self) -> tuple[str, str]:
        """`id N`, `name S` or `pinned FILE`."""
        word = self.take()
        if word not in _REFERRING:
            raise _refuse(f"expected id, name or pinned, not {word}")
        return word, self.take()

    def _until_keyword(self) -> Iterator[str]:
        while self._words and self._words[0] not in _WORDS:
            yield self._words.pop(0)


def _whole(number: int, size: int) -> bytes:
    try:
        return number.to_bytes(size, "little", signed=number < 0)
    except OverflowError:
        raise _refuse(f"{number} does not fit in {size} bytes") from None


def _value(line: _Line, target: Map) -> bytes:
    """A value; of a per-CPU map, the same one for each CPU, as bpftool has it."""
    line.expect("value")
    value = line.data(target.value_size)
    if target.user_value_size == target.value_size:
        return value
    slot = value.ljust(target.spec.value_stride, b"\0")
    return slot * (target.user_value_size // len(slot))


def _item(line: _Line, target: Map, names: Names) -> Map | Prog:
    """A value that is a map or a program."""
    line.expect("value")
    find = names.find_prog if target.type == MapType.PROG_ARRAY else names.find_map
    return find(*line.reference())


def parse_command(text: str, target: Map, names: Names) -> Command:
    """What a line asks of `target`. Raises KernelError(EINVAL), and what `names` raises."""
    line = _Line(text.split())
    verb = line.take()
    if verb not in _VERBS:
        raise _refuse(f"unknown command: {verb}")
    key = value = b""
    flags = 0
    item = None
    if verb in ("update", "delete") and target.key_size:
        line.expect("key")
        key = line.data(target.key_size)
    if verb == "update" and target.type in _OF_OBJECTS:
        item = _item(line, target, names)
    elif verb in ("update", "push", "enqueue"):
        value = _value(line, target)
    if verb == "update" and line.has():
        word = line.take()
        if word not in _FLAGS:
            raise _refuse(f"expected any, exist or noexist, not {word}")
        flags = _FLAGS[word]
    if line.has():
        raise _refuse(f"words left over: {line.take()} ...")
    return Command(verb, key, value, flags, item)
