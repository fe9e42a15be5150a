"""An object of rustc, aya-ebpf and bpf-linker; the source lies beside it."""

import ctypes
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.abi.bpf import MapType, ProgType
from engine.loader import load_object, parse_object
from engine.machine import Machine
from engine.progs import run_prog

OBJECT = (Path(__file__).parents[2] / "golden" / "aya.bpf.o").read_bytes()
_PT_REGS, _SI = 168, 104
"""Bytes of struct pt_regs, and where its second argument is."""


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine of its own for each test."""
    made = Machine()
    yield made
    made.close()


def test_maps_are_legacy_definitions() -> None:
    maps = parse_object(OBJECT, "aya").maps
    counts = maps["SYSCALL_LIST"]
    assert (counts.type, counts.key_size, counts.value_size, counts.max_entries) == (MapType.HASH, 4, 4, 1024)
    assert (maps["COUNTERS"].type, maps["EVENTS"].max_entries) == (MapType.PERCPU_ARRAY, 0)
    assert [name for name, wanted in maps.items() if wanted.pin_by_name] == ["SHARED"]
    assert (maps["AYA_LOGS"].type, maps["AYA_LOG_BUF"].value_size) == (MapType.PERF_EVENT_ARRAY, 8192)


def test_programs(machine: Machine) -> None:
    loaded = load_object(OBJECT, machine, name="aya")
    assert {name: prog.type for name, prog in loaded.progs.items()} == {
        "count": ProgType.KPROBE,
        "done": ProgType.KPROBE,
        "opened": ProgType.TRACEPOINT,
        "raw": ProgType.RAW_TRACEPOINT,
        "filter": ProgType.XDP,
    }
    assert loaded.sections["count"] == "kprobe/dragonos_kernel::syscall::Syscall::handle"


def test_counting_system_calls(machine: Machine) -> None:
    loaded = load_object(OBJECT, machine, name="aya")
    env, ctx = machine.new_env(), machine.heap.alloc(_PT_REGS, 8)
    for number in (257, 0, 257):
        ctypes.memmove(ctx + _SI, struct.pack("<Q", number), 8)
        assert run_prog(env, ctx, loaded.progs["count"].address) == 0
    counts = loaded.maps["SYSCALL_LIST"]
    assert dict(counts.items()) == {
        struct.pack("<I", 0): struct.pack("<I", 1),
        struct.pack("<I", 257): struct.pack("<I", 2),
    }
    assert loaded.maps["aya.bss"].lookup(bytes(4)) == struct.pack("<Q", 21)
    assert sum(struct.unpack(f"<{machine.nr_cpus}Q", loaded.maps["COUNTERS"].lookup(b"\1\0\0\0"))) == 3
    machine.heap.free(ctx)
    machine.free_env(env)
