"""One program's LLVM module: what its functions share, and what its code depends on.

It knows the program's maps and natives by symbol, never by address: code is the same for every load of
the same program over maps of the same shape, so it can be cached; addresses are bound when it is linked.

    @map.N, @map.N.data   header and values of map N of `Verified.used_maps`
    @native.NAME          a native function that is called across modules
    @sub.N                subprogram N, fn(r1, r2, r3, r4, r5, env) -> r0
    @prog                 what is exported: fn(ctx, env) -> r0
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

from engine.abi.bpf import FuncId, MapCreateFlag, MapType
from engine.env import peek32, peek64
from engine.isa import Form, Insn, PseudoSrc, encode
from engine.jit.build import new_module
from engine.jit.emit import Emission
from engine.jit.lang import Native
from engine.jit.source import closure, key_of
from engine.maps.header import NO_LOCK, MapHdr, MapOps
from engine.maygoto import more_turns
from engine.progspec import MapLike
from engine.verifier import Subprog, Verified

__all__ = ["HelperLike", "Included", "NativeMap", "Unit"]


class NativeMap(MapLike, Protocol):
    """What native code needs of a map beyond what the verifier reads."""

    address: int
    ops: MapOps
    shape: Sequence[int]


class HelperLike(Protocol):
    """What native code needs of a helper: `native` is `fn(env, a1, ..)`; its result may be a pointer."""

    @property
    def native(self) -> Native: ...

    @property
    def returns_pointer(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Included:
    """A native function taken into the module, with constants to append to the helper's arguments."""

    native: Native
    constants: tuple[int, ...] = ()


_SHAPED = {
    FuncId.map_lookup_elem: ("lookup_shaped", 3),
    FuncId.map_update_elem: ("update_shaped", 5),
    FuncId.map_delete_elem: ("delete_shaped", 3),
}
_EMITTED = frozenset((FuncId.tail_call, FuncId.loop))
"""Helpers that are neither included nor called: `bpf_calls` writes them out."""
_FLAT = frozenset((MapType.ARRAY, MapType.PERCPU_ARRAY))
_NO_FACTS = (None,) * 5


def _digest_of_layouts() -> bytes:
    engine = Path(__file__).parent.parent
    sources = [*sorted((engine / "isa").glob("*.py")), engine / "env.py", engine / "memory.py"]
    sources += [engine / "maps" / "header.py", engine / "abi" / "ctx.py"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).digest()


_LAYOUTS = _digest_of_layouts()
"""What code depends on besides the program and the compiler: opcodes, and layouts of memory."""


class Unit:
    """A program being compiled."""

    def __init__(self, verified: Verified, helpers: Mapping[int, HelperLike], arguments: int = 1) -> None:
        self.verified = verified
        self.arguments = arguments
        self.helpers = helpers
        self.emission = Emission(new_module("bpf"))
        self.declared: dict[str, int] = {}
        self._subprogs = {sub.start: i for i, sub in enumerate(verified.subprogs)}
        self._numbers = {id(used): i for i, used in enumerate(verified.used_maps)}
        self._templates = {id(getattr(used, "inner", None)) for used in verified.used_maps}

    def subprog(self, start: int) -> tuple[str, Subprog]:
        """Symbol and description of the subprogram that begins at `start`."""
        number = self._subprogs[start]
        return f"@sub.{number}", self.verified.subprogs[number]

    def map_number(self, used: MapLike) -> int:
        """Which of `Verified.used_maps` it is."""
        return self._numbers[id(used)]

    def content(self, number: int) -> bytes | None:
        """What map `number` holds for ever, where nobody can write any more (`bpf_map_is_rdonly`)."""
        used = self.verified.used_maps[number]
        constant = used.type == MapType.ARRAY and used.frozen and used.flags & MapCreateFlag.RDONLY_PROG
        return used.lookup(bytes(4)) if constant else None

    # Helpers

    def call_map(self, index: int) -> MapLike | None:
        """The map that the call at `index` always works on.

        None also for the template of a map of maps: the call may be on another map like it.
        """
        used = self.verified.aux[index].call_map
        known = id(used) in self._numbers and id(used) not in self._templates
        return used if known else None

    @cached_property
    def helper_calls(self) -> list[tuple[int, Insn]]:
        """Index and instruction of every helper call that some path reaches."""
        verified = self.verified
        return [
            (index, insn)
            for index, insn in enumerate(verified.insns)
            if (row := insn.opcode)
            and row.form is Form.CALL
            and insn.src == PseudoSrc.CALL_HELPER
            and verified.aux[index].seen
        ]

    def returns_pointer(self, insn: Insn) -> bool:
        """Whether the call leaves a pointer (or null) in r0. Code that is never reached may call anything."""
        helper = self.helpers.get(insn.imm) if insn.src == PseudoSrc.CALL_HELPER else None
        return helper is not None and helper.returns_pointer

    def flat_map(self, index: int, number: int) -> NativeMap | None:
        """The array that the lookup at `index` always goes to, when its elements lie one after the other."""
        used = self.call_map(index)
        if number == FuncId.map_lookup_elem and used is not None and used.type in _FLAT:
            return cast(NativeMap, used)
        return None

    def included(self, index: int, number: int) -> Included | None:
        """The native that replaces the helper call at `index` inside the module; None: call across."""
        if number in _EMITTED or self.flat_map(index, number) is not None:
            return None
        used = self.call_map(index)
        if used is not None and number in _SHAPED:
            name, arity = _SHAPED[FuncId(number)]
            known = cast(NativeMap, used)
            shaped: Native | None = getattr(known.ops, name)
            locked = number == FuncId.map_update_elem and peek32(known.address + MapHdr.LOCK_OFF) != NO_LOCK
            if shaped is not None and not locked:
                return Included(shaped, (*known.shape, known.value_size)[: shaped.arity - arity])
        native = self.helpers[number].native
        return Included(native) if native.inline else None

    def called(self, index: int, number: int) -> bool:
        """Whether the helper call at `index` goes to another module."""
        return (
            number not in _EMITTED
            and self.flat_map(index, number) is None
            and self.included(index, number) is None
        )

    # Identity and addresses

    def imports(self) -> dict[str, int]:
        """Addresses of the module's undefined symbols."""
        found = {}
        for number, used in enumerate(self.verified.used_maps):
            address = cast(NativeMap, used).address
            found[f"map.{number}"] = address
            found[f"map.{number}.data"] = peek64(address + MapHdr.DATA)
        for index, insn in self.helper_calls:
            if self.called(index, insn.imm):
                found[f"native.{FuncId(insn.imm).name}"] = self.helpers[insn.imm].native.address
        return found

    def key(self) -> str:
        """A digest of all that the module's code depends on."""
        verified = self.verified
        digest = hashlib.sha256(encode(verified.insns))
        digest.update(_LAYOUTS)
        digest.update(bytes(aux.seen for aux in verified.aux))
        digest.update(bytes(aux.ptr for aux in verified.aux))
        for index, aux in enumerate(verified.aux):
            if (facts := (aux.map, aux.call_map, aux.target, aux.const_key, aux.call_subprog)) != _NO_FACTS:
                maps = [self._numbers.get(id(used)) for used in (aux.map, self.call_map(index))]
                digest.update(repr((index, aux.map_off, maps, facts[2:])).encode())
        for sub in verified.subprogs:
            digest.update(repr((sub.start, sub.end, sub.stack_depth)).encode())
        for number, used in enumerate(verified.used_maps):
            known = cast(NativeMap, used)
            shape = (int(known.type), known.key_size, known.value_size, known.max_entries, *known.shape)
            digest.update(repr(shape).encode() + (self.content(number) or b""))
        rows = [row for insn in verified.insns if (row := insn.opcode)]
        natives = [more_turns] if any(row.form is Form.MAY_GOTO for row in rows) else []
        for index, insn in self.helper_calls:
            helper = self.helpers[insn.imm]
            digest.update(f"{index} {helper.native.arity} {helper.returns_pointer}".encode())
            if (wanted := self.included(index, insn.imm)) is not None:
                natives.append(wanted.native)
        digest.update(key_of(closure(natives)).encode())
        return digest.hexdigest()
