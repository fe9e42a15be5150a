"""The long campaigns, as root: `python -m tests.differential [--seed N] [--programs N] [--objects DIR]`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.differential import campaigns
from tests.differential.compiled import no_compiler
from tests.differential.guarded import run_between_guards
from tests.differential.native import compare_programs
from tests.differential.soundness import check_programs
from tests.differential.verdicts import Agreement
from tests.kernel_oracle import kernel_unavailable

__all__ = ["main"]

_EVERY_PATH = 2
"""The level of the log that tells most."""


def _compiled(seed: int, count: int) -> list[tuple[str, Callable[[], Agreement]]]:
    """The campaigns that need a compiler."""
    reason = no_compiler()
    if reason:
        print(f"no programs compiled here: {reason}")
        return []
    return [
        ("features", campaigns.features),
        ("features, changed", lambda: campaigns.mutants(seed, max(1, count // 50))),
    ]


def main() -> int:
    """Run every campaign and print its table; 1 when the engine accepted what the kernel refuses."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--programs", type=int, default=20_000, help="generated programs of each kind")
    parser.add_argument("--objects", type=Path, nargs="*", default=[Path("/usr/sbin")])
    options = parser.parse_args()
    reason = kernel_unavailable()
    if reason:
        print(f"cannot compare: {reason}", file=sys.stderr)
        return 2
    seed, count = options.seed, options.programs
    files = sorted(file for folder in options.objects for file in folder.iterdir())
    laxer = 0
    runs: list[tuple[str, Callable[[], Agreement]]] = [
        ("contexts", campaigns.contexts),
        ("opcodes", lambda: campaigns.opcodes(seed, max(1, count // 256))),
        ("helper calls", lambda: campaigns.helper_calls(seed, count)),
        ("packets", lambda: campaigns.packets(seed, count)),
        ("generated", lambda: campaigns.generated(seed, count)),
        ("call trees", lambda: campaigns.call_trees(seed, count)),
        ("loops", lambda: campaigns.loops(seed, count)),
        ("kernel objects", lambda: campaigns.typed(seed, count)),
        *_compiled(seed, count),
        ("objects", lambda: campaigns.objects(files)),
    ]
    for title, run in runs:
        agreement = run()
        print(agreement.table(title), flush=True)
        laxer += agreement.counts["laxer"]
    print(f"engine-laxer: {laxer}", flush=True)
    logs = max(1, count // 20)
    compared: list[tuple[str, Callable[[], Agreement]]] = [
        ("packets", lambda: campaigns.packets(seed, logs, _EVERY_PATH)),
        ("generated", lambda: campaigns.generated(seed, logs, _EVERY_PATH)),
        ("call trees", lambda: campaigns.call_trees(seed, logs, _EVERY_PATH)),
        ("loops without callbacks", lambda: campaigns.loops(seed, logs, _EVERY_PATH, callbacks=False)),
        ("loops", lambda: campaigns.loops(seed, logs, _EVERY_PATH)),
        ("objects", lambda: campaigns.objects(files, _EVERY_PATH)),
    ]
    for title, run in compared:
        agreement = run()
        others = agreement.other_logs
        print(
            f"logs, {title}: {agreement.total} programs, {len(others)} logs are not the kernel's", flush=True
        )
        print("".join(f"  {name}\n" for name in others), end="")
    violations = 0
    for what, loops in (("", False), (" with loops", True)):
        found = check_programs(seed, count, loops=loops)
        print(
            f"soundness{what}: {found.programs} programs, {found.accepted} accepted, {found.runs} runs, "
            f"{len(found.violations)} violations"
        )
        guarded = run_between_guards(seed, count, loops=loops)
        print(
            f"between guard pages{what}: {guarded.programs} programs, {guarded.accepted} accepted, "
            f"{guarded.runs} runs, {len(guarded.violations)} violations",
            flush=True,
        )
        print("\n".join(found.violations + guarded.violations))
        violations += len(found.violations) + len(guarded.violations)
    native = compare_programs(seed, count)
    print(
        f"native code: {native.programs} programs, {native.accepted} accepted, {native.runs} runs, "
        f"{native.skipped} of them not to be repeated, {len(native.differences)} differences"
    )
    print("\n".join(native.differences))
    return 1 if laxer or violations or native.differences else 0


if __name__ == "__main__":
    sys.exit(main())
