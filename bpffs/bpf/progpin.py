"""A pinned program and its views: `.xlated`, `.jited`, `.log`, `.info`, `.stats`."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from bpffs.bpf.cursor import TextCursor
from bpffs.bpf.pins import PIN_MODE, Pin, View
from engine import progdump
from engine.kernfs import Caller, Handle
from engine.progs import Prog

__all__ = ["ProgPin"]


class ProgPin(Pin):
    """A name of `prog`. Opening it gives EIO, as on Linux."""

    def __init__(self, prog: Prog, mode: int = PIN_MODE, uid: int = 0, gid: int = 0) -> None:
        super().__init__(mode, uid, gid)
        self.prog = prog

    def make_view(self, suffix: str) -> View[Any] | None:
        """One of the texts."""
        return _ProgText(self, _TEXTS[suffix]) if suffix in _TEXTS else None


class _ProgText(View[Prog]):
    def __init__(self, pin: ProgPin, pieces: Callable[[Prog], Iterator[bytes]]) -> None:
        super().__init__(pin, pin.prog)
        self._pieces = pieces

    def open(self, flags: int, caller: Caller) -> Handle:
        return TextCursor(partial(self._pieces, self.shown()))


def _xlated(prog: Prog) -> Iterator[bytes]:
    """`bpftool prog dump xlated`: functions, source lines, instructions with their numbers."""
    for line in progdump.xlated(prog):
        yield f"{line}\n".encode()


def _jited(prog: Prog) -> Iterator[bytes]:
    """The machine code, as assembler text."""
    yield progdump.assembly(prog).encode()


def _log(prog: Prog) -> Iterator[bytes]:
    """What the verifier said."""
    yield prog.log.encode()


def _info(prog: Prog) -> Iterator[bytes]:
    """`bpftool prog show` of one program."""
    loaded = time.time_ns() - time.monotonic_ns() + prog.load_time_ns
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(loaded / 1e9))
    gpl = "  gpl" if prog.spec.gpl_compatible else ""
    maps = ",".join(str(used.id) for used in prog.maps)
    yield (
        f"{prog.id}: {prog.type.name.lower()}  name {prog.name}  tag {prog.tag.hex()}{gpl}\n"
        f"\tloaded_at {stamp}  uid {prog.uid}\n"
        f"\txlated {8 * len(prog.xlated)}B  jited {len(prog.jited)}B"
        + (f"  map_ids {maps}\n" if maps else "\n")
        + (f"\tbtf_id {prog.btf.id}\n" if prog.btf is not None and prog.btf.id else "")
    ).encode()


def _stats(prog: Prog) -> Iterator[bytes]:
    """Runs, time and misses, one a line."""
    yield f"run_cnt {prog.run_cnt}\nrun_time_ns {prog.run_time_ns}\nmissed {prog.missed}\n".encode()


_TEXTS = {"xlated": _xlated, "jited": _jited, "log": _log, "info": _info, "stats": _stats}
