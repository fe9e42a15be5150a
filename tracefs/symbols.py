"""Addresses as the trace output names them (kernel/trace/trace_output.c, `seq_print_ip_sym`)."""

from engine.kernel.functions import RETHOOK_TRAMPOLINE
from engine.kernel.symbols import SymbolTable

__all__ = ["SymbolNames"]

_KEEP = 4096


class SymbolNames:
    """Names of addresses, remembered: the same few come again and again."""

    def __init__(self, table: SymbolTable) -> None:
        self.table = table
        self._full: dict[int, str] = {}
        self._short: dict[int, str] = {}

    def full(self, address: int) -> str:
        """`name+0xOFFSET/0xSIZE`; the bare number outside of all symbols."""
        text = self._full.get(address)
        if text is None:
            found = self.table.resolve(address)
            text = f"0x{address:x}" if found is None else f"{found[0]}+0x{found[1]:x}/0x{found[2]:x}"
            if found is not None and found[0] == RETHOOK_TRAMPOLINE:
                text = "[unknown/kretprobe'd]"
            self._remember(self._full, address, text)
        return text

    def short(self, address: int) -> str:
        """`name`; the bare number outside of all symbols."""
        text = self._short.get(address)
        if text is None:
            found = self.table.resolve(address)
            text = f"0x{address:x}" if found is None else found[0]
            self._remember(self._short, address, text)
        return text

    def pointer(self, address: int) -> str:
        """As the conversion %pS prints it: without a name for the trampoline of return probes."""
        found = self.table.resolve(address)
        return f"0x{address:x}" if found is None else f"{found[0]}+0x{found[1]:x}/0x{found[2]:x}"

    @staticmethod
    def _remember(cache: dict[int, str], address: int, text: str) -> None:
        if len(cache) >= _KEEP:
            cache.clear()
        cache[address] = text
