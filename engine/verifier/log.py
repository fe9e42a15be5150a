"""The verifier's log: text with the kernel's levels, and states printed in its notation
(`kernel/bpf/log.c`).

Level 1 keeps the path that failed, level 2 every path, level 4 adds statistics. `shown` is what a caller's
buffer gets.
"""

from engine.verifier.bounds import (
    S32_MAX,
    S32_MIN,
    S64_MAX,
    S64_MIN,
    U32_MAX,
    U64_MAX,
    Bounds,
)
from engine.verifier.regs import ADD_CONST, Reg, RegType
from engine.verifier.state import Frame, State
from engine.verifier.tnum import M32, M64, tnum_str

__all__ = ["LEVEL1", "LEVEL2", "QUIET", "STATS", "Log", "alignment", "frame_text", "reg_text"]

LEVEL1, LEVEL2, STATS = 1, 2, 4
QUIET = 8
"""Refusals and the last line only: level 1 as long as nothing is refused."""

_DECIMAL_S16 = range(-(1 << 15), 1 << 15)
_DECIMAL_U16 = (1 << 16) - 1
_MAX_TEXT = 1 << 26


class Log:
    """Text that grows, and can be cut back to a position. `longest`: the most characters that it ever had.

    `summary`: what remains of a success is wanted.
    """

    def __init__(self, level: int, *, summary: bool = False) -> None:
        self.level = level
        self.summary = summary or bool(level & (LEVEL1 | LEVEL2))
        self._parts: list[str] = []
        self.pos = 0
        self.longest = 0

    def write(self, text: str) -> None:
        """Add text, whatever the level; nothing once the log has grown absurdly large."""
        if self.pos < _MAX_TEXT:
            self._parts.append(text)
            self.pos += len(text)
            self.longest = max(self.longest, self.pos)

    def cut(self, pos: int) -> None:
        """Forget all text after `pos`."""
        while self.pos > pos:
            last = self._parts.pop()
            self.pos -= len(last)
            if self.pos < pos:
                kept = last[: pos - self.pos]
                self._parts.append(kept)
                self.pos = pos

    @property
    def text(self) -> str:
        """The whole log."""
        return "".join(self._parts)


def alignment(width: int) -> int:
    """Padding after an instruction of this width, before its `;` comment."""
    return (max(width + 4, 40) + 7) // 8 * 8 - width - 1


def _signed(value: int) -> str:
    return str(value) if value in _DECIMAL_S16 else f"{value & M64:#x}"


def _unsigned(value: int) -> str:
    return str(value) if value <= _DECIMAL_U16 else f"{value:#x}"


def _short(value: int) -> int:
    """A 32-bit bound as the log compares and prints it: short ones with their sign, others as 32 bits."""
    return value if value in _DECIMAL_S16 else value & U32_MAX


def _ranges(b: Bounds) -> list[str]:
    """`smin=umin=0` and so on: the bounds that say something, equal ones together."""
    rows: list[tuple[str, int, bool]] = [
        ("smin", b.smin, b.smin == S64_MIN),
        ("smax", b.smax, b.smax == S64_MAX),
        ("umin", b.umin, b.umin == 0),
        ("umax", b.umax, b.umax == U64_MAX),
        ("smin32", _short(b.s32min), b.s32min == S32_MIN),
        ("smax32", _short(b.s32max), b.s32max == S32_MAX),
        ("umin32", b.u32min, b.u32min == 0),
        ("umax32", b.u32max, b.u32max == U32_MAX),
    ]
    omitted = [row[2] for row in rows]
    texts = []
    for i, (name, value, _) in enumerate(rows):
        if omitted[i]:
            continue
        names = [name]
        for j in range(i + 2, len(rows), 2):
            negatives = name[0] == "s" and value < 0, rows[j][0][0] == "s" and rows[j][1] < 0
            if not omitted[j] and rows[j][1] == value and negatives[0] == negatives[1]:
                omitted[j] = True
                names.append(rows[j][0])
        number = _signed(value) if name[0] == "s" else _unsigned(value)
        texts.append("=".join(names) + "=" + number)
    return texts


def reg_text(reg: Reg, frameno: int) -> str:
    """One register as the log shows it in frame `frameno`."""
    b = reg.b
    if reg.type == RegType.SCALAR:
        prefix = "P" if reg.precise else ""
        if not b.m:
            return prefix + _signed(b.smin)
        prefix += "scalar"
    else:
        prefix = reg.name
    if reg.type == RegType.STACK:
        if frameno != reg.n:
            prefix += f"[{reg.n}]"
        if not b.m:
            return prefix + _signed(b.smin + reg.off)
    if reg.type == RegType.BTF:
        prefix += reg.map.name
    return f"{prefix}({','.join(_fields(reg))})"


def _fields(reg: Reg) -> list[str]:
    b, fields = reg.b, []
    if reg.id:
        delta = f"{reg.off:+d}" if reg.id & ADD_CONST else ""
        fields.append(f"id={reg.id & ~ADD_CONST}{delta}")
    if reg.ref:
        fields.append(f"ref_obj_id={reg.ref}")
    if reg.type in (RegType.MAP_PTR, RegType.MAP_VALUE, RegType.MAP_KEY):
        if reg.map.name:
            fields.append(f"map={reg.map.name}")
        fields.append(f"ks={reg.map.key_size},vs={reg.map.value_size}")
    if reg.type != RegType.SCALAR and reg.off:
        fields.append(f"off={_signed(reg.off)}")
    if reg.type in (RegType.PACKET, RegType.PACKET_META):
        fields.append(f"r={_unsigned(reg.n & M64)}")
    if reg.type == RegType.MEM:
        fields.append(f"sz={_unsigned(reg.n & M32)}")
    if not b.m:
        if b.v:
            fields.append(f"imm={_signed(b.smin)}")
    else:
        fields += _ranges(b)
        if b.m != M64:
            fields.append(f"var_off={tnum_str(b.v, b.m)}")
    return fields


def frame_text(state: State, frame: Frame, regs: int = -1, slots: int = -1) -> str:
    """A frame on one line; with the bit masks `regs` and `slots` only those of it."""
    parts = [f" frame{frame.frameno}:"] if frame.frameno else []
    for number, reg in enumerate(frame.regs):
        if reg.type != RegType.NOT_INIT and regs >> number & 1:
            parts.append(f" R{number}={reg_text(reg, frame.frameno)}")
    for i, slot in enumerate(frame.stack):
        if slot.kinds == "????????" or not slots >> i & 1:
            continue
        text = f" fp{-8 * (i + 1)}="
        if slot.kinds[7] == "r":
            text += slot.kinds[: slot.kinds.index("r")] + reg_text(slot.reg, frame.frameno)
        elif slot.kinds[7] == "d":
            text += f"dynptr_{slot.reg.map}"
        else:
            text += slot.kinds
        parts.append(text)
    refs = [ref.id for ref in state.refs]
    if state.active_lock is not None:
        refs.append(state.active_lock[1])
    if refs:
        parts.append(" refs=" + ",".join(map(str, refs)))
    if frame.in_callback:
        parts.append(" cb")
    return "".join(parts) + "\n"
