"""`bpffs status`: what is mounted, and what each daemon says about itself."""

import json
import os

from bpffs import mounts, runtime

__all__ = ["STATUS_FILE", "status"]

STATUS_FILE = ".status.json"
"""At the root of each mount, made by `bpffs.report`."""


def _rows(title: str, rows: list[str]) -> list[str]:
    return [f"  {title}: {len(rows)}", *(f"    {row}" for row in rows)]


def _details(directory: str) -> list[str]:
    """The daemon's own report, line by line."""
    try:
        with open(os.path.join(directory, STATUS_FILE), encoding="utf-8") as file:
            report = json.load(file)
    except OSError as error:
        return [f"  no answer: {error.strerror}"]
    return [line for title, rows in report.items() for line in _rows(title, rows)]


def status() -> tuple[list[str], bool]:
    """The lines to print, and whether every mount on record answers."""
    lines: list[str] = []
    well = True
    for record in runtime.records():
        row = mounts.mount_at(record.directory)
        mounted = row is not None and row.fstype == mounts.FSTYPE
        if not runtime.is_alive(record.directory):
            well = False
            hint = f"bpffs umount {record.directory}" if mounted else f"bpffs mount {record.directory}"
            lines.append(f"{record.directory}: its daemon died ({hint} recovers), log {record.log}")
            continue
        lines.append(f"{record.directory}: daemon {record.pid}, log {record.log}")
        elsewhere = ["  not mounted here: in another mount namespace, or unmounted while in use"]
        lines += _details(record.directory) if mounted else elsewhere
    return lines or ["nothing is mounted"], well
