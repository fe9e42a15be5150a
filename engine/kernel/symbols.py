"""Symbols of the modelled kernel: sorted, sized text addresses in the kernel half (compare /proc/kallsyms).

Addresses are fixed: the same in every run. Some symbols are only there to be named (`probeable` false): the
code that a return address points into, and what Linux blacklists.
"""

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["TEXT_BASE", "TEXT_END", "Symbol", "SymbolTable"]

TEXT_BASE = 0xFFFF_FFFF_8100_0000
"""Where kernel text begins (`_stext` without address randomisation)."""
TEXT_END = 0xFFFF_FFFF_8200_0000


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function: [address, address + size)."""

    name: str
    address: int
    size: int
    probeable: bool = True


class SymbolTable:
    """Lookup by name and by address. Several names may share an address; the first given is its name."""

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        self._by_name: dict[str, Symbol] = {}
        self._by_address: dict[int, Symbol] = {}
        for symbol in symbols:
            if symbol.name in self._by_name:
                raise ValueError(f"two symbols called {symbol.name}")
            self._by_name[symbol.name] = symbol
            self._by_address.setdefault(symbol.address, symbol)
        self._starts = sorted(self._by_address)

    def lookup(self, name: str) -> Symbol | None:
        """The symbol of exactly that name."""
        return self._by_name.get(name)

    def at(self, address: int) -> Symbol | None:
        """The symbol that covers `address`."""
        i = bisect.bisect_right(self._starts, address) - 1
        if i < 0:
            return None
        symbol = self._by_address[self._starts[i]]
        return symbol if address < symbol.address + symbol.size else None

    def resolve(self, address: int) -> tuple[str, int, int] | None:
        """(name, offset, size) as `name+offset/size` prints, or None outside of all symbols."""
        symbol = self.at(address)
        return None if symbol is None else (symbol.name, address - symbol.address, symbol.size)

    def __iter__(self) -> Iterator[Symbol]:
        """All symbols by address, then name."""
        return iter(sorted(self._by_name.values(), key=lambda symbol: (symbol.address, symbol.name)))
