"""Random calls of helpers: arguments that fit the prototype most of the time, and anything else otherwise."""

import ctypes
import os
import random
import struct
from dataclasses import dataclass

from engine.abi.bpf import Cmd, MapCreateFlag, MapType, ProgType
from engine.btf.build import BtfBuilder
from engine.btf.types import Encoding
from engine.helpers import HELPERS
from engine.helpers.proto import Arg
from engine.isa import Alu, Class, Insn, Jmp, Mode, Size, Source
from engine.progspec import MapLike, ProgFlag
from tests.differential.fakemap import FakeMap
from tests.differential.objects import load_btf
from tests.kernel_oracle import bpf, create_map

__all__ = ["HelperCase", "HelperMaps", "helper_program"]

_SHAPES = (
    (MapType.ARRAY, 4, 48, 4, 0),
    (MapType.HASH, 8, 64, 16, 0),
    (MapType.PERCPU_ARRAY, 4, 16, 4, 0),
    (MapType.RINGBUF, 0, 0, 4096, 0),
    (MapType.PERF_EVENT_ARRAY, 4, 4, 2, 0),
    (MapType.PROG_ARRAY, 4, 4, 4, 0),
    (MapType.PERCPU_HASH, 8, 16, 4, 0),
    (MapType.LRU_HASH, 4, 8, 4, 0),
    (MapType.LPM_TRIE, 8, 8, 4, MapCreateFlag.NO_PREALLOC),
    (MapType.CGROUP_ARRAY, 4, 4, 2, 0),
    (MapType.STACK, 0, 8, 8, 0),
    (MapType.BLOOM_FILTER, 0, 8, 8, 0),
    (MapType.TASK_STORAGE, 4, 4, 0, MapCreateFlag.NO_PREALLOC),
    (MapType.QUEUE, 0, 8, 8, 0),
    (MapType.STACK_TRACE, 4, 160, 8, 0),
    (MapType.DEVMAP, 4, 8, 4, 0),
    (MapType.DEVMAP_HASH, 4, 4, 4, 0),
    (MapType.CPUMAP, 4, 4, 2, 0),
    (MapType.XSKMAP, 4, 4, 4, 0),
    (MapType.ARRAY, 4, 64, 1, MapCreateFlag.RDONLY_PROG),
)
_CONTENT = b"%d %s\0".ljust(64, b"\0")
_TYPES = (
    ProgType.KPROBE,
    ProgType.KPROBE,
    ProgType.TRACEPOINT,
    ProgType.PERF_EVENT,
    ProgType.RAW_TRACEPOINT,
    ProgType.SOCKET_FILTER,
    ProgType.XDP,
    ProgType.SCHED_CLS,
    ProgType.CGROUP_SKB,
    ProgType.SYSCALL,
)
_MOV, _ADD = Class.ALU64 | Alu.MOV, Class.ALU64 | Alu.ADD
_LOAD = Class.LDX | Mode.MEM | Size.DW
_PRIVATE = frozenset({Arg.PTR_TO_FUNC})


class HelperMaps:
    """One map of each family, the last read-only with text; in the kernel and for the engine."""

    def __init__(self) -> None:
        builder = BtfBuilder()
        number = builder.integer("int", 4, Encoding.SIGNED)
        types = load_btf(builder.build())
        typed = {MapType.TASK_STORAGE: (types, number, number)}
        self.fds = [create_map(*shape, btf=typed.get(shape[0], (0, 0, 0))) for shape in _SHAPES]
        os.close(types)
        fakes = [FakeMap(*shape) for shape in _SHAPES]
        self.text_fd = self.fds[-1]
        fakes[-1].frozen, fakes[-1].content = True, _CONTENT
        self.known: dict[int, MapLike] = dict(zip(self.fds, fakes, strict=True))
        key = ctypes.create_string_buffer(4)
        value = ctypes.create_string_buffer(_CONTENT, len(_CONTENT))
        attr = struct.pack("<IIQQQ", self.text_fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0)
        bpf(Cmd.MAP_UPDATE_ELEM, attr)
        bpf(Cmd.MAP_FREEZE, struct.pack("<I", self.text_fd))

    def close(self) -> None:
        """Give the maps back."""
        for fd in self.fds:
            os.close(fd)


@dataclass(frozen=True)
class HelperCase:
    """A program that calls helper `name`."""

    name: str
    type: ProgType
    insns: list[Insn]
    license: str
    flags: int


def _stack(rng: random.Random, reg: int) -> list[Insn]:
    return [Insn(_MOV | Source.X, reg, 10), Insn(_ADD, reg, 0, 0, -8 * rng.randrange(1, 9))]


def _any(rng: random.Random, reg: int, maps: HelperMaps) -> list[Insn]:
    """Some value in a register: r6 is the context, r7 a map value, r8 a number."""
    match rng.randrange(8):
        case 0:
            return [Insn(_MOV, reg, 0, 0, rng.choice((0, 0, 1, 4, 8, 16, 48, 64, -1, 512, 1 << 29)))]
        case 1:
            return [Insn(_MOV | Source.X, reg, rng.choice((6, 8, 10)))]
        case 2:
            return [Insn(0x18, reg, 1, 0, rng.choice(maps.fds)), Insn(0)]
        case 3 | 4:
            return _stack(rng, reg)
        case 5:
            return [Insn(_MOV | Source.X, reg, 7), Insn(_ADD, reg, 0, 0, rng.choice((0, 0, 8, 40)))]
        case 6:
            mask = Insn(Class.ALU64 | Alu.AND, reg, 0, 0, rng.choice((7, 15, 31, 63)))
            return [Insn(_MOV | Source.X, reg, 8), mask]
        case _:
            return []


def _fitting(rng: random.Random, reg: int, arg: Arg, maps: HelperMaps) -> list[Insn]:
    """Something of the kind that the prototype asks for."""
    if arg is Arg.CONST_MAP_PTR:
        return [Insn(0x18, reg, 1, 0, rng.choice(maps.fds)), Insn(0)]
    if "CTX" in arg.name:
        return [Insn(_MOV | Source.X, reg, 6)]
    if "SIZE" in arg.name:
        return [Insn(_MOV, reg, 0, 0, rng.choice((0, 1, 4, 8, 16, 24, 64)))]
    if arg is Arg.PTR_TO_CONST_STR:
        return [Insn(0x18, reg, 2, 0, maps.text_fd), Insn(0, 0, 0, 0, rng.choice((0, 3)))]
    if arg.name.startswith(("PTR_TO_M", "UNINIT_M", "PTR_TO_LONG", "PTR_TO_INT")):
        return _stack(rng, reg)
    return [Insn(_MOV, reg, 0, 0, rng.randrange(4))]


def _after(rng: random.Random) -> list[Insn]:
    """Something done with the result."""
    slot = -8 * rng.randrange(1, 9)
    uses = (
        [Insn(_MOV | Source.X, 9, 0)],
        [Insn(_LOAD, 9, 10, slot)],
        [Insn(Class.JMP | Jmp.JNE, 0, 0, 1, 0), Insn(_MOV)],
        [Insn(_LOAD, 9, 0, 0)],
        [Insn(Class.JMP | Jmp.JEQ, 0, 0, 1, 0), Insn(0x71, 9, 0, rng.choice((0, 15, 47, 63)))],
    )
    return [insn for _ in range(rng.randrange(3)) for insn in rng.choice(uses)]


def helper_program(rng: random.Random, maps: HelperMaps) -> HelperCase:
    """One call of one helper."""
    usable = [n for n, helper in HELPERS.items() if not _PRIVATE.intersection(helper.proto.args)]
    proto = HELPERS[rng.choice(sorted(usable))].proto
    insns = [
        Insn(_MOV | Source.X, 6, 1),
        Insn(_MOV | Source.X, 2, 10),
        Insn(_ADD, 2, 0, 0, -8),
        Insn(Class.ST | Mode.MEM | Size.DW, 10, 0, -8, 1),
        Insn(0x18, 1, 1, 0, maps.fds[0]),
        Insn(0),
        Insn(0x85, 0, 0, 0, 1),
        Insn(Class.JMP | Jmp.JEQ),
        Insn(_MOV | Source.X, 7, 0),
        Insn(_LOAD, 8, 7, 0),
    ]
    for slot in range(2, 9):
        if rng.random() < 0.5:
            insns.append(Insn(Class.ST | Mode.MEM | Size.DW, 10, 0, -8 * slot, rng.randrange(3)))
    for reg, arg in zip(range(1, 6), proto.args, strict=False):
        fits = rng.random() < 0.75
        insns += _fitting(rng, reg, arg, maps) if fits else _any(rng, reg, maps)
    insns.append(Insn(0x85, 0, 0, 0, int(proto.id)))
    insns += _after(rng)
    insns[7] = Insn(Class.JMP | Jmp.JEQ, 0, 0, len(insns) - 8, 0)
    insns += [Insn(_MOV), Insn(Class.JMP | Jmp.EXIT)]
    kind = rng.choice(_TYPES)
    sleeps = kind == ProgType.SYSCALL or rng.random() < 0.05
    flags = int(ProgFlag.SLEEPABLE) if sleeps else 0
    return HelperCase(proto.name, kind, insns, rng.choice(("GPL", "GPL", "GPL", "MIT")), flags)
