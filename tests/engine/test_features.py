"""Compiled C through loader, verifier and both engines: equal results, and the kernel's."""

import ctypes
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.abi.ctx import SkBuff
from engine.env import Env, poke32, poke64
from engine.helpers import HELPERS
from engine.interp import Interpreter
from engine.loader import LoadedObject, load_object
from engine.machine import Machine
from engine.maps.objects import ObjectArray
from engine.progs import Prog, run_prog
from tests import kernel_oracle

_SOURCE = Path(__file__).parent / "programs" / "features.bpf.c"
_PROGRAMS = (
    "globals",
    "calls",
    "structs",
    "callbacks",
    "percpu_values",
    "atomics",
    "jumper",
    "switches",
)
_LENGTH = 46


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang: the object is compiled here")
    output = tmp_path_factory.mktemp("features") / "features.o"
    flags = ["-target", "bpf", "-O2", "-g", "-mcpu=v3", "-I/usr/include/x86_64-linux-gnu"]
    done = subprocess.run(
        [clang, *flags, "-c", str(_SOURCE), "-o", str(output)], capture_output=True, text=True, check=False
    )
    if "file not found" in done.stderr:
        pytest.skip(f"needs libbpf-dev: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def context() -> ctypes.Array[ctypes.c_char]:
    made = ctypes.create_string_buffer(SkBuff.NATIVE_SIZE)
    poke32(ctypes.addressof(made) + SkBuff.LEN, _LENGTH)
    return made


def maps_of(loaded: LoadedObject) -> dict[str, list[tuple[bytes, bytes]]]:
    return {
        name: sorted(used.items()) for name, used in loaded.maps.items() if not isinstance(used, ObjectArray)
    }


def interpret(loaded: LoadedObject, prog: Prog, ctx: int, env: int) -> int:
    others = {other.address: Interpreter(other.verified, HELPERS) for other in loaded.progs.values()}
    poke64(env + Env.TAIL_CALLS, 0)
    return Interpreter(prog.verified, HELPERS, programs=others).run(ctx, env) & 0xFFFFFFFF


def set_up(loaded: LoadedObject) -> None:
    jumps = loaded.maps["jumps"]
    assert isinstance(jumps, ObjectArray)
    jumps.update_object(bytes(4), loaded.progs["last"])


@pytest.mark.parametrize("name", _PROGRAMS)
def test_engines_agree(image: Path, machine: Machine, name: str) -> None:
    results = []
    for native in (True, False):
        loaded = load_object(image.read_bytes(), machine)
        set_up(loaded)
        skb, env = context(), machine.new_env()
        where = ctypes.addressof(skb)
        prog = loaded.progs[name]
        for _ in range(2):
            result = run_prog(env, where, prog.address) if native else interpret(loaded, prog, where, env)
        results.append((result & 0xFFFFFFFF, maps_of(loaded)))
    assert results[0] == results[1]


@contextmanager
def kernel_pins(image: Path, where: Path) -> Iterator[Path]:
    """The object's programs in the kernel, pinned in a BPF file system of their own."""
    where.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(where)], check=True)
    try:
        subprocess.run(
            ["bpftool", "prog", "loadall", str(image), str(where / "p"), "pinmaps", str(where / "m")],
            check=True,
            capture_output=True,
        )
        element = ["key", "0", "0", "0", "0", "value", "pinned", str(where / "p" / "last")]
        update = ["bpftool", "map", "update", "pinned", str(where / "m" / "jumps"), *element]
        subprocess.run(update, check=True)
        yield where / "p"
    finally:
        subprocess.run(["umount", str(where)], check=True)


def test_the_kernel_agrees(image: Path, machine: Machine, tmp_path: Path) -> None:
    if reason := kernel_oracle.kernel_unavailable():
        pytest.skip(reason)
    if shutil.which("bpftool") is None:
        pytest.skip("needs bpftool: it loads the object into the kernel")
    packet = tmp_path / "packet"
    packet.write_bytes(bytes(_LENGTH + 14))
    loaded = load_object(image.read_bytes(), machine)
    set_up(loaded)
    skb, env = context(), machine.new_env()
    with kernel_pins(image, tmp_path / "bpffs") as pins:
        for name in _PROGRAMS:
            mine = run_prog(env, ctypes.addressof(skb), loaded.progs[name].address) & 0xFFFFFFFF
            command = ["bpftool", "-j", "prog", "run", "pinned", str(pins / name), "data_in", str(packet)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            assert (name, mine) == (name, json.loads(done.stdout)["retval"])
