"""The modelled kernel as one object: its symbols and its tasks."""

from engine.kernel.btf import kernel_btf
from engine.kernel.functions import symbol_table
from engine.kernel.symtab import publish_symbols
from engine.kernel.tasks import TaskAllocator
from engine.memory import Heap, Region

__all__ = ["Kernel"]


class Kernel:
    """What `Machine.kernel` is."""

    def __init__(self, heap: Heap, arena: Region, ctl: int) -> None:
        self.symbols = symbol_table()
        publish_symbols(heap, ctl, self.symbols)
        self.tasks = TaskAllocator(heap, arena.address, arena.size, ctl)

    def btf(self) -> bytes:
        """BTF of the modelled kernel (`btf/vmlinux`)."""
        return kernel_btf()

    def available_filter_functions(self) -> list[str]:
        """Every name that can fire, by address."""
        return [symbol.name for symbol in self.symbols if symbol.probeable]
