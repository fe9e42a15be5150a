"""The campaigns: each gives many programs to both verifiers and counts how they agree."""

import os
import random
from collections.abc import Iterable
from pathlib import Path

from engine.abi.bpf import AttachType, MapType, ProgType
from engine.errors import KernelError
from engine.interruption import interruptible
from engine.isa import Alu, Class, Insn, Jmp, Mode, Size
from tests.differential.calltrees import call_tree, call_tree_btf
from tests.differential.compiled import feature_objects
from tests.differential.fakemap import FakeMap
from tests.differential.generate import Generator
from tests.differential.helpercalls import HelperMaps, helper_program
from tests.differential.host import host_kernel
from tests.differential.loops import LoopGenerator, asked_often, loop_btf
from tests.differential.objects import (
    Outcome,
    compare_mutants,
    compare_object,
    embedded_objects,
    load_btf,
)
from tests.differential.packets import packet_program
from tests.differential.typed import typed_program
from tests.differential.verdicts import Agreement, Both, Maps, Typed, ask_both, with_descriptors
from tests.kernel_oracle import create_map

__all__ = [
    "call_trees",
    "contexts",
    "features",
    "generated",
    "helper_calls",
    "loops",
    "mutants",
    "objects",
    "opcodes",
    "packets",
    "typed",
]

_LONG = 500
"""How often a program's verification may ask whether to go on."""
_EXIT = [Insn(Class.ALU64 | Alu.MOV), Insn(Class.JMP | Jmp.EXIT)]
_SIZES = {1: Size.B, 2: Size.H, 4: Size.W, 8: Size.DW}
_PACKET_TYPES = (
    (ProgType.XDP, (0, 4, 8)),
    (ProgType.SCHED_CLS, (76, 80, 140)),
    (ProgType.SCHED_ACT, (76, 80, 140)),
    (ProgType.CGROUP_SKB, (76, 80, -1)),
)
_CONTEXTS = (
    (ProgType.KPROBE, 176, None),
    (ProgType.RAW_TRACEPOINT, 110, None),
    (ProgType.PERF_EVENT, 190, None),
    (ProgType.XDP, 32, None),
    (ProgType.XDP, 32, AttachType.XDP_DEVMAP),
    (ProgType.SOCKET_FILTER, 200, None),
    (ProgType.SCHED_CLS, 200, None),
    (ProgType.SCHED_ACT, 200, None),
    (ProgType.CGROUP_SKB, 200, None),
)


def generated(seed: int, count: int, log_level: int = 1) -> Agreement:
    """Programs of pointer arithmetic, bounds and spills."""
    agreement, maps = Agreement(), Maps()
    for n in range(seed, seed + count):
        insns = with_descriptors(Generator(n).program(20 + n % 60), maps.fds)
        agreement.add(f"seed {n}", ask_both(insns, ProgType.KPROBE, maps.known, log_level=log_level))
    for fd in maps.fds.values():
        os.close(fd)
    return agreement


def packets(seed: int, count: int, log_level: int = 1) -> Agreement:
    """Programs over packets."""
    agreement = Agreement()
    for n in range(seed, seed + count):
        rng = random.Random(n)
        kind, fields = rng.choice(_PACKET_TYPES)
        insns = packet_program(rng, *fields)
        agreement.add(f"{kind.name} seed {n}", ask_both(insns, kind, {}, log_level=log_level))
    return agreement


def helper_calls(seed: int, count: int) -> Agreement:
    """Every helper of the engine with arguments right and wrong, from every type of program."""
    agreement, maps = Agreement(), HelperMaps()
    for n in range(seed, seed + count):
        case = helper_program(random.Random(n), maps)
        both = ask_both(case.insns, case.type, maps.known, license=case.license, flags=case.flags)
        agreement.add(f"{case.name} {case.type.name} seed {n}", both)
    maps.close()
    return agreement


def contexts(step: int = 1) -> Agreement:
    """Loads and stores of every size at every `step`-th offset of every context."""
    agreement = Agreement()
    for kind, limit, attach in _CONTEXTS:
        for off in range(0, limit, step):
            for size, bits in _SIZES.items():
                store = Insn(Class.STX | Mode.MEM | bits, 1, 2, off)
                for name, access in (
                    ("read", [Insn(Class.LDX | Mode.MEM | bits, 2, 1, off)]),
                    ("write", [Insn(Class.ALU64 | Alu.MOV, 2, 0, 0, 1), store]),
                ):
                    both = ask_both([*access, *_EXIT], kind, {}, attach=attach)
                    agreement.add(f"{kind.name} {name} off {off} size {size}", both)
    return agreement


def opcodes(seed: int, count: int) -> Agreement:
    """Every opcode with random registers, offsets and immediates."""
    rng, agreement = random.Random(seed), Agreement()
    for code in range(256):
        for _ in range(count):
            insn = Insn(
                code,
                rng.choice((0, 1, 2, 2, 2, 10, 11, 15)),
                rng.choice((0, 0, 0, 1, 2, 3, 10, 11)),
                rng.choice((0, 0, 0, 0, 1, 8, 16, 32, -1)),
                rng.choice((0, 0, 0, 1, 16, 32, 64, -1, 0x10, 0x51, 0x100, 0x110, 0xE1, 0xF1, 5)),
            )
            setup = [Insn(Class.ALU64 | Alu.MOV, reg, 0, 0, 1) for reg in (0, 2, 3)]
            setup.append(Insn(Class.STX | Mode.MEM | Size.DW, 10, 3, -8))
            agreement.add(str(insn), ask_both([*setup, insn, *_EXIT], ProgType.KPROBE, {}))
    return agreement


def call_trees(seed: int, count: int, log_level: int = 1) -> Agreement:
    """Programs of many functions."""
    agreement, btf = Agreement(), call_tree_btf()[0]
    shape = (MapType.PROG_ARRAY, 4, 4, 4)
    btf_fd, jumps = load_btf(btf), create_map(*shape)
    for n in range(seed, seed + count):
        tree = call_tree(random.Random(n), jumps)
        typed = Typed(btf_fd, btf, tree.func_info)
        known = {jumps: FakeMap(*shape)}
        both = ask_both(tree.insns, tree.type, known, typed=typed, log_level=log_level)
        agreement.add(f"{tree.type.name} seed {n}", both)
    for fd in (btf_fd, jumps):
        os.close(fd)
    return agreement


def loops(seed: int, count: int, log_level: int = 1, *, callbacks: bool = True) -> Agreement:
    """Programs with loops, by callback or without; those that take long are left to the kernel."""
    agreement, maps, btf = Agreement(), Maps(), loop_btf()[0]
    btf_fd = load_btf(btf)
    for n in range(seed, seed + count):
        program = LoopGenerator(n).loops(may_goto=n % 3 == 0)
        if program.func_info and not callbacks:
            continue
        insns, typed = with_descriptors(program.insns, maps.fds), Typed(btf_fd, btf, program.func_info)
        with interruptible(asked_often(_LONG)):
            both = ask_both(insns, ProgType.KPROBE, maps.known, typed=typed, log_level=log_level)
        agreement.add(f"seed {n}", both)
    for fd in (btf_fd, *maps.fds.values()):
        os.close(fd)
    return agreement


def _count(agreement: Agreement, found: Outcome) -> None:
    if found.judged:
        both = Both(found.kernel, found.engine, found.kernel_log, found.engine_log)
        agreement.add(f"{found.object}:{found.prog}", both)


def typed(seed: int, count: int) -> Agreement:
    """Loads through pointers to kernel objects."""
    agreement, btf = Agreement(), host_kernel().btf
    for n in range(seed, seed + count):
        found = typed_program(random.Random(n), btf) if btf is not None else None
        if found is not None:
            agreement.add(f"{found[0]} seed {n}", found[1])
    return agreement


def features() -> Agreement:
    """One feature each, as clang compiles them. Needs clang and libbpf's headers."""
    agreement = Agreement()
    for name, data in feature_objects().items():
        for found in compare_object(data, name):
            _count(agreement, found)
    return agreement


def mutants(seed: int, count: int) -> Agreement:
    """The same, each changed at random in `count` ways."""
    agreement = Agreement()
    for name, data in feature_objects().items():
        for found in compare_mutants(data, name, seed, count):
            _count(agreement, found)
    return agreement


def objects(paths: Iterable[Path], log_level: int = 1) -> Agreement:
    """Every program of every BPF object inside these files."""
    agreement = Agreement()
    for path in paths:
        if path.is_symlink() or not path.is_file():
            continue
        for data in embedded_objects(path):
            try:
                for found in compare_object(data, path.name, log_level):
                    _count(agreement, found)
            except KernelError as error:
                print(f"  {path.name}: not compared: {error}")
    return agreement
