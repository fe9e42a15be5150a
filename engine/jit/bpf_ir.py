"""Writing one LLVM function as text: values, blocks, and the registers' two views.

Text, because a builder of IR objects costs ten times as much for the same module. Registers live in stack
slots, which LLVM promotes; inside a block the last value of each is remembered, so slots are touched only
where blocks meet.
"""

from engine.isa import FP

__all__ = ["INT", "Body"]

INT = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}


class Body:
    """One function under construction. Values are LLVM operands as text: `%v7`, `42`, `@name`.

    `places` tells of pointers to a constant place in a map's values: (number of the map, offset).
    """

    def __init__(self, name: str, parameters: list[str], *, linkage: str = "internal") -> None:
        self.name = name
        self.parameters = parameters
        self.linkage = linkage
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.views = 0
        self.places: dict[str, tuple[int, int]] = {}
        self._serial = 0
        self._words: dict[int, str] = {}
        self._halves: dict[int, str] = {}
        self._pointers: dict[int, str] = {}
        self._dirty_words: set[int] = set()
        self._dirty_pointers: set[int] = set()

    def text(self) -> str:
        """The whole function."""
        args = ", ".join(f"i64 %{name}" for name in self.parameters)
        head = f"define {self.linkage} i64 @{self.name}({args}) nounwind null_pointer_is_valid {{"
        return "\n".join([head, "entry:", *self.entry, *self.lines, "}", ""])

    def fresh(self, stem: str = "v") -> str:
        """A name that is used nowhere else in this function."""
        self._serial += 1
        return f"{stem}{self._serial}"

    def value(self, text: str) -> str:
        """Emit an instruction that has a value; gives the operand."""
        name = f"%{self.fresh()}"
        self.lines.append(f" {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Emit an instruction without a value."""
        self.lines.append(" " + text)

    def label(self, name: str) -> None:
        """Begin block `name`. Remembered register values stay; see `forget`."""
        self.lines.append(f"{name}:")

    # Registers

    def begin(self, views: int) -> None:
        """Begin a block that several blocks may enter; registers of mask `views` have pointer views there."""
        self._words.clear()
        self._halves.clear()
        self._pointers.clear()
        self._dirty_words.clear()
        self._dirty_pointers.clear()
        self.views = views

    def flush(self) -> None:
        """Put changed registers into their slots; emit before the branch that ends a block."""
        for reg in sorted(self._dirty_words):
            self.do(f"store i64 {self._words[reg]}, ptr %r{reg}")
        for reg in sorted(self._dirty_pointers):
            if self.views >> reg & 1:
                self.do(f"store ptr {self._pointers[reg]}, ptr %p{reg}")
        self._dirty_words.clear()
        self._dirty_pointers.clear()

    def get(self, reg: int) -> str:
        """The word in `reg`."""
        if reg == FP:
            return "%fp"
        if reg not in self._words:
            self._words[reg] = self.value(f"load i64, ptr %r{reg}")
        return self._words[reg]

    def get32(self, reg: int) -> str:
        """The low half of `reg`, an i32."""
        if reg not in self._halves:
            self._halves[reg] = self.value(f"trunc i64 {self.get(reg)} to i32")
        return self._halves[reg]

    def has_view(self, reg: int) -> bool:
        """Whether `reg` is known to hold a pointer here."""
        return bool(self.views >> reg & 1)

    def pointer(self, reg: int) -> str:
        """`reg` as a pointer: its view, else made from the word."""
        if reg == FP:
            return "%fpp"
        if self.has_view(reg):
            if reg not in self._pointers:
                self._pointers[reg] = self.value(f"load ptr, ptr %p{reg}")
            return self._pointers[reg]
        return self.value(f"inttoptr i64 {self.get(reg)} to ptr")

    def set(self, reg: int, word: str, pointer: str | None = None) -> None:
        """Assign `reg`; with `pointer` it has a pointer view from now on, without it none."""
        self._words[reg] = word
        self._dirty_words.add(reg)
        self._halves.pop(reg, None)
        self._pointers.pop(reg, None)
        self._dirty_pointers.discard(reg)
        if pointer is None:
            self.views &= ~(1 << reg)
        else:
            self.views |= 1 << reg
            self._pointers[reg] = pointer
            self._dirty_pointers.add(reg)

    def set32(self, reg: int, half: str) -> None:
        """Assign `reg` an i32, zero-extended as every 32-bit operation does."""
        self.set(reg, self.value(f"zext i32 {half} to i64"))
        self._halves[reg] = half

    def drop_views(self, mask: int) -> None:
        """The registers of `mask` hold no pointers any more (clobbered by a call)."""
        self.views &= ~mask
        for reg in range(FP):
            if mask >> reg & 1:
                self._pointers.pop(reg, None)
                self._dirty_pointers.discard(reg)

    def gep(self, pointer: str, offset: int | str) -> str:
        """`pointer` plus `offset` bytes."""
        if offset in (0, "0"):
            return pointer
        moved = self.value(f"getelementptr i8, ptr {pointer}, i64 {offset}")
        if pointer in self.places and isinstance(offset, int):
            number, at = self.places[pointer]
            self.places[moved] = (number, at + offset)
        return moved
