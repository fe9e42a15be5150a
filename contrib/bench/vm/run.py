"""Benchmarks of the virtual machine, each as a ratio to a reference measured in the same run.

Programs: the same C source compiled natively with clang -O2. Map operations: the machine's kernel running
the same object (as root, through bpftool). Both sides are measured by turns in short rounds, of which the
quickest counts, so that other work on the machine disturbs little. Loading is measured by `load.py`.
`python contrib/bench/vm/run.py [programs] [maps]`.
"""

import ctypes
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engine.env import peek64
from engine.loader import load_object
from engine.machine import Machine
from engine.progs import Prog, ProgHdr

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
INCLUDES = ["-I/usr/include/x86_64-linux-gnu"]
OPS, RUNS = 64, 1000
"""Map operations in one run of a program of maps.bpf.c, and runs after which it has used every key."""
_ROUND_NS = 1_000_000
_ROUNDS = 100
_KERNEL_ROUNDS = 15


def compile_c(source: Path, output: Path, *flags: str) -> Path:
    """Run clang; CalledProcessError when it fails."""
    subprocess.run(["clang", "-O2", *flags, str(source), "-o", str(output)], check=True)
    return output


def bpf_object(source: Path, where: Path) -> Path:
    """`source` compiled for eBPF. Without builtins: the target has no memset to call."""
    flags = ["-target", "bpf", "-g", "-mcpu=v3", "-fno-builtin", *INCLUDES, "-c"]
    return compile_c(source, where / (source.stem + ".o"), *flags)


class Driver:
    """Times calls of a function by address, from C."""

    def __init__(self, where: Path) -> None:
        library = compile_c(HERE / "driver.c", where / "driver.so", "-shared", "-fPIC")
        self._drive = ctypes.CDLL(str(library)).drive
        self._drive.restype = ctypes.c_longlong
        self._drive.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_longlong]

    def run(self, function: int, context: int, env: int, times: int) -> float:
        """Nanoseconds of one call, over `times` of them."""
        return float(self._drive(function, context, env, times)) / times

    def compare(self, functions: Sequence[int], context: int, env: int) -> list[float]:
        """Nanoseconds of one call of each, which take turns: the best of many short rounds."""
        times = [max(1, int(_ROUND_NS / self.run(function, context, env, 100))) for function in functions]
        best = [math.inf] * len(functions)
        for _ in range(_ROUNDS):
            for at, function in enumerate(functions):
                best[at] = min(best[at], self.run(function, context, env, times[at]))
        return best


def entry(prog: Prog) -> int:
    """Address of a program's code."""
    return peek64(prog.address + ProgHdr.FN)


def bench_programs(machine: Machine, driver: Driver, where: Path) -> None:
    """Running time of computing programs against native code."""
    env, context = machine.new_env(), machine.arena.address
    word = ctypes.c_longlong
    ratios = []
    print(f"{'program':<20}{'bpffs':>12}{'clang -O2':>12}{'ratio':>8}")
    for source in sorted(PROGRAMS.glob("*.c")):
        if source.name.endswith(".bpf.c"):
            continue
        library = compile_c(source, where / (source.stem + ".so"), "-shared", "-fPIC")
        native = ctypes.cast(ctypes.CDLL(str(library)).prog, ctypes.c_void_p).value or 0
        loaded = load_object(bpf_object(source, where).read_bytes(), machine, name=source.stem)
        ours = entry(loaded.progs["prog"])
        call = ctypes.CFUNCTYPE(word, word, word)
        results = [call(function)(context, env) & 0xFFFFFFFF for function in (ours, native)]
        if results[0] != results[1]:
            raise SystemExit(f"{source.name}: results differ: {results}")
        mine, reference = driver.compare((ours, native), context, env)
        ratios.append(mine / reference)
        print(f"{source.stem:<20}{mine:>9.1f} ns{reference:>9.1f} ns{mine / reference:>8.2f}")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"{'geometric mean':<44}{mean:>8.2f}   (aim: at most 1.15)\n")


@contextmanager
def kernel_programs(path: Path, where: Path) -> Iterator[Path]:
    """The programs of an object in the machine's kernel, pinned for the length of the block."""
    mount = where / "kernel-bpffs"
    mount.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(mount)], check=True)
    try:
        pins = mount / "progs"
        subprocess.run(["bpftool", "prog", "loadall", str(path), str(pins)], check=True)
        yield pins
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def kernel_ns(pin: Path, packet: Path) -> float:
    """Mean time of a run as BPF_PROG_TEST_RUN measures it, over as many runs as use every key."""
    command = [
        "bpftool",
        "-j",
        "prog",
        "run",
        "pinned",
        str(pin),
        "data_in",
        str(packet),
        "repeat",
        str(RUNS),
    ]
    done = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if done["retval"] >> 31:
        raise SystemExit(f"{pin.name} failed in the kernel")
    return float(done["duration"])


def bench_maps(machine: Machine, driver: Driver, where: Path) -> None:
    """Map operations against the machine's kernel. Programs run in the object's order: some fill maps."""
    path = bpf_object(PROGRAMS / "maps.bpf.c", where)
    loaded = load_object(path.read_bytes(), machine, name="maps")
    env, context = machine.new_env(), machine.arena.address
    mine = dict.fromkeys(loaded.progs, math.inf)
    for _ in range(_KERNEL_ROUNDS):
        for name, prog in loaded.progs.items():
            mine[name] = min(mine[name], driver.run(entry(prog), context, env, RUNS) / OPS)
    reference = dict.fromkeys(loaded.progs, math.inf)
    if os.geteuid():
        print("map operations without the kernel's: needs root")
    else:
        packet = where / "packet"
        packet.write_bytes(bytes(64))
        try:
            with kernel_programs(path, where) as pins:
                for _ in range(_KERNEL_ROUNDS):
                    for name in reference:
                        reference[name] = min(reference[name], kernel_ns(pins / name, packet) / OPS)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"map operations without the kernel's: {error}")
    print(f"{'map operation':<20}{'bpffs':>12}{'kernel':>12}{'ratio':>8}   (aim: at most 1.00)")
    for name, ns in mine.items():
        line = f"{name:<20}{ns:>9.2f} ns"
        if reference[name] < math.inf:
            line += f"{reference[name]:>9.2f} ns{ns / reference[name]:>8.2f}"
        print(line)
    print()


def main(arguments: Sequence[str] = ()) -> None:
    """Run the parts that are named, all without names."""
    parts = set(arguments) or {"programs", "maps"}
    with tempfile.TemporaryDirectory(prefix="bpffs-bench-") as directory:
        where = Path(directory)
        os.environ["BPFFS_CACHE_DIR"] = str(where / "cache")
        machine = Machine()
        driver = Driver(where)
        if "programs" in parts:
            bench_programs(machine, driver, where)
        if "maps" in parts:
            bench_maps(machine, driver, where)


if __name__ == "__main__":
    main(sys.argv[1:])
