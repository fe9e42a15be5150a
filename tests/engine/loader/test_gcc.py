"""An object of GCC and binutils as Debian 12 has them; the sources lie beside it."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.loader import load_object, parse_object
from engine.loader.elf import read_elf
from engine.loader.gnu import holds_sums
from engine.machine import Machine
from engine.progs import run_prog
from tests.engine.loader.compiled import example

OBJECT = (Path(__file__).parents[2] / "golden" / "gcc.bpf.o").read_bytes()


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine of its own for each test."""
    made = Machine()
    yield made
    made.close()


def test_relocations_hold_sums() -> None:
    assert holds_sums(read_elf(OBJECT))
    assert not holds_sums(read_elf(example("latency")))


def test_what_is_in_it() -> None:
    spec = parse_object(OBJECT, "gcc")
    assert spec.btf is not None
    assert list(spec.progs) == ["prog"]
    assert (spec.maps["runs"].key_size, spec.maps["runs"].value_size) == (4, 8)
    assert struct.unpack("<3i", spec.maps["gcc.data"].content or b"") == (3, 9, 100)
    assert ("gcc.data", 4) in {(reloc.name, reloc.offset) for reloc in spec.progs["prog"].relocs}


def test_it_runs(machine: Machine) -> None:
    loaded = load_object(OBJECT, machine, name="gcc")
    env, ctx = machine.new_env(), machine.heap.alloc(256, 8)
    assert run_prog(env, ctx, loaded.progs["prog"].address) == 66
    assert loaded.maps["runs"].lookup(bytes(4)) == struct.pack("<Q", 1)
    assert struct.unpack("<3i", loaded.maps["gcc.data"].lookup(bytes(4))) == (4, 9, 100)
    machine.free_env(env)
    machine.heap.free(ctx)
