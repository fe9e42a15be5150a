"""Benchmark of loading an object: parse, verify, compile, with an empty and with a warm cache on disk.

Each time is that of a fresh process which has loaded another object before, so that what a daemon does once
(starting LLVM, linking the engine's own native code) is left out, and nothing that an earlier load left in
memory helps. The least of some rounds is printed. `python contrib/bench/vm/load.py`.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.loader import load_object
from engine.machine import Machine

SIZES = {10: 50.0, 100: 60.0, 1_000: 300.0, 10_000: 3000.0}
"""Instructions of a program: milliseconds that its load may take; a tenth of it with a warm cache."""
_ROUNDS = 3
_HEAD = ["r6 = r1", "r7 = 0", "*(u64 *)(r10 - 8) = r7"]
_BODY = [
    "r1 = *(u64 *)(r6 + {offset})",
    "r7 += r1",
    "r7 ^= {index}",
    "if r1 > {index} goto +2",
    "r7 <<= 1",
    "r7 += 3",
    "*(u64 *)(r10 - 8) = r7",
    "r2 = *(u64 *)(r10 - 8)",
    "w2 *= 31",
    "r7 += r2",
]
_TAIL = ["r0 = r7", "exit"]
_SECTIONS = '.section "kprobe/do_unlinkat", "ax"\n.globl prog\n.type prog, @function\nprog:\n'
_LICENSE = '\n.size prog, .-prog\n.section license, "aw"\n.asciz "GPL"\n'


def make_object(count: int, where: Path) -> Path:
    """An object whose program has `count` instructions: context loads, arithmetic, stack, branches."""
    lines = list(_HEAD)
    for index in range((count - len(_HEAD) - len(_TAIL)) // len(_BODY)):
        lines += [line.format(index=index, offset=index % 20 * 8) for line in _BODY]
    lines += ["r7 += 1"] * (count - len(lines) - len(_TAIL)) + _TAIL
    source, output = where / f"load{count}.s", where / f"load{count}.o"
    source.write_text(_SECTIONS + "\n".join(lines) + _LICENSE)
    subprocess.run(["clang", "-target", "bpf", "-c", str(source), "-o", str(output)], check=True)
    return output


def load_once(first: Path, measured: Path) -> float:
    """Milliseconds of processor time to load `measured`, after `first`: nothing in it waits."""
    machine = Machine()
    load_object(first.read_bytes(), machine, name="first")
    data = measured.read_bytes()
    start = time.process_time()
    load_object(data, machine, name="measured")
    return (time.process_time() - start) * 1e3


def in_fresh_process(first: Path, measured: Path, cache: Path) -> float:
    """`load_once` in a process of its own, with that cache."""
    command = [sys.executable, __file__, str(first), str(measured)]
    env = os.environ | {"BPFFS_CACHE_DIR": str(cache)}
    return float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)


def cold_and_warm(first: Path, measured: Path, cache: Path) -> tuple[float, float]:
    """Least milliseconds of a load whose code is not in the cache, and of one whose code is."""
    kept = set(os.listdir(cache))
    cold, warm = [], []
    for _ in range(_ROUNDS):
        cold.append(in_fresh_process(first, measured, cache))
        warm.append(in_fresh_process(first, measured, cache))
        for name in set(os.listdir(cache)) - kept:
            (cache / name).unlink()
    return min(cold), min(warm)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="bpffs-bench-") as directory:
        where = Path(directory)
        cache = where / "cache"
        first = make_object(len(_HEAD) + len(_TAIL), where)
        in_fresh_process(first, first, cache)
        print(f"{'load':<20}{'cold':>12}{'aim':>8}{'warm':>12}{'aim':>8}   (ms of processor time)")
        for count, aim in SIZES.items():
            cold, warm = cold_and_warm(first, make_object(count, where), cache)
            print(f"{f'{count} instructions':<20}{cold:>12.1f}{aim:>8.0f}{warm:>12.1f}{aim / 10:>8.0f}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(load_once(Path(sys.argv[1]), Path(sys.argv[2])))
    else:
        main()
