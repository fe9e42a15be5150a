"""M/.status.json: what the daemon says about itself, for `bpffs status`."""

import json

from bpffs.procs import Attacher
from engine.kernfs import TextFile
from engine.machine import Machine

__all__ = ["report_file"]


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"


def _rows(machine: Machine, attacher: Attacher) -> dict[str, list[str]]:
    """Titles and lines, in the order in which they are shown."""
    return {
        "programs": [
            f"{prog.id}: {prog.type.name.lower()} {prog.name} tag {prog.tag.hex()} runs {prog.run_cnt}"
            for prog in machine.progs.values()
        ],
        "maps": [
            f"{item.id}: {item.type.name.lower()} {item.name or '(no name)'} key {item.key_size}B"
            f" value {item.value_size}B entries {item.max_entries}"
            for item in machine.maps.values()
        ],
        "probes": [
            f"{'r' if probe.is_return else 'p'} {probe.symbol}"
            f"{'' if probe.enabled else ' (disabled)'} hits {probe.nhit} missed {probe.nmissed}"
            for probe in machine.probes.all
        ],
        "attached processes": [f"{pid} {_command(pid)}" for pid in sorted(attacher.pids())],
    }


def report_file(machine: Machine, attacher: Attacher) -> TextFile:
    """The file, made when it is read. It is slow: it asks the tracer's thread."""
    return TextFile(0o444, lambda: json.dumps(_rows(machine, attacher), indent=1) + "\n", slow=True)
