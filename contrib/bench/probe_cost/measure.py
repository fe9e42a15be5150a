"""What a probed system call costs: one kprobe with one string argument, as a ratio to strace.

    .venv/bin/python contrib/bench/probe_cost/measure.py [CALLS] [ROUNDS]

The same C program runs alternately bare, under `strace -f -e trace=openat -o /dev/null`, and attached to a
mount with `p do_sys_openat2 name=+0(%si):ustring`, with nothing else armed; also attached with nothing armed.
Medians of ROUNDS are printed; the ratio counts what each adds to the bare call.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["main"]

SOURCE = Path(__file__).with_name("openat.c")
PROBE = "p:kprobes/cost do_sys_openat2 name=+0(%si):ustring"
BPFFS = str(Path(sys.executable).with_name("bpffs"))


@contextmanager
def mounted(directory: str) -> Iterator[Path]:
    """A mount with the probe defined; its tracing directory."""
    subprocess.run([BPFFS, "mount", directory], check=True)
    try:
        tracing = Path(directory) / "sys/kernel/tracing"
        (tracing / "kprobe_events").write_text(PROBE + "\n")
        yield tracing
    finally:
        subprocess.run([BPFFS, "umount", directory], check=True)


def nanoseconds(command: list[str]) -> float:
    """Run the program, which prints what one call took."""
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def rounds(program: list[str], directory: str, count: int) -> dict[str, list[float]]:
    """Every way of running it, `count` times, in turn."""
    found: dict[str, list[float]] = {"bare": [], "strace": [], "attached": [], "probed": []}
    run = [BPFFS, "run", "-m", directory, "--", *program]
    with mounted(directory) as tracing:
        enable = tracing / "events/kprobes/cost/enable"
        for _ in range(count):
            found["bare"].append(nanoseconds(program))
            found["strace"].append(
                nanoseconds(["strace", "-f", "-e", "trace=openat", "-o", "/dev/null", *program])
            )
            found["attached"].append(nanoseconds(run))
            enable.write_text("1")
            found["probed"].append(nanoseconds(run))
            enable.write_text("0")
        profile = (tracing / "kprobe_profile").read_text().split()
    expected = count * int(program[1])
    if int(profile[1]) < expected or int(profile[2]):
        raise SystemExit(f"not every call was seen: {profile}, expected {expected}")
    return found


def main(arguments: list[str]) -> int:
    """Print a table; exit status 0 when probing is cheaper than strace."""
    calls = arguments[0] if arguments else "20000"
    count = int(arguments[1]) if len(arguments) > 1 else 5
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or shutil.which("strace") is None:
        print("probe_cost needs a C compiler and strace", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "openat")
        subprocess.run([compiler, "-O2", "-o", program, str(SOURCE)], check=True)
        directory = os.path.join(scratch, "mount")
        os.mkdir(directory)
        found = rounds([program, calls], directory, count)
    medians = {way: statistics.median(times) for way, times in found.items()}
    for way, times in found.items():
        best, worst = min(times) / 1000, max(times) / 1000
        print(f"{way:9} {medians[way] / 1000:8.2f} us/call   {best:8.2f} .. {worst:.2f}")
    ratio = (medians["probed"] - medians["bare"]) / (medians["strace"] - medians["bare"])
    print(f"probed / strace: {ratio:.2f}")
    return 0 if ratio < 1 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
