"""Giving one program to both verifiers, and counting how they agree."""

import errno
import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.abi.bpf import AttachType, MapType, ProgType
from engine.btf import Btf
from engine.isa import LD_IMM64, Insn, encode
from engine.progspec import FuncInfo, MapLike, ProgFlag, ProgSpec
from engine.verifier import VerifierError, verify
from tests.differential.fakemap import FakeMap
from tests.differential.generate import ARRAY_FD, HASH_FD
from tests.differential.host import host_kernel
from tests.kernel_oracle import create_map, load

__all__ = ["Agreement", "Both", "Maps", "Typed", "ask_both", "with_descriptors"]


_VARYING = re.compile(r"0xffff[0-9a-f]{12}|(?<=^verification time )\d+", re.M)
"""What is different in each log: addresses of maps and kernel symbols, and the time."""
_SAFE, _STUMBLED = "is safe for any args that match its prototype", "No program to jit"


@dataclass(frozen=True)
class Both:
    """Errno of each verifier (0: accepted), and the log of each."""

    kernel: int
    engine: int
    kernel_log: str
    engine_log: str

    @property
    def _verified(self) -> bool:
        """Whether the kernel's log says nothing against the program."""
        said = [line for line in self.kernel_log.splitlines() if not line.startswith("processed ")]
        last = said[-1] if said else ""
        return bool(self.kernel_log) and (not last or last.endswith(_SAFE) or _STUMBLED in last)

    @property
    def outcome(self) -> str:
        """`accept`, `reject`, `stricter` or `laxer`, as the engine compares.

        `later`: the kernel verified the program and refused it then (its program array belongs to another
        type, or it stumbled over what it had made of the program). `long`: the engine was told to stop.
        """
        if self.kernel and self._verified:
            return "later"
        if self.engine == errno.EAGAIN:
            return "long"
        if bool(self.kernel) == bool(self.engine):
            return "reject" if self.kernel else "accept"
        return "stricter" if self.engine else "laxer"

    @property
    def same_log(self) -> bool:
        """Whether the logs say the same, line by line."""
        ours, reference = (_VARYING.sub("", log) for log in (self.engine_log, self.kernel_log))
        return ours == reference


@dataclass(frozen=True)
class Typed:
    """Types of a program, in the kernel and here."""

    btf_fd: int
    btf: Btf
    func_info: Sequence[FuncInfo]


def ask_both(
    insns: Sequence[Insn],
    kind: ProgType,
    maps: Mapping[int, MapLike],
    *,
    license: str = "GPL",
    flags: int = 0,
    attach: AttachType | None = None,
    log_level: int = 1,
    typed: "Typed | None" = None,
) -> Both:
    """Both verdicts on a program whose map descriptors are the kernel's."""
    func_info = typed.func_info if typed is not None else ()
    verdict = load(
        encode(insns),
        kind,
        license=license,
        log_level=log_level,
        prog_flags=flags,
        expected_attach_type=attach or 0,
        btf_fd=typed.btf_fd if typed is not None and func_info else 0,
        func_info=b"".join(struct.pack("<II", info.insn_off, info.type_id) for info in func_info),
    )
    spec = ProgSpec(
        kind,
        insns,
        license=license,
        maps=maps,
        btf=typed.btf if typed is not None else None,
        func_info=func_info,
        flags=ProgFlag(flags),
        expected_attach_type=attach,
        kernel_btf=host_kernel().btf,
    )
    try:
        return Both(verdict.errno, 0, verdict.log, verify(spec, log_level=log_level).log)
    except VerifierError as refusal:
        return Both(verdict.errno, refusal.errno, verdict.log, refusal.log)


class Maps:
    """The two maps that generated programs use, in the kernel and as the engine's verifier sees them."""

    def __init__(self) -> None:
        shapes = {ARRAY_FD: (MapType.ARRAY, 4, 48, 4), HASH_FD: (MapType.HASH, 8, 64, 16)}
        self.fds = {name: create_map(*shape) for name, shape in shapes.items()}
        self.known: dict[int, MapLike] = {self.fds[name]: FakeMap(*shape) for name, shape in shapes.items()}


def with_descriptors(insns: Sequence[Insn], fds: Mapping[int, int]) -> list[Insn]:
    """The program with real descriptors for the placeholders."""
    return [
        Insn(i.code, i.dst, i.src, i.off, fds[i.imm]) if i.code == LD_IMM64 and i.src == 1 else i
        for i in insns
    ]


@dataclass
class Agreement:
    """Counts by outcome, the programs that were judged differently, and those of which more, or something
    else, was said."""

    counts: Counter[str] = field(default_factory=Counter)
    differing: list[tuple[str, Both]] = field(default_factory=list)
    other_logs: list[str] = field(default_factory=list)

    def add(self, name: str, both: Both) -> None:
        """Count one program."""
        self.counts[both.outcome] += 1
        if both.outcome in ("stricter", "laxer"):
            self.differing.append((name, both))
        if both.outcome != "long" and not both.same_log:
            self.other_logs.append(name)

    @property
    def total(self) -> int:
        """How many programs."""
        return sum(self.counts.values())

    def table(self, title: str) -> str:
        """One line of counts, and one for each difference."""
        total = self.total
        row = "  ".join(
            f"{name} {self.counts[name]}"
            for name in ("accept", "reject", "stricter", "laxer", "later", "long")
        )
        lines = [f"{title}: {total} programs: {row}"]
        for name, both in self.differing:
            log = both.engine_log if both.outcome == "stricter" else both.kernel_log
            reason = log.strip().split("\n")[-2:-1] or [errno.errorcode.get(both.kernel, "")]
            lines.append(f"  {both.outcome} {name}: {reason[0]}")
        return "\n".join(lines)
